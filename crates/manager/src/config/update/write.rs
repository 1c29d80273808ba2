//! Changed configuration files, written.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tapster_catalog::DurableError;
use tapster_catalog::durable::{Clobber, Disk, Publish};

use super::edit::set_option;
use super::{ChangeSet, ConfigChange, UpdateError};
use crate::config::Config;
use crate::config::ini::{IniFile, MAX_FILE_SIZE};

/// What files are to be, before they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Edits {
    files: Vec<(PathBuf, String)>,
}

impl Edits {
    /// Sets the options, in files as they are or as earlier sets make them. Writes nothing.
    pub(super) fn add(&mut self, set: &ChangeSet, config: &Config) -> Result<(), UpdateError> {
        for change in &set.changes_set {
            self.set(&change.config_file, &set.section, change)?;
        }
        // A reference to nothing would keep every command from working.
        let mut merged = config.merged.clone();
        for (path, text) in &self.files {
            IniFile::parse(text, path)
                .and_then(|file| merged.add(&file))
                .map_err(|error| UpdateError::Unusable { section: set.section.clone(), source: error })?;
        }
        let section = merged.section(&set.section);
        for option in
            section.iter().flat_map(|section| set.changes_set.iter().filter_map(|c| section.get(&c.key)))
        {
            if let Some(Err(source)) = section.map(|section| section.read(option)) {
                return Err(UpdateError::Unusable { section: set.section.clone(), source });
            }
        }
        Ok(())
    }

    fn set(&mut self, path: &Path, section: &str, change: &ConfigChange) -> Result<(), UpdateError> {
        let text = match self.files.iter().position(|(known, _)| known == path) {
            Some(at) => self.files.swap_remove(at).1,
            None => read(path)?,
        };
        let text = set_option(&text, (section, &change.key), &change.value, path)?;
        self.files.push((path.to_owned(), text));
        Ok(())
    }
}

/// Sets the options, each file at once. Those of a file that cannot be replaced (of our own in a directory of somebody else's, such
/// as `/etc`, mounted alone, or on a medium that is not written to) go into `.barman.auto.conf`, which is read after it: writing over
/// a file where it stands could leave half of one.
pub(super) fn apply(set: &ChangeSet, config: &Config, disk: &dyn Disk) -> Result<(), UpdateError> {
    let mut edits = Edits::default();
    edits.add(set, config)?;
    let auto = config.auto_file();
    let mut elsewhere = Edits::default();
    for (path, text) in edits.files.iter().filter(|(path, _)| *path != auto) {
        let Err(error) = write(disk, path, text) else { continue };
        if !cannot_be_replaced(error.kind()) {
            return Err(error.into());
        }
        tracing::warn!("{error}; {} is to have its new options", auto.display());
        for change in set.changes_set.iter().filter(|change| change.config_file == *path) {
            elsewhere.set(&auto, &set.section, change)?;
        }
    }
    let own = set.changes_set.iter().filter(|change| change.config_file == auto);
    own.into_iter().try_for_each(|change| elsewhere.set(&auto, &set.section, change))?;
    Ok(elsewhere.files.iter().try_for_each(|(path, text)| write(disk, path, text))?)
}

fn cannot_be_replaced(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    matches!(kind, PermissionDenied | ReadOnlyFilesystem | ResourceBusy)
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

/// Replaces a file durably. A new one is for its owner alone: connection strings may hold passwords.
fn write(disk: &dyn Disk, path: &Path, text: &str) -> Result<(), DurableError> {
    // A link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut file = if path.exists() {
        Publish::replacing(disk, &path)?
    } else {
        Publish::create(disk, &path, Some(0o600))?
    };
    file.write_all(text.as_bytes())?;
    file.publish(Clobber::Replace)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use tapster_catalog::durable::testing::RecordingDisk;

    use super::*;
    use crate::config::ConfigSources;

    #[test]
    fn a_file_that_cannot_be_replaced_is_not_touched() {
        const EACCES: i32 = 13;
        const EBUSY: i32 = 16;
        const ENOSPC: i32 = 28;
        const EROFS: i32 = 30;
        for (call, errno) in [(0, EACCES), (0, EROFS), (3, EBUSY), (0, ENOSPC)] {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("main.conf");
            let text = format!("[barman]\nbarman_home = {}\n[a]\ndescription = old\n", home.path().display());
            fs::write(&path, &text).unwrap();
            let load = || Config::load(&ConfigSources::file(&path)).unwrap();
            let config = load();
            let change = |key: &str, value: &str, config_file: &Path| ConfigChange {
                key: key.to_owned(),
                value: value.to_owned(),
                config_file: config_file.to_owned(),
            };
            let changes_set =
                vec![change("description", "new", &path), change("slot_name", "x", &config.auto_file())];
            let disk = RecordingDisk::new(home.path()).unwrap();
            disk.fail_at(call, errno);
            let made = apply(&ChangeSet { section: "a".to_owned(), changes_set }, &config, &disk);
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "{errno}");
            if errno == ENOSPC {
                assert!(made.is_err(), "it may be replaced later");
                assert!(!config.auto_file().exists());
                continue;
            }
            made.unwrap();
            let server = &load().servers["a"];
            assert_eq!(server.description.as_deref(), Some("new"), "{errno}");
            assert_eq!(server.slot_name.as_deref(), Some("x"), "{errno}");
        }
    }
}
