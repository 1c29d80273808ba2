//! The files of `configuration_files_directory`, and `.barman.auto.conf`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::ini::{IniError, IniFile};
use super::load::ConfigError;
use super::merged::Merged;
use super::warning::ConfigWarning;

/// How many files an include directory may hold.
pub(super) const MAX_INCLUDED_FILES: usize = 10_000;

/// The `*.conf` files of a directory, sorted; `None` when it is not a directory, or is not there.
pub(super) fn included_files(directory: &Path) -> Result<Option<Vec<PathBuf>>, ConfigError> {
    if !directory.is_dir() {
        return Ok(None);
    }
    let failed = |source| ConfigError::Read { path: directory.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let text = name.to_string_lossy();
        // What the shell's `*.conf` matches: no hidden files.
        if text.ends_with(".conf") && !text.starts_with('.') {
            files.push(directory.join(name));
        }
        if files.len() > MAX_INCLUDED_FILES {
            return Err(ConfigError::TooManyFiles { path: directory.to_owned() });
        }
    }
    files.sort();
    Ok(Some(files))
}

/// Adds one of them. What is no file (a directory, a pipe) and what has just gone is passed over, as Barman does. So is, but with a
/// warning that says that settings are missing, where Barman is silent: a file that cannot be read, and a link that leads nowhere,
/// be it that what it leads to is not mounted.
pub(super) fn include(
    path: &Path,
    merged: &mut Merged,
    warnings: &mut Vec<ConfigWarning>,
) -> Result<(), ConfigError> {
    let discard = |reason| ConfigWarning::Discarded { path: path.to_owned(), reason };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => {
            warnings.push(discard("not a file"));
            return Ok(());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_there(path) => {
            warnings.push(discard("not found"));
            return Ok(());
        }
        // Reading it says why.
        Err(_) => {}
    }
    let file = match IniFile::read(path) {
        Ok(file) => file,
        Err(IniError::Read { path, source }) => {
            warnings.push(ConfigWarning::Unreadable { path, reason: source.to_string() });
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if changes_barman(&file, merged)? {
        return Err(ConfigError::IncludedBarmanSection { path: path.to_owned() });
    }
    Ok(merged.add(&file)?)
}

/// Whether there may be an entry of this name, whatever it leads to.
pub(super) fn is_there(path: &Path) -> bool {
    let found = path.symlink_metadata();
    found.map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true)
}

/// Whether `[barman]` would be another with this file. The main file itself may lie in the directory.
fn changes_barman(file: &IniFile, merged: &Merged) -> Result<bool, IniError> {
    if file.sections.iter().all(|section| section.name != "barman" || section.options.is_empty()) {
        return Ok(false);
    }
    let mut with = merged.clone();
    with.add(file)?;
    let options = |merged: &Merged| -> Vec<(String, String)> {
        let section = merged.section("barman").into_iter().flat_map(|section| &section.options);
        section.map(|option| (option.key.clone(), option.value.clone())).collect()
    };
    Ok(options(&with) != options(merged))
}
