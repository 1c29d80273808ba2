//! WAL in a destination that the archive does not have: perhaps the last transactions of a server that crashed.
//!
//! Whatever cannot be judged is kept. Only what certainly holds nothing of its own is left to be removed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_catalog::BackupRecord;
use tapster_catalog::wal_store::WalStore;
use walfile::{LongPageHeader, PageError, SegmentName, WalName};

use super::RestorePlanError;
use super::archived_wal::file_names;
use crate::Server;

/// Where in the data directory it goes.
pub(super) const SET_ASIDE: &str = "pg_wal/not-archived";

/// Bytes compared at a time.
const PIECE: usize = 64 * 1024;

impl Server {
    /// The segments, beginnings of segments and history files in the destination's `pg_wal` that the archive does not have,
    /// or has with another content.
    pub(super) fn not_archived(
        &self,
        record: &BackupRecord,
        destination: &Path,
        stop: &AtomicBool,
    ) -> Result<Vec<WalName>, RestorePlanError> {
        let dir = destination.join("pg_wal");
        // Behind a link it is not touched.
        if std::fs::symlink_metadata(&dir).map_or(true, |found| !found.is_dir()) {
            return Ok(Vec::new());
        }
        let store = self.wal_store().with_segment_size(record.segment_size());
        let mut found = Vec::new();
        for name in file_names(&dir)? {
            if stop.load(Ordering::Relaxed) {
                return Err(RestorePlanError::Stopped);
            }
            let Ok(wal) = name.parse::<WalName>() else { continue };
            let path = dir.join(&name);
            let is_needless = match wal {
                WalName::Segment(segment) => is_unused(&path, segment, stop),
                WalName::Partial(_) => is_zero(&path, stop).unwrap_or(false),
                WalName::History(_) => false,
                _ => true,
            };
            if !is_needless && !is_archived(&store, wal, &path, stop)? {
                found.push(wal);
            }
        }
        // Then nothing was compared to its end.
        if stop.load(Ordering::Relaxed) {
            return Err(RestorePlanError::Stopped);
        }
        found.sort();
        Ok(found)
    }
}

/// Whether a segment was only made ready for use: filled with zeros, or with the pages of the segment it was before, which hold
/// other positions than its name says (`XLogFileInit` and `InstallXLogFileSegment` in `xlog.c`).
fn is_unused(path: &Path, segment: SegmentName, stop: &AtomicBool) -> bool {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(8192).read_to_end(&mut bytes));
    match read.map(|_| LongPageHeader::parse(&bytes)) {
        Ok(Ok(header)) => is_of_another(&header, segment),
        Ok(Err(PageError::Zero)) => is_zero(path, stop).unwrap_or(false),
        _ => false,
    }
}

/// Whether a page is that of another segment than the name says, by the segment size of its own cluster, which need not be that
/// of the backup.
pub(super) fn is_of_another(header: &LongPageHeader, segment: SegmentName) -> bool {
    segment.start(header.segment_size).is_ok_and(|start| start != header.page.address)
}

/// Whether there is nothing but zeros in a file.
fn is_zero(path: &Path, stop: &AtomicBool) -> io::Result<bool> {
    let (mut file, mut piece) = (File::open(path)?, vec![0; PIECE]);
    while !stop.load(Ordering::Relaxed) {
        match file.read(&mut piece)? {
            0 => return Ok(true),
            length if piece.iter().take(length).any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
    Ok(false)
}

/// Whether the archive has what is in a file. What of the archive cannot be read is not there.
fn is_archived(
    store: &WalStore<'_>,
    name: WalName,
    path: &Path,
    stop: &AtomicBool,
) -> Result<bool, RestorePlanError> {
    if store.find(name, false)?.is_none() {
        return Ok(false);
    }
    Ok(store.open(name, false).is_ok_and(|mut archived| is_beginning(&mut archived, path, stop)))
}

/// Whether a file is the beginning of what the archive has under its name, or all of it: what a restore that broke off had
/// copied may be shorter.
fn is_beginning(archived: &mut impl Read, path: &Path, stop: &AtomicBool) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    let (mut ours, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
    while !stop.load(Ordering::Relaxed) {
        let length = match file.read(&mut ours) {
            Ok(0) => return true,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return false,
        };
        let piece = theirs.get_mut(..length).unwrap_or_default();
        if archived.read_exact(piece).is_err() || Some(&*piece) != ours.get(..length) {
            return false;
        }
    }
    false
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_ready_for_use_is_unused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("000000010000000000000003");
        let segment: SegmentName = "000000010000000000000003".parse().unwrap();
        let stop = AtomicBool::new(false);
        // Magic of release 15, XLP_LONG_HEADER, timeline 1, address, rem_len; system id, segment size, block size.
        let header = |magic: u16, address: u64, size: u32| {
            let mut bytes = Vec::new();
            bytes.extend(magic.to_le_bytes());
            bytes.extend(2_u16.to_le_bytes());
            bytes.extend(1_u32.to_le_bytes());
            bytes.extend(address.to_le_bytes());
            bytes.extend([0; 8]);
            bytes.extend(7_u64.to_le_bytes());
            bytes.extend(size.to_le_bytes());
            bytes.extend(8192_u32.to_le_bytes());
            bytes.resize(100_000, 0);
            bytes
        };
        let is_unused = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            is_unused(&path, segment, &stop)
        };
        let (m16, m64) = (16 << 20, 64 << 20);
        assert!(is_unused(&header(0xD110, u64::from(m16), m16)), "recycled");
        assert!(is_unused(&[0; 100_000]), "filled with zeros");
        assert!(!is_unused(&header(0xD110, 3 * u64::from(m16), m16)), "used");
        assert!(!is_unused(&header(0xD110, 3 * u64::from(m64), m64)), "of another size");
        assert!(!is_unused(&header(0xDEAD, u64::from(m16), m16)), "of an unknown release");
        assert!(!is_unused(b"short"));
        let mut torn = vec![0; 100_000];
        torn[90_000] = 1;
        assert!(!is_unused(&torn), "its first page never came to disk");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(!super::is_unused(&path, segment, &stop), "cannot be read");
    }

    #[test]
    fn a_file_that_goes_on_is_not_in_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000002.history");
        let stop = AtomicBool::new(false);
        let archived = vec![7; 2 * PIECE + 5];
        let check = |ours: &[u8]| {
            std::fs::write(&path, ours).unwrap();
            is_beginning(&mut archived.as_slice(), &path, &stop)
        };
        assert!(check(&archived) && check(&archived[..PIECE + 1]));
        let mut other = archived.clone();
        other.push(7);
        assert!(!check(&other));
        other.truncate(PIECE + 1);
        other[PIECE] = 8;
        assert!(!check(&other));
        stop.store(true, Ordering::Relaxed);
        assert!(!is_beginning(&mut archived.as_slice(), &path, &stop));
    }
}
