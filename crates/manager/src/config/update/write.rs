//! Changed configuration files, written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tapster_catalog::DurableError;
use tapster_catalog::durable::{Clobber, Disk, Publish};

use super::edit::set_option;
use super::{ChangeSet, UpdateError};
use crate::config::ini::MAX_FILE_SIZE;

/// Sets the options, each file at once.
pub(super) fn apply(set: &ChangeSet, disk: &dyn Disk) -> Result<(), UpdateError> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for change in &set.changes_set {
        let known = files.iter().position(|(path, _)| *path == change.config_file);
        let text = match known {
            Some(at) => files.swap_remove(at).1,
            None => read(&change.config_file)?,
        };
        let text = set_option(&text, (&set.section, &change.key), &change.value, &change.config_file)?;
        files.push((change.config_file.clone(), text));
    }
    files.iter().try_for_each(|(path, text)| write(disk, path, text))
}

fn read(path: &Path) -> Result<String, UpdateError> {
    let fail = |source| UpdateError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut text = String::new();
    file.take(MAX_FILE_SIZE + 1).read_to_string(&mut text).map_err(fail)?;
    if text.len() as u64 > MAX_FILE_SIZE {
        return Err(super::IniError::TooLarge { path: path.to_owned() }.into());
    }
    Ok(text)
}

/// Writes a file durably. A new one is for its owner alone: connection strings may hold passwords.
pub(super) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), DurableError> {
    let mut file = if path.exists() {
        Publish::replacing(disk, path)?
    } else {
        Publish::create(disk, path, Some(0o600))?
    };
    file.write_all(bytes)?;
    file.publish(Clobber::Replace)
}

/// In one step, where the directory lets us; a file of our own in a directory of somebody else's (`/etc`) is written over.
fn write(disk: &dyn Disk, path: &Path, text: &str) -> Result<(), UpdateError> {
    // A link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match replace(disk, &path, text.as_bytes()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            overwrite(&path, text).map_err(|source| UpdateError::Write { path, source })
        }
        Err(error) => Err(error.into()),
    }
}

fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    // What is written is in the queue as well, should this break off.
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}
