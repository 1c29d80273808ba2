//! The directory where segments fetched ahead wait (`--spool-dir`), with Barman's layout: files under their own names.
//!
//! A segment in the spool must be the one the archive would give now. So the spool belongs to one reader (host, server,
//! destination) at a time, whose name is in [`MARKER`], and everything in it that does not directly follow the segment asked for is
//! thrown away: after `pg_rewind`, or another restore, it would be replayed into the wrong history.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tapster_catalog::durable::{self, Clobber, DurableError, Publish, RealDisk};
use walfile::{LongPageHeader, SegmentName, SegmentSize, SystemId, WalName};

use super::download::check_length;

/// Says whose segments these are; locked while somebody works with them. Hidden, so that Barman's client overlooks it.
const MARKER: &str = ".tapster-spool";

/// Which segment was asked for last. Not durable: only who fetches ahead at the same time looks at it.
const POSITION: &str = ".tapster-position";

/// Who fetches ahead has the lock for as long as renaming a file takes; another `restore_command`, for a whole transfer.
const PATIENCE: Duration = Duration::from_secs(1);

/// An open spool, locked until it is dropped.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    _lock: File,
}

/// Makes the directory, or sees to it that nobody else can write to the one that is there; `false` when it is another user's: what
/// lies in a directory below `/tmp` that somebody was quick to make would be replayed.
pub(crate) fn claim(dir: &Path) -> io::Result<bool> {
    if let Some(above) = dir.parent() {
        fs::create_dir_all(above)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // A link is followed by everybody who uses the path later, so it is what it leads to that must be ours, and the link itself.
    let us = rustix::process::geteuid().as_raw();
    if fs::symlink_metadata(dir)?.uid() != us {
        return Ok(false);
    }
    let metadata = fs::metadata(dir)?;
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if metadata.uid() != us {
        return Ok(false);
    }
    if metadata.mode() & 0o022 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(metadata.mode() & 0o7755))?;
        // Until now others could put anything here: segments, a marker that says whose they are, a socket.
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let hidden = name.as_encoded_bytes().starts_with(b".");
            let is_segment = name.to_str().is_some_and(|name| name.parse::<WalName>().is_ok());
            if (hidden || is_segment) && !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(true)
}

/// Whether nobody else can write to the directory, or replace what is in it, as after [`claim`], which this neither makes nor changes.
#[cfg(feature = "cloud")]
pub(crate) fn is_ours(dir: &Path) -> bool {
    let us = rustix::process::geteuid().as_raw();
    let whose = |found: io::Result<fs::Metadata>| found.ok().filter(|metadata| metadata.uid() == us);
    whose(fs::symlink_metadata(dir)).is_some()
        && whose(fs::metadata(dir)).is_some_and(|metadata| metadata.is_dir() && metadata.mode() & 0o022 == 0)
}

