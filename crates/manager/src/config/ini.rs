//! The INI dialect of Barman's files: Python's `ConfigParser(strict=False)`.
//!
//! `[section]`, `key = value` or `key: value`, keys without regard to case, full-line comments with `#` or `;`,
//! indented lines continuing a value, `[DEFAULT]` lending its options to the other sections of its file. The
//! invariant: what Python's parser accepts means the same here. Interpolation is in [`super::interpolate`].

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The largest configuration file read, in bytes.
pub const MAX_FILE_SIZE: u64 = 4 << 20;

/// How many sections a file, and how many options a section may have.
pub const MAX_ENTRIES: usize = 10_000;

/// Why a file is not a configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IniError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than [`MAX_FILE_SIZE`].
    #[error("configuration file {} is larger than {MAX_FILE_SIZE} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file has more than [`MAX_ENTRIES`] sections, or one of them more options.
    #[error("{}, line {line}: more than {MAX_ENTRIES} sections or options", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The file is not UTF-8.
    #[error("configuration file {} is not UTF-8 text", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// A line before the first section header.
    #[error("{}, line {line}: no section header before '{text}'", path.display())]
    NoSectionHeader {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Its text, at most 80 characters.
        text: String,
    },
    /// A line that is neither a header nor an option.
    #[error("{}, line {line}: expected 'key = value', found '{text}'", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Its text, at most 80 characters.
        text: String,
    },
    /// `%(name)s` where the section has no option of that name.
    #[error("{}, [{section}] {key}: no option '{reference}' in the section for %({reference})s", path.display())]
    MissingReference {
        /// The file.
        path: PathBuf,
        /// The section.
        section: String,
        /// The option whose value refers.
        key: String,
        /// The missing option.
        reference: String,
    },
    /// References nested more than ten deep (or in a circle), or a value grown beyond 64 KiB.
    #[error("{}, [{section}] {key}: references are nested too deep or the value grows too long", path.display())]
    ReferenceTooDeep {
        /// The file.
        path: PathBuf,
        /// The section.
        section: String,
        /// The option.
        key: String,
    },
}

/// One option as written: key in lower case, value with continuation lines joined by newlines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RawOption {
    /// The key, in lower case.
    pub key: String,
    /// The value, uninterpolated, quotes and all.
    pub value: String,
}

/// One section as written; repeated headers of one name are merged, and of repeated keys the last one won.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RawSection {
    /// The name, with its case.
    pub name: String,
    /// The options, in order of first appearance.
    pub options: Vec<RawOption>,
}

impl RawSection {
    /// The value of an option.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|o| o.key == key).map(|o| o.value.as_str())
    }
}

/// One parsed file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IniFile {
    /// Where it came from.
    pub path: PathBuf,
    /// Its sections in order, without `[DEFAULT]`.
    pub sections: Vec<RawSection>,
    /// The options of `[DEFAULT]`, which hold for each section of this file.
    pub defaults: RawSection,
}

impl IniFile {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// When it cannot be read, is too large, or is not in the dialect.
    pub fn read(path: &Path) -> Result<Self, IniError> {
        let failed = |source| IniError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE_SIZE {
            return Err(IniError::TooLarge { path: path.to_owned() });
        }
        let text = String::from_utf8(bytes).map_err(|_| IniError::NotUtf8 { path: path.to_owned() })?;
        Self::parse(&text, path)
    }

    /// Parses the text of a file; `path` is only for messages.
    ///
    /// # Errors
    /// When the text is not in the dialect.
    pub fn parse(text: &str, path: &Path) -> Result<Self, IniError> {
        let mut parser = Parser::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in lines(text).enumerate() {
            parser.line(line).map_err(|fault| {
                let (path, line_number) = (path.to_owned(), number.saturating_add(1));
                let text = shown(line.trim());
                match fault {
                    Fault::NoSection => IniError::NoSectionHeader { path, line: line_number, text },
                    Fault::TooMany => IniError::TooMany { path, line: line_number },
                    Fault::Syntax => IniError::Syntax { path, line: line_number, text },
                }
            })?;
        }
        let Parser { sections, defaults, .. } = parser;
        let finish = |section: OpenSection| RawSection {
            name: section.name,
            options: section
                .options
                .into_iter()
                .map(|(key, lines)| RawOption { key, value: lines.join("\n").trim_end().to_owned() })
                .collect(),
        };
        Ok(Self {
            path: path.to_owned(),
            sections: sections.into_iter().map(finish).collect(),
            defaults: finish(defaults),
        })
    }
}

