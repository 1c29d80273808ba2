//! The directories a backup goes into: absent or empty before, gone again after a failure.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tapster_copy::sync;

use super::error::BaseBackupToolError;
use super::event::{BaseBackupEvent, DirectoryKind};

/// What this run made or found.
#[derive(Debug, Default)]
pub(super) struct Directories {
    touched: Vec<(DirectoryKind, PathBuf, bool)>,
    tablespaces: bool,
}

/// How a directory was before.
enum State {
    Absent,
    Empty,
    Full,
}

/// `pg_check_dir`: hidden files and `lost+found` count.
fn state(path: &Path) -> Result<State, BaseBackupToolError> {
    let failed = |source| BaseBackupToolError::AccessDirectory { path: path.to_owned(), source };
    match std::fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(State::Empty),
            Some(Ok(_)) => Ok(State::Full),
            Some(Err(error)) => Err(failed(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::Absent),
        Err(error) => Err(failed(error)),
    }
}

/// Makes `path` unless it is there and empty; true when it was made.
fn prepare(path: &Path, mode: u32) -> Result<bool, BaseBackupToolError> {
    match state(path)? {
        State::Full => Err(BaseBackupToolError::NotEmpty { path: path.to_owned() }),
        State::Empty => Ok(false),
        State::Absent => {
            let failed = |source| BaseBackupToolError::CreateDirectory { path: path.to_owned(), source };
            sync::create_dir_all(path, mode).map_err(|error| failed(error.source))?;
            // The umask may have taken away what the group of the server's own directory has.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
            Ok(true)
        }
    }
}

impl Directories {
    pub(super) fn prepare(
        &mut self,
        kind: DirectoryKind,
        path: &Path,
        mode: u32,
    ) -> Result<(), BaseBackupToolError> {
        let made = prepare(path, mode)?;
        self.touched.push((kind, path.to_owned(), made));
        Ok(())
    }

    pub(super) fn prepare_tablespace(&mut self, path: &Path, mode: u32) -> Result<(), BaseBackupToolError> {
        prepare(path, mode)?;
        self.tablespaces = true;
        Ok(())
    }

    /// After a failure: as it was before, as far as `pg_basebackup` goes.
    pub(super) fn clean_up(&self, remove: bool, observer: &dyn Fn(&BaseBackupEvent<'_>)) {
        for (kind, path, made) in &self.touched {
            let (kind, path) = (*kind, path.as_path());
            if !remove {
                observer(&BaseBackupEvent::NotRemoved { kind, path });
                continue;
            }
            observer(&BaseBackupEvent::Removing { kind, path, only_contents: !made });
            let removed = if *made { std::fs::remove_dir_all(path) } else { remove_contents(path) };
            if let Err(error) = removed {
                observer(&BaseBackupEvent::RemoveFailed { kind, error: &error });
            }
        }
        if self.tablespaces {
            observer(&BaseBackupEvent::TablespacesNotUndone);
        }
    }
}

fn remove_contents(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absent_or_empty_directories_and_back_again() {
        let dir = tempfile::tempdir().unwrap();
        let (made, found) = (dir.path().join("a/b"), dir.path().join("found"));
        std::fs::create_dir(&found).unwrap();
        let mut directories = Directories::default();
        directories.prepare(DirectoryKind::Data, &made, 0o750).unwrap();
        directories.prepare(DirectoryKind::Wal, &found, 0o700).unwrap();
        assert_eq!(std::fs::metadata(&made).unwrap().permissions().mode() & 0o7777, 0o750);
        for path in [&made, &found] {
            std::fs::File::create(path.join(".hidden")).unwrap();
            let error = prepare(path, 0o700).unwrap_err();
            assert!(error.to_string().ends_with("exists but is not empty"), "{error}");
        }
        directories.clean_up(false, &|_| {});
        assert!(made.join(".hidden").exists());
        directories.clean_up(true, &|_| {});
        assert!(!made.exists() && found.exists() && !found.join(".hidden").exists());
        let error = prepare(&found.join("x\0y"), 0o700).unwrap_err();
        assert!(error.to_string().starts_with("could not access directory"), "{error}");
    }
}
