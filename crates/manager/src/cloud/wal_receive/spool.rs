//! The directory where WAL waits for the store.
//!
//! Segments are there under the names that [`SegmentDir`](tapster_catalog::SegmentDir) gives them. Beside them are a lock, which
//! place the WAL is for, of which cluster it is, and how far the bucket has it, so that an empty spool knows where to go on.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tapster_catalog::Identity;
use tapster_catalog::durable::{self, DurableError, RealDisk};
use tapster_cloud::StoreIdentity;
use tapster_protocol::SystemIdentity;
use walfile::{Lsn, SegmentName, SystemId, Timeline, WalName};

use super::super::CloudWalError;
use super::CloudReceiveError;

const LOCK: &str = "receive.lock";
const PLACE: &str = "receive.place";
const POSITION: &str = "receive.position";
const IDENTITY: &str = "identity.json";

/// What stays free of the file system where nothing else is said. On a disk that is full nothing can be noted any more.
const RESERVE: u64 = 512 << 20;

/// Held as long as this lives.
#[derive(Debug)]
pub(super) struct Spool {
    dir: PathBuf,
    _lock: File,
    held: Mutex<()>,
}

/// What waits in it.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Whole segments and history files: histories first, then in the order of their names.
    pub(super) whole: Vec<WalName>,
    /// Segments of which the beginning is there.
    pub(super) partial: Vec<SegmentName>,
    /// Bytes of the whole ones.
    pub(super) bytes: u64,
    /// Bytes of the others, and which each belongs to: also of those that wait for their names.
    begun: Vec<(SegmentName, u64)>,
}

impl Spool {
    /// Takes the directory, which is made if need be, for WAL that goes to this place.
    pub(super) fn open(dir: &Path, place: &StoreIdentity, server: &str) -> Result<Self, CloudWalError> {
        let failed = |source| CloudWalError::Spool { path: dir.to_owned(), source };
        durable::create_dir_all(&RealDisk, dir, Some(0o700)).map_err(|e| failed(e.into()))?;
        let lock = File::create(dir.join(LOCK)).map_err(failed)?;
        lock.try_lock().map_err(|_| failed(io::Error::other("another process receives into it")))?;
        let spool = Self { dir: dir.to_owned(), _lock: lock, held: Mutex::default() };
        let mine = format!("{} {server}\n", place.place());
        match spool.read(PLACE).map_err(failed)? {
            Some(found) if found == mine => {}
            Some(_) => {
                return Err(failed(io::Error::other("what is in it is for another server or another place")));
            }
            None => spool.write(PLACE, &mine)?,
        }
        Ok(spool)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn path(&self, name: WalName) -> PathBuf {
        self.dir.join(name.to_string())
    }

    /// Sees to it that the spool and the server are of one cluster.
    pub(super) fn belongs_to(&self, system: &SystemIdentity, major: u32) -> Result<(), CloudReceiveError> {
        let found = system.system_id.to_string();
        let path = self.dir.join(IDENTITY);
        match Identity::load(&path)? {
            Some(identity) if identity.system_id == found => Ok(()),
            Some(Identity { system_id: expected, .. }) => {
                Err(CloudReceiveError::OtherCluster { path: self.dir.clone(), expected, found })
            }
            None => {
                let identity = Identity::new(found, major.to_string());
                identity.save_if_absent(&RealDisk, &path).map_err(|e| self.failed(e))?;
                Ok(())
            }
        }
    }

    /// Of which cluster the WAL is; `None` before the first connection.
    pub(super) fn system_id(&self) -> Result<Option<SystemId>, CloudWalError> {
        let failed = |source| CloudWalError::Spool { path: self.dir.clone(), source };
        let identity = Identity::load(&self.dir.join(IDENTITY)).map_err(|e| failed(io::Error::other(e)))?;
        Ok(identity.and_then(|identity| identity.system_id.parse().ok()).map(SystemId::new))
    }

    /// How far the bucket has everything.
    pub(super) fn position(&self) -> Result<Option<(Timeline, Lsn)>, CloudWalError> {
        let failed = |source| CloudWalError::Spool { path: self.dir.join(POSITION), source };
        let Some(line) = self.read(POSITION).map_err(failed)? else { return Ok(None) };
        let parsed = line
            .trim_end()
            .split_once(' ')
            .and_then(|(timeline, lsn)| Some((timeline.parse().ok()?, lsn.parse().ok()?)));
        match parsed {
            Some(position) => Ok(Some(position)),
            None => Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it holds no position"))),
        }
    }

    /// Notes how far the bucket has everything; no step back.
    pub(super) fn set_position(&self, timeline: Timeline, lsn: Lsn) -> Result<(), CloudWalError> {
        if self.position()?.is_some_and(|noted| noted >= (timeline, lsn)) {
            return Ok(());
        }
        self.write(POSITION, &format!("{timeline} {lsn}\n"))
    }

    pub(super) fn waiting(&self) -> Result<Waiting, CloudWalError> {
        let failed = |source| CloudWalError::Spool { path: self.dir.clone(), source };
        let mut waiting = Waiting::default();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let file = entry.file_name();
            let Some(file) = file.to_str() else { continue };
            let hidden = file.strip_prefix('.').and_then(|file| file.strip_suffix(".tmp"));
            let Ok(name) = hidden.unwrap_or(file).parse() else { continue };
            match name {
                WalName::Partial(segment) => {
                    // It is given its name at any time.
                    let size = entry.metadata().map_or(0, |metadata| metadata.len());
                    waiting.begun.push((segment, size));
                    if hidden.is_none() {
                        waiting.partial.push(segment);
                    }
                }
                _ if hidden.is_some() => {}
                WalName::Segment(_) => {
                    // The bucket may just have got it.
                    waiting.bytes += entry.metadata().map_or(0, |metadata| metadata.len());
                    waiting.whole.push(name);
                }
                WalName::History(_) => waiting.whole.push(name),
                WalName::BackupLabel { .. } => {}
            }
        }
        waiting.whole.sort_unstable_by_key(|name| (!matches!(name, WalName::History(_)), *name));
        waiting.partial.sort_unstable();
        Ok(waiting)
    }

