//! What was archived before PostgreSQL asked for it.
//!
//! A file per segment, below the spool directory, says which file it was. It is written after the store has the segment, so losing it
//! costs a comparison, and one that a power cut left torn or empty says nothing: it needs no sync.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tapster_catalog::durable::{self, Clobber, RealDisk};
use tapster_cloud::StoreIdentity;
use walfile::{SystemId, WalName};

use super::ready::names;
use super::source::FileState;
use crate::wal_client::{claim, is_ours};

/// Whose WAL the bucket holds, as it said when it was asked.
const SYSTEM: &str = "system";

/// How long that is believed for one file. Several are worth a question.
const BELIEVED: Duration = Duration::from_secs(180);

/// What one cluster has archived to one place.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    dir: PathBuf,
}

impl Record {
    /// Of the cluster with this `pg_wal`. Makes no directories.
    pub(crate) fn locate(spool_dir: &Path, store: &StoreIdentity, server: &str, wal_dir: &Path) -> Self {
        let mut hash = Sha256::new();
        let real = fs::canonicalize(wal_dir).unwrap_or_else(|_| wal_dir.to_owned());
        for part in [store.place().as_bytes(), server.as_bytes(), real.as_os_str().as_encoded_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let hash = hash.finalize();
        let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { dir: spool_dir.join(name) }
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the directories; `false` when the spool is another user's.
    pub(crate) fn create(&self) -> io::Result<bool> {
        if !claim(durable::parent(&self.dir))? {
            return Ok(false);
        }
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => claim(&self.dir),
        }
    }

    /// Whether `path`, as it is now, was archived as `name`.
    pub(in super::super) fn has(&self, name: WalName, path: &Path) -> bool {
        // Somebody else's directory says nothing.
        if !self.is_ours() {
            return false;
        }
        let Some(line) = self.read(&name.to_string()) else { return false };
        fs::metadata(path)
            .is_ok_and(|metadata| metadata.is_file() && FileState::of(&metadata).to_line() == line)
    }

    /// Whether only we can have put there what is in it.
    pub(crate) fn is_ours(&self) -> bool {
        is_ours(durable::parent(&self.dir)) && is_ours(&self.dir)
    }

    /// Notes that the file of that state is archived as `name`.
    pub(super) fn add(&self, name: WalName, state: FileState) -> io::Result<()> {
        self.write(&name.to_string(), &state.to_line())
    }

    /// Forgets what PostgreSQL has been told: it is no longer ready. A look that fails is none.
    pub(in super::super) fn forget_told(&self, wal_dir: &Path) {
        if let Some(ready) = names(wal_dir) {
            self.retain(|name| ready.contains(&name));
        }
    }

    /// Forgets those that `keep` does not want.
    fn retain(&self, keep: impl Fn(WalName) -> bool) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.trim_end_matches(".new").parse::<WalName>().ok());
            if name.is_some_and(|name| !keep(name)) {
                // It is in nobody's way.
                drop(fs::remove_file(entry.path()));
            }
        }
    }

    /// Whose WAL the place holds, if that was seen before.
    pub(in super::super) fn system_id(&self) -> Option<SystemId> {
        self.read(SYSTEM)?.trim_end().parse().ok().map(SystemId::new)
    }

    /// The same, unless the place may have been given to another cluster since.
    pub(in super::super) fn recent_system_id(&self) -> Option<SystemId> {
        let asked = fs::metadata(self.dir.join(SYSTEM)).ok()?.modified().ok()?;
        // A time to come is that of a clock that was wrong.
        let age = SystemTime::from(crate::local_now()).duration_since(asked).ok()?;
        if age < BELIEVED { self.system_id() } else { None }
    }

    /// The place is another cluster's.
    pub(in super::super) fn forget_system_id(&self) {
        // Where it cannot be removed, it soon is too old.
        drop(fs::remove_file(self.dir.join(SYSTEM)));
    }

    pub(in super::super) fn set_system_id(&self, system_id: SystemId) -> io::Result<()> {
        self.write(SYSTEM, &format!("{}\n", system_id.get()))
    }

    /// A whole line, or nothing.
    fn read(&self, name: &str) -> Option<String> {
        let mut line = String::new();
        File::open(self.dir.join(name)).ok()?.take(1024).read_to_string(&mut line).ok()?;
        line.ends_with('\n').then_some(line)
    }

    fn write(&self, name: &str, line: &str) -> io::Result<()> {
        let new = self.dir.join(format!("{name}.new"));
        File::create(&new)?.write_all(line.as_bytes())?;
        durable::rename_unsynced(&RealDisk, &new, &self.dir.join(name), Clobber::Replace)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use tapster_cloud::{Environment, StoreOptions};

    use super::*;

    fn store(url: &str, endpoint: &str) -> StoreIdentity {
        let mut options = StoreOptions::default();
        options.endpoint = Some(endpoint.to_owned());
        StoreIdentity::of(&url.parse().unwrap(), &options, &Environment::default())
    }

    fn record(dir: &Path) -> Record {
        let record = Record::locate(dir, &store("s3://b/p", "http://one"), "main", dir);
        assert!(record.create().unwrap());
        record
    }

    #[test]
    fn another_file_of_the_same_name_was_not_archived() {
        let dir = tempfile::tempdir().unwrap();
        let record = record(dir.path());
        let name: WalName = "000000010000000000000002".parse().unwrap();
        let path = dir.path().join("segment");
        let state = || FileState::of(&fs::metadata(&path).unwrap());
        File::create(&path).unwrap().set_len(4096).unwrap();
        assert!(!record.has(name, &path));
        record.add(name, state()).unwrap();
        assert!(record.has(name, &path));
        let modified = fs::metadata(&path).unwrap().modified().unwrap();

        // Renamed over by one of the same size and time, as a restore or a recycled segment is.
        let other = dir.path().join("other");
        let file = File::create(&other).unwrap();
        file.set_len(4096).unwrap();
        file.set_modified(modified).unwrap();
        durable::rename(&RealDisk, &other, &path, Clobber::Replace).unwrap();
        assert!(!record.has(name, &path));
        record.add(name, state()).unwrap();
        assert!(record.has(name, &path));
        File::options().append(true).open(&path).unwrap().write_all(b"x").unwrap();
        assert!(!record.has(name, &path));
        fs::remove_file(&path).unwrap();
        assert!(!record.has(name, &path));
    }

    #[test]
    fn a_torn_record_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let record = record(dir.path());
        let name: WalName = "000000010000000000000002".parse().unwrap();
        let path = dir.path().join("segment");
        File::create(&path).unwrap().set_len(4096).unwrap();
        record.add(name, FileState::of(&fs::metadata(&path).unwrap())).unwrap();
        let line = fs::read(record.dir.join(name.to_string())).unwrap();
        for end in 0..line.len() {
            durable::replace(&RealDisk, &record.dir.join(name.to_string()), &line[..end]).unwrap();
            assert!(!record.has(name, &path), "{end}");
        }
        record.set_system_id(SystemId::new(7)).unwrap();
        record.retain(|_| false);
        assert_eq!(fs::read_dir(&record.dir).unwrap().count(), 1);
        assert_eq!(record.system_id(), Some(SystemId::new(7)));
    }

    #[test]
    fn places_do_not_share_their_records() {
        let dir = Path::new("/spool");
        let of = |bucket: &str, endpoint: &str, server: &str, wal: &str| {
            Record::locate(dir, &store(bucket, endpoint), server, Path::new(wal)).dir
        };
        let one = of("s3://b/p", "http://one", "main", "/no/pg_wal");
        assert_eq!(one, of("s3://b/p/", "http://one/", "main", "/no/pg_wal"));
        for other in [
            of("s3://b/q", "http://one", "main", "/no/pg_wal"),
            of("s3://b/p", "http://two", "main", "/no/pg_wal"),
            of("s3://b/p", "http://one", "m", "/no/pg_wal"),
            of("s3://b/p", "http://one", "main", "/pg_wal"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn what_others_can_write_to_says_nothing() {
        let above = tempfile::tempdir().unwrap();
        let spool = above.path().join("spool");
        let (name, path): (WalName, _) =
            ("000000010000000000000002".parse().unwrap(), above.path().join("f"));
        File::create(&path).unwrap().set_len(4096).unwrap();
        let record = Record::locate(&spool, &store("s3://b/p", "http://one"), "main", above.path());
        assert!(!record.has(name, &path));
        assert!(!spool.exists(), "a look makes nothing");
        assert!(record.create().unwrap());
        record.add(name, FileState::of(&fs::metadata(&path).unwrap())).unwrap();
        assert!(record.has(name, &path));
        for dir in [&spool, &record.dir] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
            assert!(!record.has(name, &path), "{}", dir.display());
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
            assert!(record.has(name, &path));
            if rustix::process::geteuid().is_root() {
                std::os::unix::fs::chown(dir, Some(12_345), None).unwrap();
                assert!(!record.has(name, &path), "{}", dir.display());
                std::os::unix::fs::chown(dir, Some(0), None).unwrap();
            }
        }
    }
}
