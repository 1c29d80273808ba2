//! The directory where segments fetched ahead wait (`--spool-dir`), with Barman's layout: files under their own names.
//!
//! A segment in the spool must be the one the archive would give now. So the spool belongs to one reader (host, server,
//! destination) at a time, whose name is in [`MARKER`], and everything in it that does not directly follow the segment asked for is
//! thrown away: after `pg_rewind`, or another restore, it would be replayed into the wrong history.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tapster_catalog::durable::{self, Clobber, DurableError, Publish, RealDisk};
use walfile::{SegmentName, SegmentSize, WalName};

use super::download::check_length;

/// Says whose segments these are; locked while somebody works with them. Hidden, so that Barman's client overlooks it.
const MARKER: &str = ".tapster-spool";

/// An open spool, locked until it is dropped.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    _lock: File,
}

impl Spool {
    /// Opens the spool for `owner`; `None` while somebody else works with it.
    pub(super) fn open(dir: &Path, owner: &str) -> io::Result<Option<Self>> {
        fs::create_dir_all(dir)?;
        let mut marker =
            File::options().read(true).write(true).create(true).truncate(false).open(dir.join(MARKER))?;
        match marker.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        let mut found = String::new();
        // Anything unreadable is somebody else's.
        drop((&mut marker).take(64 * 1024).read_to_string(&mut found));
        let spool = Self { dir: dir.to_owned(), _lock: marker.try_clone()? };
        if found != owner {
            // Emptied before it is renamed to us: a crash between the two must not leave us foreign files.
            spool.retain(|_| false)?;
            durable::sync_dir(&RealDisk, dir)?;
            marker.set_len(0)?;
            marker.rewind()?;
            marker.write_all(owner.as_bytes())?;
            marker.sync_all()?;
        }
        drop(durable::remove_stale(&RealDisk, dir));
        Ok(Some(spool))
    }

    /// Where `name` waits.
    pub(super) fn path(&self, name: SegmentName) -> PathBuf {
        self.dir.join(name.to_string())
    }

    /// Moves `name` to `target`, durably, and returns its length; `None` when it is not here. A file of an impossible length,
    /// which another program may have left, is thrown away.
    pub(super) fn take(&self, name: SegmentName, target: &Path) -> Result<Option<u64>, DurableError> {
        let path = self.path(name);
        let Ok(metadata) = fs::symlink_metadata(&path) else { return Ok(None) };
        if !metadata.is_file() || check_length(&name.to_string(), metadata.len()).is_err() {
            drop(fs::remove_file(&path));
            return Ok(None);
        }
        let same_disk =
            fs::metadata(durable::parent(target)).is_ok_and(|directory| directory.dev() == metadata.dev());
        if same_disk {
            // It was synced when it was put here, unless another program did that.
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(|e| DurableError::io(durable::Step::Sync, &path, e))?;
            durable::rename(&RealDisk, &path, target, Clobber::Replace)?;
            return Ok(Some(metadata.len()));
        }
        let read = |e| DurableError::io(durable::Step::Read, &path, e);
        let mut from = File::open(&path).map_err(read)?;
        let mut to = Publish::create(&RealDisk, target, Some(0o600))?;
        let mut buffer = vec![0; 128 * 1024];
        let mut length = 0;
        loop {
            match from.read(&mut buffer).map_err(read)? {
                0 => break,
                got => {
                    length += got as u64;
                    to.write_all(buffer.get(..got).unwrap_or_default())?;
                }
            }
        }
        if length != metadata.len() {
            return Ok(None);
        }
        to.publish(Clobber::Replace)?;
        drop(fs::remove_file(&path));
        Ok(Some(length))
    }

    /// Throws away everything but the up to `count` segments after `wanted` on its timeline. With an unknown size, everything of
    /// other timelines and everything up to `wanted`.
    pub(super) fn keep_after(
        &self,
        wanted: SegmentName,
        size: Option<SegmentSize>,
        count: u64,
    ) -> io::Result<()> {
        let last = size.and_then(|size| {
            let mut last = wanted;
            for _ in 0..count.min(4096) {
                last = last.next(size).ok().flatten()?;
            }
            Some(last)
        });
        self.retain(|name| match name {
            WalName::Segment(name) => {
                name.timeline() == wanted.timeline() && name > wanted && last.is_none_or(|last| name <= last)
            }
            _ => false,
        })
    }

    /// Only files with a WAL file's name, and Barman's half-finished ones, are ours to remove.
    fn retain(&self, keep: impl Fn(WalName) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let file_name = entry.file_name();
            let Some(text) = file_name.to_str() else { continue };
            let (text, unfinished) = text.strip_suffix(".tmp").map_or((text, false), |text| (text, true));
            if let Ok(name) = text.parse::<WalName>()
                && (unfinished || !keep(name))
            {
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != MARKER);
        names.sort();
        names
    }

    fn put(dir: &Path, name: &str, length: u64) {
        File::create(dir.join(name)).unwrap().set_len(length).unwrap();
    }

    #[test]
    fn only_direct_successors_on_the_same_timeline_stay() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), "me").unwrap().unwrap();
        for name in [
            "0000000100000000000000FE",
            "0000000100000000000000FF",
            "000000010000000100000000",
            "000000010000000100000001",
            "0000000200000000000000FF",
            "00000002.history",
            "notes.txt",
        ] {
            put(dir.path(), name, 1);
        }
        let wanted: SegmentName = "0000000100000000000000FE".parse().unwrap();
        spool.keep_after(wanted, Some(SegmentSize::DEFAULT), 2).unwrap();
        assert_eq!(names(dir.path()), ["0000000100000000000000FF", "000000010000000100000000", "notes.txt"]);
    }

    #[test]
    fn another_readers_segments_are_never_used() {
        let dir = tempfile::tempdir().unwrap();
        let segment = "000000010000000000000002";
        put(dir.path(), segment, 1 << 24);
        drop(Spool::open(dir.path(), "one").unwrap().unwrap());
        assert!(names(dir.path()).is_empty(), "of unknown origin");
        put(dir.path(), segment, 1 << 24);
        let spool = Spool::open(dir.path(), "one").unwrap().unwrap();
        assert_eq!(names(dir.path()), [segment]);
        assert!(Spool::open(dir.path(), "two").unwrap().is_none(), "locked");
        drop(spool);
        drop(Spool::open(dir.path(), "two").unwrap().unwrap());
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn short_files_are_thrown_away_instead_of_used() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), "me").unwrap().unwrap();
        let name: SegmentName = "000000010000000000000002".parse().unwrap();
        let target = dir.path().join("RECOVERYXLOG");
        for length in [0, 1000, (1 << 24) - 1] {
            put(dir.path(), &name.to_string(), length);
            assert_eq!(spool.take(name, &target).unwrap(), None);
            assert!(names(dir.path()).is_empty());
        }
        put(dir.path(), &name.to_string(), 1 << 20);
        assert_eq!(spool.take(name, &target).unwrap(), Some(1 << 20));
        assert_eq!(names(dir.path()), ["RECOVERYXLOG"]);
    }
}