    /// How many bytes there are beside the segment `next`, if another `size` for that are too much: more than `most`, or without that
    /// more than the file system can spare. An empty spool has room, or nothing would ever be received.
    pub(super) fn is_full(
        &self,
        most: Option<u64>,
        next: Option<SegmentName>,
        size: u64,
    ) -> Result<Option<u64>, CloudWalError> {
        let waiting = self.waiting()?;
        let begun = waiting.begun.iter().filter(|(segment, _)| Some(*segment) != next);
        let bytes = begun.map(|(_, size)| size).sum::<u64>().saturating_add(waiting.bytes);
        let is_full = match most {
            Some(most) => bytes.saturating_add(size) > most,
            None => match rustix::fs::statvfs(&self.dir) {
                Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize) < size.saturating_add(RESERVE),
                Err(_) => false,
            },
        };
        Ok((bytes > 0 && is_full).then_some(bytes))
    }

    /// Removes a segment that the bucket has, and all before it, up to `end`.
    pub(super) fn take_out(&self, name: WalName, timeline: Timeline, end: Lsn) -> Result<(), CloudWalError> {
        match self.set_position(timeline, end) {
            Err(CloudWalError::Spool { source, .. })
                if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                // Its room is needed for the note. Killed in between, the next start sees in the bucket how far it is.
                self.remove(&[name])?;
                self.set_position(timeline, end)
            }
            noted => {
                noted?;
                self.remove(&[name])
            }
        }
    }

    /// While this is held, nothing is removed.
    pub(super) fn hold(&self) -> MutexGuard<'_, ()> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what the bucket has.
    pub(super) fn remove(&self, names: &[WalName]) -> Result<(), CloudWalError> {
        let _held = self.hold();
        for name in names {
            durable::remove_file_unsynced(&RealDisk, &self.path(*name)).map_err(|e| self.failed(e))?;
        }
        durable::sync_dir(&RealDisk, &self.dir).map_err(|e| self.failed(e))
    }

    fn read(&self, name: &str) -> io::Result<Option<String>> {
        let mut text = String::new();
        match File::open(self.dir.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened?.take(4096).read_to_string(&mut text).map(|_| Some(text)),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), CloudWalError> {
        durable::replace(&RealDisk, &self.dir.join(name), text.as_bytes()).map_err(|e| self.failed(e))
    }

    fn failed(&self, error: DurableError) -> CloudWalError {
        CloudWalError::Spool { path: self.dir.clone(), source: error.into() }
    }
}

