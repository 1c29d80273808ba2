//! All files of one configuration, merged in load order.

use std::path::Path;
use std::sync::Arc;

use super::ini::{IniError, IniFile, RawSection};
use super::interpolate::{Fault, expand, expand_again};

/// One option and the file that set it last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct MergedOption {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) source: Arc<Path>,
    /// The file loaded before that says otherwise.
    pub(super) hides: Option<Arc<Path>>,
}

/// One section of the merged configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct MergedSection {
    pub(super) name: String,
    pub(super) options: Vec<MergedOption>,
}

impl MergedSection {
    /// The option, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&MergedOption> {
        self.options.iter().find(|o| o.key == key)
    }

    /// The value after the second expansion.
    pub(super) fn expand(&self, option: &MergedOption) -> Result<String, IniError> {
        let lookup = |key: &str| self.get(key).map(|o| o.value.as_str());
        expand_again(&option.value, &lookup)
            .map_err(|fault| interpolation_error(fault, &option.source, &self.name, &option.key))
    }

    /// The value after the second expansion, with one pair of surrounding quotes taken off; the bare word
    /// `None` is no value.
    pub(super) fn read(&self, option: &MergedOption) -> Result<Option<String>, IniError> {
        let value = self.expand(option)?;
        if value == "None" {
            return Ok(None);
        }
        Ok(Some(match unquote(&value) {
            Some(inner) => inner.to_owned(),
            None => value,
        }))
    }
}

/// The merged configuration.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Merged {
    pub(super) sections: Vec<MergedSection>,
    /// Every file that was added, in order.
    pub(super) files: Vec<Arc<Path>>,
}

impl Merged {
    /// Adds one file: its options replace those of the same name.
    pub(super) fn add(&mut self, file: &IniFile) -> Result<(), IniError> {
        let source: Arc<Path> = Arc::from(file.path.as_path());
        if !self.files.contains(&source) {
            self.files.push(Arc::clone(&source));
        }
        for raw in &file.sections {
            let place = self.sections.iter().position(|s| s.name == raw.name).unwrap_or_else(|| {
                self.sections.push(MergedSection { name: raw.name.clone(), options: Vec::new() });
                self.sections.len().saturating_sub(1)
            });
            let Some(section) = self.sections.get_mut(place) else { continue };
            for (key, value) in options(raw, &file.defaults) {
                let lookup = |key: &str| raw.get(key).or_else(|| file.defaults.get(key));
                let value = expand(value, &lookup)
                    .map_err(|fault| interpolation_error(fault, &file.path, &raw.name, key))?;
                let key = key.to_owned();
                let mut option = MergedOption { key, value, source: Arc::clone(&source), hides: None };
                match section.options.iter_mut().find(|o| o.key == option.key) {
                    Some(old) => {
                        if old.value != option.value && old.source != source {
                            option.hides = Some(Arc::clone(&old.source));
                        }
                        *old = option;
                    }
                    None => section.options.push(option),
                }
            }
        }
        Ok(())
    }

    pub(super) fn section(&self, name: &str) -> Option<&MergedSection> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// The options of which `file` has the last word, and a file before it says otherwise: section, key, that file.
    pub(super) fn hidden_by(&self, file: &Path) -> impl Iterator<Item = (&str, &str, &Path)> {
        let options =
            self.sections.iter().flat_map(|section| section.options.iter().map(move |o| (section, o)));
        options.filter(move |(_, option)| *option.source == *file).filter_map(|(section, option)| {
            Some((section.name.as_str(), option.key.as_str(), option.hides.as_deref()?))
        })
    }
}

/// The section's own options, then the defaults it does not set.
fn options<'a>(raw: &'a RawSection, defaults: &'a RawSection) -> impl Iterator<Item = (&'a str, &'a str)> {
    let lent = defaults.options.iter().filter(|o| raw.get(&o.key).is_none());
    raw.options.iter().chain(lent).map(|o| (o.key.as_str(), o.value.as_str()))
}

fn unquote(value: &str) -> Option<&str> {
    let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).filter(|inner| !inner.contains('\n'))
}

fn interpolation_error(fault: Fault, path: &Path, section: &str, key: &str) -> IniError {
    let (path, section, key) = (path.to_owned(), section.to_owned(), key.to_owned());
    match fault {
        Fault::Missing(reference) => IniError::MissingReference { path, section, key, reference },
        Fault::TooDeep => IniError::ReferenceTooDeep { path, section, key },
    }
}
