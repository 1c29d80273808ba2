//! Index files on disk. All writers hold the lock of `xlog.db`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use super::format::{self, DirTime, IndexContents};
use super::summary::SegmentSummary;
use super::{HashDir, format::MAX_FILE};
use crate::ServerLayout;
use crate::durable::{self, Disk, DurableError, DurableFile, OpenMode, Step};

/// The bytes of an index file; `None` without one, or when it is longer than any can be.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let length = file.metadata()?.len();
    if length > MAX_FILE {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Adds segments that have just been archived, durably.
pub(crate) fn append(
    disk: &dyn Disk,
    layout: &ServerLayout,
    summaries: &[SegmentSummary],
) -> Result<(), DurableError> {
    let mut dirs: BTreeMap<HashDir, Vec<u8>> = BTreeMap::new();
    for summary in summaries {
        format::put_segment(dirs.entry(HashDir::of(summary.name)).or_default(), summary);
    }
    for (dir, frames) in dirs {
        append_frames(disk, layout, dir, &frames)?;
    }
    Ok(())
}

/// Adds frames to what is in order of an index; one that is not there, or no index, is begun anew.
pub(super) fn append_frames(
    disk: &dyn Disk,
    layout: &ServerLayout,
    dir: HashDir,
    frames: &[u8],
) -> Result<(), DurableError> {
    let path = dir.index_path(layout);
    let old = read(&path).map_err(|e| DurableError::io(Step::Read, &path, e))?;
    let Some((old, IndexContents { valid, .. })) =
        old.and_then(|old| IndexContents::parse(&old, dir).map(|contents| (old, contents)))
    else {
        return write(disk, layout, dir, &[], frames);
    };
    let mut file = DurableFile::open(disk, &path, OpenMode::Append, None)?;
    if valid < old.len() {
        file.set_len(valid as u64)?;
    }
    file.write_all(frames)?;
    file.sync_data()
}

/// Writes an index in place of whatever is there.
pub(super) fn write(
    disk: &dyn Disk,
    layout: &ServerLayout,
    dir: HashDir,
    summaries: &[SegmentSummary],
    frames: &[u8],
) -> Result<(), DurableError> {
    let home = layout.wal_index_dir();
    durable::create_dir_all(disk, &home, None)?;
    durable::remove_stale(disk, &home)?;
    let mut bytes = format::header(dir);
    summaries.iter().for_each(|summary| format::put_segment(&mut bytes, summary));
    bytes.extend(frames);
    durable::replace(disk, &dir.index_path(layout), &bytes)
}

pub(super) fn seal(time: DirTime) -> Vec<u8> {
    let mut frame = Vec::new();
    format::put_seal(&mut frame, time);
    frame
}

/// Removes the indexes of directories that are gone from the archive; a crash before leaves files that the next call finds.
pub(crate) fn remove_orphans(disk: &dyn Disk, layout: &ServerLayout) -> Result<(), DurableError> {
    let home = layout.wal_index_dir();
    let fail = |e| DurableError::io(Step::Read, &home, e);
    let entries = match std::fs::read_dir(&home) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(fail(e)),
    };
    let mut any = false;
    for entry in entries {
        let name = entry.map_err(fail)?.file_name();
        let dir = name.to_str().and_then(|name| name.strip_suffix(".idx")?.parse::<HashDir>().ok());
        if let Some(dir) = dir
            && !dir.path(layout).exists()
        {
            any |= durable::remove_file_unsynced(disk, &home.join(name))?;
        }
    }
    if any { durable::sync_dir(disk, &home) } else { Ok(()) }
}