#[cfg(test)]
mod tests {
    use tapster_cloud::{Environment, StoreOptions};

    use super::*;

    fn place(url: &str) -> StoreIdentity {
        StoreIdentity::of(&url.parse().unwrap(), &StoreOptions::default(), &Environment::default())
    }

    #[test]
    fn a_spool_has_one_receiver_and_one_place() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a/b");
        let spool = Spool::open(&dir, &place("s3://b/p"), "main").unwrap();
        let busy = Spool::open(&dir, &place("s3://b/p"), "main").unwrap_err();
        assert!(busy.to_string().contains("another process"), "{busy}");
        drop(spool);
        for (url, server) in [("s3://b/q", "main"), ("s3://b/p", "other")] {
            let other = Spool::open(&dir, &place(url), server).unwrap_err();
            assert!(other.to_string().contains("another place"), "{other}");
        }
        Spool::open(&dir, &place("s3://b/p"), "main").unwrap();
    }

    #[test]
    fn positions_go_forward() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), &place("s3://b/p"), "main").unwrap();
        assert_eq!(spool.position().unwrap(), None);
        let (one, two) = (Timeline::new(1).unwrap(), Timeline::new(2).unwrap());
        for (timeline, lsn, noted) in [
            (one, 0x300_0000, (one, 0x300_0000)),
            (one, 0x200_0000, (one, 0x300_0000)),
            (two, 0x200_0000, (two, 0x200_0000)),
            (one, 0x400_0000, (two, 0x200_0000)),
        ] {
            spool.set_position(timeline, Lsn::new(lsn)).unwrap();
            assert_eq!(spool.position().unwrap(), Some((noted.0, Lsn::new(noted.1))));
        }
        durable::replace(&RealDisk, &dir.path().join(POSITION), b"1 \xc3\xa4").unwrap();
        assert!(spool.position().is_err());
    }

    #[test]
    fn what_waits_is_in_order_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), &place("s3://b/p"), "main").unwrap();
        let size = 1 << 20;
        let next = "000000010000000000000006".parse().ok();
        assert_eq!(spool.is_full(Some(0), next, size).unwrap(), None);
        for name in [
            "000000010000000000000005",
            "00000002.history",
            "000000010000000000000004",
            "000000010000000000000006.partial",
            ".000000010000000000000007.partial.tmp",
            "notes",
        ] {
            File::create(dir.path().join(name)).unwrap().set_len(size).unwrap();
        }
        let waiting = spool.waiting().unwrap();
        let names: Vec<_> = waiting.whole.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["00000002.history", "000000010000000000000004", "000000010000000000000005"]);
        assert_eq!(waiting.partial.len(), 1);
        assert_eq!(spool.is_full(Some(3 * size), next, size).unwrap(), Some(3 * size));
        assert_eq!(spool.is_full(Some(4 * size), next, size).unwrap(), None);
        assert_eq!(spool.is_full(Some(4 * size), None, size).unwrap(), Some(4 * size));
        spool.remove(&waiting.whole).unwrap();
        assert!(spool.waiting().unwrap().whole.is_empty());
    }
}