impl Spool {
    /// Opens the spool for `owner`; `None` while somebody else works with it. The directory must have been claimed.
    pub(crate) fn open(dir: &Path, owner: &str) -> io::Result<Option<Self>> {
        let mut marker =
            File::options().read(true).write(true).create(true).truncate(false).open(dir.join(MARKER))?;
        let until = Instant::now() + PATIENCE;
        loop {
            match marker.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
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

    /// Opens it to put `name` in, which was fetched for `owner`, waiting for its turn; `None` when the spool has passed to somebody
    /// else meanwhile, or the reader is past that segment or on another timeline.
    pub(crate) fn join(dir: &Path, owner: &str, name: SegmentName) -> io::Result<Option<Self>> {
        let mut marker = File::options().read(true).write(true).open(dir.join(MARKER))?;
        marker.lock()?;
        let mut found = String::new();
        drop((&mut marker).take(64 * 1024).read_to_string(&mut found));
        let spool = Self { dir: dir.to_owned(), _lock: marker };
        Ok((found == owner && spool.is_ahead(name)).then_some(spool))
    }

    /// Notes which segment is asked for.
    pub(crate) fn set_position(&self, wanted: SegmentName) -> io::Result<()> {
        let path = self.dir.join(POSITION);
        let mut file = File::options().write(true).create(true).truncate(true).open(path)?;
        file.write_all(wanted.to_string().as_bytes())
    }

    fn is_ahead(&self, name: SegmentName) -> bool {
        let mut text = String::new();
        let read =
            File::open(self.dir.join(POSITION)).and_then(|file| file.take(64).read_to_string(&mut text));
        let position = read.ok().and_then(|_| text.parse::<SegmentName>().ok());
        position.is_some_and(|position| position.timeline() == name.timeline() && name > position)
    }

    /// Where `name` waits.
    pub(super) fn path(&self, name: SegmentName) -> PathBuf {
        self.dir.join(name.to_string())
    }

    /// Moves `name`, whose content is durable, to `target`, and returns its length; `None` when it is not here. A file of an impossible length,
    /// or whose header is not that of this segment (of this cluster, where that is known), is thrown away: another program, or
    /// another cluster that was restored to the same place, may have left it.
    pub(crate) fn take(
        &self,
        name: SegmentName,
        target: &Path,
        system_id: Option<SystemId>,
    ) -> Result<Option<u64>, DurableError> {
        let path = self.path(name);
        let Ok(metadata) = fs::symlink_metadata(&path) else { return Ok(None) };
        if !metadata.is_file()
            || check_length(&name.to_string(), metadata.len()).is_err()
            || !is_segment(&path, name, metadata.len(), system_id)
        {
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
            // The names need not survive a crash: PostgreSQL then removes what it was given, goes back to its last restartpoint and
            // asks again. Waiting for two directories would cost more than all the rest.
            durable::rename_unsynced(&RealDisk, &path, target, Clobber::Replace)?;
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

    /// How many of the up to `count` segments after `wanted` are here without a gap.
    pub(crate) fn waiting(&self, wanted: SegmentName, size: SegmentSize, count: u64) -> u64 {
        let mut last = wanted;
        let mut found = 0;
        while found < count
            && let Ok(Some(next)) = last.next(size)
            && self.path(next).exists()
        {
            last = next;
            found += 1;
        }
        found
    }

    /// Throws away everything but the up to `count` segments after `wanted` on its timeline. With an unknown size, everything of
    /// other timelines and everything up to `wanted`.
    pub(crate) fn keep_after(
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

fn is_segment(path: &Path, name: SegmentName, length: u64, system_id: Option<SystemId>) -> bool {
    let mut first = [0; LongPageHeader::LEN];
    File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok_and(|()| {
        LongPageHeader::parse(&first).is_ok_and(|h| h.validate_for(name, length, system_id).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != MARKER && name != POSITION);
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
    fn a_directory_of_others_is_not_used_and_one_they_could_write_to_is_emptied() {
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("a/spool");
        assert!(claim(&dir).unwrap() && claim(&dir).unwrap());
        assert_eq!(dir.metadata().unwrap().mode() & 0o7777, 0o700);
        let segment = "000000010000000000000002";
        for name in [segment, MARKER, ".ssh-0123", "notes"] {
            put(&dir, name, 1);
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(claim(&dir).unwrap() && dir.join(segment).exists());
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(claim(&dir).unwrap());
        assert_eq!(dir.metadata().unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&dir, Some(12_345), None).unwrap();
            assert!(!claim(&dir).unwrap());
            let link = above.path().join("link");
            std::os::unix::fs::symlink(&dir, &link).unwrap();
            assert!(!claim(&link).unwrap());
        }
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

    /// L-A34, L-A6: what comes late, when the reader is past it or has changed its timeline, does not come at all.
    #[test]
    fn l_a34_late_segments_stay_out() {
        let dir = tempfile::tempdir().unwrap();
        let name = |text: &str| text.parse::<SegmentName>().unwrap();
        let spool = Spool::open(dir.path(), "me").unwrap().unwrap();
        spool.set_position(name("000000010000000000000005")).unwrap();
        drop(spool);
        let joins = |owner: &str, text: &str| Spool::join(dir.path(), owner, name(text)).unwrap().is_some();
        assert!(joins("me", "000000010000000000000006"));
        assert!(!joins("me", "000000010000000000000005"));
        assert!(!joins("me", "000000020000000000000006"));
        assert!(!joins("you", "000000010000000000000006"));
    }

    #[test]
    fn short_files_are_thrown_away_instead_of_used() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), "me").unwrap().unwrap();
        let name: SegmentName = "000000010000000000000002".parse().unwrap();
        let target = dir.path().join("RECOVERYXLOG");
        for length in [0, 1000, (1 << 24) - 1] {
            put(dir.path(), &name.to_string(), length);
            assert_eq!(spool.take(name, &target, None).unwrap(), None);
            assert!(names(dir.path()).is_empty());
        }
        put(dir.path(), &name.to_string(), 1 << 20);
        assert_eq!(spool.take(name, &target, None).unwrap(), None, "no segment");
        let put_segment = || {
            put(dir.path(), &name.to_string(), 1 << 20);
            let mut page = Vec::new();
            page.extend(0xD110_u16.to_le_bytes());
            page.extend(2_u16.to_le_bytes());
            page.extend(1_u32.to_le_bytes());
            page.extend((2_u64 << 20).to_le_bytes());
            page.extend([0; 8]);
            page.extend(7_u64.to_le_bytes());
            page.extend((1_u32 << 20).to_le_bytes());
            page.extend(8192_u32.to_le_bytes());
            let mut file = File::options().write(true).open(spool.path(name)).unwrap();
            file.write_all(&page).unwrap();
        };
        put_segment();
        assert_eq!(spool.take(name, &target, Some(SystemId::new(8))).unwrap(), None, "of another cluster");
        assert!(names(dir.path()).is_empty());
        put_segment();
        assert_eq!(spool.take(name, &target, Some(SystemId::new(7))).unwrap(), Some(1 << 20));
        assert_eq!(names(dir.path()), ["RECOVERYXLOG"]);
    }
}
