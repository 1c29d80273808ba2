//! What a directory holds and is not to hold.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{FileType, Metadata};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

use super::{Inventory, Kind};
use crate::sync::{self, SyncError, at};
use crate::tree::is_excluded;

/// What [`Prune::plan`] leaves alone, and where it may go.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PruneOptions {
    /// What stays if it is a file or a directory, as patterns like those of
    /// [`TreeOptions::excludes`](crate::tree::TreeOptions::excludes).
    pub keep: Vec<String>,
    /// Directories, relative to the root, that may be file systems of their own.
    pub mounts: Vec<PathBuf>,
    /// Looked at between directories.
    pub stop: Arc<AtomicBool>,
}

/// Why nothing is removed, or not all.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PruneError {
    /// A directory could not be read, or something not be removed.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// Another file system is mounted there. What is on it may belong to anybody.
    #[error("another file system is mounted on '{}'", path.display())]
    Mounted {
        /// The mount point.
        path: PathBuf,
    },
    /// The stop flag was raised.
    #[error("stopped on request")]
    Stopped,
}

/// Files and directories to be removed. [`Prune::execute`] does it; printing it is a dry run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Prune {
    /// What goes, by its whole path; a directory with all that is in it.
    pub removed: Vec<PathBuf>,
    /// Bytes of all files that are there now and not kept, on disk, by the number of the file system (`st_dev`).
    pub bytes: BTreeMap<u64, u64>,
}

impl Prune {
    /// Looks for what is below `root` and not in `inventory`, or there as something else: a directory where a file is to be,
    /// any link. A root that is not there holds nothing.
    ///
    /// # Errors
    /// When a directory cannot be read, or a file system is mounted below the root where the options allow none.
    pub fn plan(root: &Path, inventory: &Inventory, options: &PruneOptions) -> Result<Self, PruneError> {
        Self::plan_among(root, inventory, options, &mount_points())
    }

    fn plan_among(
        root: &Path,
        inventory: &Inventory,
        options: &PruneOptions,
        points: &BTreeSet<PathBuf>,
    ) -> Result<Self, PruneError> {
        let mut prune = Self::default();
        let (real, device) = match root.canonicalize().and_then(|real| Ok((real, root.metadata()?.dev()))) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(prune),
            found => found.map_err(at("read", root))?,
        };
        let is_mounted = |path: &Path, found: &Metadata, above: u64| {
            found.dev() != above || (!points.is_empty() && points.contains(&real.join(path)))
        };
        // With the file system it is on, and whether it goes.
        let mut pending = vec![(PathBuf::new(), device, false)];
        while let Some((directory, device, goes)) = pending.pop() {
            if options.stop.load(Ordering::Relaxed) {
                return Err(PruneError::Stopped);
            }
            let place = root.join(&directory);
            for entry in std::fs::read_dir(&place).map_err(at("read", &place))? {
                let entry = entry.map_err(at("read", &place))?;
                let path = directory.join(entry.file_name());
                let metadata = entry.metadata().map_err(at("read", &entry.path()))?;
                let kind = kind(metadata.file_type());
                if !goes && kind.is_some() && is_excluded(&options.keep, &path) {
                    continue;
                }
                if kind == Some(Kind::File) {
                    let bytes = prune.bytes.entry(metadata.dev()).or_default();
                    *bytes = bytes.saturating_add(metadata.blocks().saturating_mul(512));
                }
                let stays = !goes && kind.is_some() && inventory.kind(&path) == kind;
                let may_be_mounted = stays && (kind == Some(Kind::File) || options.mounts.contains(&path));
                if !may_be_mounted && is_mounted(&path, &metadata, device) {
                    return Err(PruneError::Mounted { path: entry.path() });
                }
                if !goes && !stays {
                    prune.removed.push(entry.path());
                }
                if kind == Some(Kind::Directory) {
                    pending.push((path, metadata.dev(), !stays));
                }
            }
        }
        prune.removed.sort();
        Ok(prune)
    }

    /// Removes it all, durably. Links are removed, not followed.
    ///
    /// # Errors
    /// At the first that cannot be removed, or when the stop flag was raised.
    pub fn execute(&self, stop: &AtomicBool) -> Result<(), PruneError> {
        let mut directories: Vec<&Path> = Vec::new();
        for path in &self.removed {
            if stop.load(Ordering::Relaxed) {
                return Err(PruneError::Stopped);
            }
            remove(path)?;
            let above = crate::publish::parent(path);
            if directories.last() != Some(&above) {
                directories.push(above);
            }
        }
        directories.sort_unstable();
        directories.dedup();
        Ok(directories.into_iter().try_for_each(sync::directory)?)
    }
}