/// The beginning of a line, without what a terminal would take for a command.
fn shown(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars().take(80) {
        if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
    }
    text
}

/// Lines ended by LF, CR LF or CR, as Python's text files have them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(end) = rest.find(['\n', '\r']) else { return Some(std::mem::take(&mut rest)) };
        let (line, tail) = rest.split_at_checked(end)?;
        rest = tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix(['\n', '\r'])).unwrap_or(tail);
        Some(line)
    })
}

enum Fault {
    NoSection,
    Syntax,
    TooMany,
}

#[derive(Default)]
struct OpenSection {
    name: String,
    options: Vec<(String, Vec<String>)>,
}

#[derive(Clone, Copy)]
enum Current {
    Defaults,
    Section(usize),
}

#[derive(Default)]
struct Parser {
    sections: Vec<OpenSection>,
    defaults: OpenSection,
    current: Option<Current>,
    /// The place of the option that an indented line continues.
    option: Option<usize>,
    /// The indentation of the line that began the option.
    indent: usize,
}

impl Parser {
    fn line(&mut self, line: &str) -> Result<(), Fault> {
        let value = line.trim();
        if value.starts_with(['#', ';']) {
            return Ok(());
        }
        if value.is_empty() {
            // An empty line inside a value belongs to it, if the value goes on after it.
            if let Some(open) = self.open_value() {
                open.push(String::new());
            }
            return Ok(());
        }
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        if indent > self.indent
            && let Some(open) = self.open_value()
        {
            open.push(value.to_owned());
            return Ok(());
        }
        self.indent = indent;
        if let Some(name) = header(value) {
            self.option = None;
            self.current = Some(self.section(name));
            return if self.sections.len() > MAX_ENTRIES { Err(Fault::TooMany) } else { Ok(()) };
        }
        let Some(current) = self.current else { return Err(Fault::NoSection) };
        let (key, value) = value.split_once(['=', ':']).ok_or(Fault::Syntax)?;
        let key = key.trim_end().to_lowercase();
        if key.is_empty() {
            return Err(Fault::Syntax);
        }
        let Some(section) = self.section_mut(current) else { return Err(Fault::NoSection) };
        let lines = vec![value.trim().to_owned()];
        let place = match section.options.iter_mut().position(|(k, _)| *k == key) {
            Some(place) => {
                if let Some(slot) = section.options.get_mut(place) {
                    slot.1 = lines;
                }
                place
            }
            None if section.options.len() >= MAX_ENTRIES => return Err(Fault::TooMany),
            None => {
                section.options.push((key, lines));
                section.options.len().saturating_sub(1)
            }
        };
        self.option = Some(place);
        Ok(())
    }

    fn section(&mut self, name: &str) -> Current {
        if name == "DEFAULT" {
            return Current::Defaults;
        }
        let place = self.sections.iter().position(|s| s.name == name).unwrap_or_else(|| {
            self.sections.push(OpenSection { name: name.to_owned(), options: Vec::new() });
            self.sections.len().saturating_sub(1)
        });
        Current::Section(place)
    }

    fn section_mut(&mut self, current: Current) -> Option<&mut OpenSection> {
        match current {
            Current::Defaults => Some(&mut self.defaults),
            Current::Section(place) => self.sections.get_mut(place),
        }
    }

    fn open_value(&mut self) -> Option<&mut Vec<String>> {
        let option = self.option?;
        self.section_mut(self.current?)?.options.get_mut(option).map(|(_, lines)| lines)
    }
}

/// The name in a header line: what stands between the first `[` and the last `]`.
pub(super) fn header(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.rsplit_once(']')?;
    (!name.is_empty()).then_some(name)
}
