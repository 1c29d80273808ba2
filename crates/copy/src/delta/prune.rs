//! What a directory holds and is not to hold.

use std::fs::FileType;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Inventory, Kind};
use crate::sync::{self, SyncError, at};
use crate::tree::is_excluded;

/// Files and directories to be removed. [`Prune::execute`] does it; printing it is a dry run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Prune {
    /// What goes, by its whole path; a directory with all that is in it.
    pub removed: Vec<PathBuf>,
    /// Bytes of all files that are there now, on disk.
    pub bytes: u64,
}

impl Prune {
    /// Looks for what is below `root` and not in `inventory`, or there as something else: a directory where a file is to be,
    /// any link. What `keep` names (patterns as in [`TreeOptions::excludes`](crate::tree::TreeOptions::excludes)) stays, if
    /// it is a file or a directory. A root that is not there holds nothing.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn plan(root: &Path, inventory: &Inventory, keep: &[String]) -> Result<Self, SyncError> {
        let mut prune = Self::default();
        let mut pending = vec![PathBuf::new()];
        while let Some(directory) = pending.pop() {
            let place = root.join(&directory);
            let read = match std::fs::read_dir(&place) {
                Err(error)
                    if error.kind() == std::io::ErrorKind::NotFound && directory.as_os_str().is_empty() =>
                {
                    return Ok(prune);
                }
                read => read.map_err(at("read", &place))?,
            };
            for entry in read {
                let entry = entry.map_err(at("read", &place))?;
                let path = directory.join(entry.file_name());
                let metadata = entry.metadata().map_err(at("read", &entry.path()))?;
                let kind = kind(metadata.file_type());
                if kind == Some(Kind::File) {
                    prune.bytes = prune.bytes.saturating_add(metadata.blocks().saturating_mul(512));
                }
                if kind.is_some() && is_excluded(keep, &path) {
                    continue;
                }
                match (inventory.kind(&path), kind) {
                    (Some(Kind::Directory), Some(Kind::Directory)) => pending.push(path),
                    (Some(Kind::File), Some(Kind::File)) => {}
                    _ => prune.removed.push(entry.path()),
                }
            }
        }
        prune.removed.sort();
        Ok(prune)
    }

    /// Removes it all, durably. Links are removed, not followed.
    ///
    /// # Errors
    /// At the first that cannot be removed.
    pub fn execute(&self) -> Result<(), SyncError> {
        let mut directories: Vec<&Path> = Vec::new();
        for path in &self.removed {
            remove(path)?;
            let above = crate::publish::parent(path);
            if directories.last() != Some(&above) {
                directories.push(above);
            }
        }
        directories.sort_unstable();
        directories.dedup();
        directories.into_iter().try_for_each(sync::directory)
    }
}

fn kind(found: FileType) -> Option<Kind> {
    match (found.is_dir(), found.is_file()) {
        (true, _) => Some(Kind::Directory),
        (_, true) => Some(Kind::File),
        _ => None,
    }
}

fn remove(path: &Path) -> Result<(), SyncError> {
    let found = std::fs::symlink_metadata(path).map_err(at("read", path))?;
    let removed = if found.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.map_err(at("remove", path))
}

/// Takes the control file away from a data directory, durably: no server starts on what is left. A `global` that is a link
/// goes itself. Says whether there was one.
///
/// # Errors
/// When it cannot be removed.
pub fn disarm(root: &Path) -> Result<bool, SyncError> {
    let global = root.join("global");
    let path = match std::fs::symlink_metadata(&global) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(at("read", &global)(error)),
        Ok(found) if found.is_dir() => global.join("pg_control"),
        Ok(_) => global,
    };
    match remove(&path) {
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(false),
        removed => {
            removed?;
            sync::directory(crate::publish::parent(&path))?;
            Ok(true)
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_stays_that_is_not_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        for path in ["base/1", "base/2", "base/16384", "log", "global", "elsewhere"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        for path in
            ["base/1/1259", "base/1/extra", "base/2/1", "log/old", "base/16384/kept", "standby.signal"]
        {
            std::fs::write(root.join(path), b"x").unwrap();
        }
        symlink(root.join("elsewhere"), root.join("base/1/link")).unwrap();
        std::fs::write(root.join("elsewhere/there"), b"x").unwrap();
        let mut inventory = Inventory::default();
        // A link and a directory where files are to be, and a file where a directory is to be.
        for path in ["base/1/1259", "base/1/link", "base/2", "standby.signal/x", "elsewhere/there"] {
            inventory.add(Path::new(path), Kind::File);
        }
        inventory.sort();
        let keep = ["/log".to_owned()];
        let prune = Prune::plan(&root, &inventory, &keep).unwrap();
        let removed: Vec<_> = prune.removed.iter().map(|path| path.strip_prefix(&root).unwrap()).collect();
        let expected = ["base/1/extra", "base/1/link", "base/16384", "base/2", "global", "standby.signal"]
            .map(Path::new);
        assert_eq!(removed, expected);
        prune.execute().unwrap();
        assert!(expected.iter().all(|path| root.join(path).symlink_metadata().is_err()));
        assert!(["base/1/1259", "log/old", "elsewhere/there"].iter().all(|path| root.join(path).is_file()));
        assert!(Prune::plan(&root, &inventory, &keep).unwrap().removed.is_empty());
        assert!(Prune::plan(&dir.path().join("none"), &inventory, &[]).unwrap().removed.is_empty());
    }

    #[test]
    fn a_control_file_behind_a_link_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (dir.path().join("ours"), dir.path().join("other"));
        for path in [&ours, &other] {
            std::fs::create_dir_all(path.join("global")).unwrap();
            std::fs::write(path.join("global/pg_control"), b"x").unwrap();
        }
        assert!(disarm(&ours).unwrap());
        assert!(!disarm(&ours).unwrap());
        std::fs::remove_dir_all(ours.join("global")).unwrap();
        symlink(other.join("global"), ours.join("global")).unwrap();
        assert!(disarm(&ours).unwrap());
        assert!(other.join("global/pg_control").exists());
        assert!(ours.join("global").symlink_metadata().is_err());
        assert!(!disarm(&dir.path().join("none")).unwrap());
    }
}