/// Where file systems are mounted, on Linux. A directory of the same file system that is mounted a second time is seen
/// nowhere else.
fn mount_points() -> BTreeSet<PathBuf> {
    std::fs::read("/proc/self/mountinfo").map(|text| listed_points(&text)).unwrap_or_default()
}

/// The fifth field of each line of `mountinfo` (proc(5)), in which blanks and backslashes are octal numbers.
fn listed_points(text: &[u8]) -> BTreeSet<PathBuf> {
    let plain = |field: &[u8]| {
        let (mut path, mut rest) = (Vec::with_capacity(field.len()), field);
        while let Some((byte, after)) = rest.split_first() {
            let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
            let number = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
            let (byte, after) = match number.filter(|_| *byte == b'\\') {
                Some(number) => (number, after.get(3..).unwrap_or_default()),
                None => (*byte, after),
            };
            path.push(byte);
            rest = after;
        }
        PathBuf::from(OsString::from_vec(path))
    };
    text.split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(plain)
        .filter(|path| path.as_os_str().as_bytes().starts_with(b"/"))
        .collect()
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
        let options = PruneOptions { keep: vec!["/log".to_owned()], ..PruneOptions::default() };
        let prune = Prune::plan(&root, &inventory, &options).unwrap();
        let removed: Vec<_> = prune.removed.iter().map(|path| path.strip_prefix(&root).unwrap()).collect();
        let expected = ["base/1/extra", "base/1/link", "base/16384", "base/2", "global", "standby.signal"]
            .map(Path::new);
        assert_eq!(removed, expected);
        let stop = AtomicBool::new(true);
        assert!(matches!(prune.execute(&stop), Err(PruneError::Stopped)));
        assert!(root.join("base/2").exists());
        prune.execute(&AtomicBool::new(false)).unwrap();
        assert!(expected.iter().all(|path| root.join(path).symlink_metadata().is_err()));
        assert!(["base/1/1259", "log/old", "elsewhere/there"].iter().all(|path| root.join(path).is_file()));
        assert!(Prune::plan(&root, &inventory, &options).unwrap().removed.is_empty());
        assert!(Prune::plan(&dir.path().join("none"), &inventory, &options).unwrap().removed.is_empty());
    }

    #[test]
    fn what_is_mounted_below_is_nobodys_to_remove() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for path in ["pg_wal/lost+found", "base/9/a b", "log/x"] {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        let mut inventory = Inventory::default();
        inventory.add(Path::new("pg_wal"), Kind::Directory);
        inventory.add(Path::new("base"), Kind::Directory);
        inventory.sort();
        let keep = vec!["/log".to_owned(), "/pg_wal/lost+found".to_owned()];
        let options = PruneOptions { keep, mounts: vec!["pg_wal".into()], ..PruneOptions::default() };
        let plan = |path: &str| {
            let line = format!("36 35 98:0 / {} rw,noatime - ext4 /dev/x rw\n", root.join(path).display());
            let line = line.replace("a b", "a\\040b");
            let points = listed_points(line.as_bytes());
            assert_eq!(points.len(), 1);
            Prune::plan_among(&root, &inventory, &options, &points)
        };
        for kept in ["pg_wal", "log", "log/x", "elsewhere"] {
            assert_eq!(plan(kept).unwrap().removed, [root.join("base/9")], "{kept}");
        }
        for other in ["base", "base/9", "base/9/a b"] {
            let refused = plan(other);
            let is_refused =
                matches!(&refused, Err(PruneError::Mounted { path }) if *path == root.join(other));
            assert!(is_refused, "{refused:?}");
        }
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
