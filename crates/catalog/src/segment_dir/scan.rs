//! What is in the directory, and where receiving goes on (PostgreSQL's `FindStreamingStart`, `pg_receivewal.c`).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use walfile::{Lsn, SegmentName, SegmentSize, Timeline};

use super::{SegmentDirError, SegmentDirOptions, current};
use crate::durable::{self, Disk, Step};

/// Where to go on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Resume {
    /// The timeline and the position to request from the server, the start of a segment; `None` when the directory
    /// holds no WAL. Everything before the position is durable here.
    pub from: Option<(Timeline, Lsn)>,
    /// The `.partial` that will be written again from its start. What it holds stays readable meanwhile: the
    /// same bytes come again.
    pub partial: Option<PathBuf>,
    /// Files with a segment's name that are no whole segment, with their (decompressed) length where known. They are
    /// left alone and not counted, as `pg_receivewal` does.
    pub skipped: Vec<(PathBuf, Option<u64>)>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Form {
    Plain,
    Gzip,
    Lz4,
}

/// A file of the directory. The order is `FindStreamingStart`'s: highest segment, then timeline, then whole
/// before partial. It is not the order of names.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Candidate {
    number: u64,
    timeline: Timeline,
    whole: bool,
    form: Form,
    path: PathBuf,
}

fn candidate(path: &Path, size: SegmentSize) -> Option<Candidate> {
    let file_name = path.file_name()?.to_str()?;
    let (rest, whole) = match file_name.strip_suffix(".partial") {
        Some(rest) => (rest, false),
        None => (file_name, true),
    };
    let (stem, form) = match (rest.strip_suffix(".gz"), rest.strip_suffix(".lz4")) {
        (Some(stem), _) => (stem, Form::Gzip),
        (None, Some(stem)) => (stem, Form::Lz4),
        (None, None) => (rest, Form::Plain),
    };
    let name: SegmentName = stem.parse().ok()?;
    let number = name.number(size).ok()?.get();
    Some(Candidate { number, timeline: name.timeline(), whole, form, path: path.to_owned() })
}

/// Lists the directory, removes what a crash left over, makes what counts durable.
pub(super) fn scan(
    disk: &dyn Disk,
    dir: &Path,
    options: &SegmentDirOptions,
) -> Result<Resume, SegmentDirError> {
    let (size, sync) = (options.segment_size, options.sync);
    let fail = |e| SegmentDirError::io(Step::Read, dir, e);
    // Of history files and compressed segments.
    durable::remove_stale(disk, dir)?;
    let mut candidates = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if current::is_waiting_name(&path) {
            // Never acknowledged: a flush would have given it its name.
            durable::remove_file_unsynced(disk, &path)?;
        } else if let Some(found) = candidate(&path, size) {
            candidates.push(found);
        }
    }
    candidates.sort_unstable();
    if options.newest_timeline {
        candidates.sort_by_key(|candidate| candidate.timeline);
    }
    let mut resume = Resume::default();
    while let Some(best) = candidates.pop() {
        if !best.whole {
            if resume.from.is_none() {
                resume.from = Some((best.timeline, Lsn::new(best.number.saturating_mul(size.bytes()))));
                resume.partial = Some(best.path);
            }
            // A whole segment before it is looked for only to sync it.
            continue;
        }
        let length = segment_length(&best.path, best.form)
            .map_err(|e| SegmentDirError::io(Step::Read, &best.path, e))?;
        if length != Some(size.bytes()) {
            resume.skipped.push((best.path, length));
            continue;
        }
        if sync {
            disk.sync_file(&best.path).map_err(|e| SegmentDirError::io(Step::Sync, &best.path, e))?;
        }
        if resume.from.is_none() {
            let next = best.number.saturating_add(1).saturating_mul(size.bytes());
            resume.from = Some((best.timeline, Lsn::new(next)));
        }
        break;
    }
    if sync {
        // A killed writer may have renamed a file without getting to the sync; what we saw must stay.
        if let Some(partial) = &resume.partial {
            disk.sync_file(partial).map_err(|e| SegmentDirError::io(Step::Sync, partial, e))?;
        }
        durable::sync_dir(disk, dir)?;
    }
    Ok(resume)
}

/// Bytes of the segment in the file, whatever its form; `None` when it cannot be decoded or is not a file.
fn segment_length(path: &Path, form: Form) -> io::Result<Option<u64>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Ok(None);
    }
    match form {
        Form::Plain => Ok(Some(metadata.len())),
        Form::Gzip | Form::Lz4 => Ok(decoded_length(File::open(path)?, form)),
    }
}

/// `pg_receivewal` trusts the length in the last four bytes of a gzip file. Decoding costs a moment once per start
/// and also finds a file whose middle is damaged.
fn decoded_length(file: File, form: Form) -> Option<u64> {
    use walfile::codec::{Compression, decoder};
    let compression = if form == Form::Gzip { Compression::Gzip } else { Compression::Lz4 };
    let decoded = decoder(io::BufReader::new(file), compression).ok()?;
    io::copy(&mut decoded.take(SegmentSize::MAX.bytes() + 1), &mut io::sink()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_before_timeline_before_completeness() {
        let mut names = [
            "000000010000000000000006.partial",
            "000000030000000000000005",
            "000000020000000000000006.gz.partial",
            "000000020000000000000006.gz",
            "000000010000000000000007.partial",
        ]
        .map(|name| candidate(Path::new(name), SegmentSize::DEFAULT).unwrap());
        names.sort_unstable();
        let order: Vec<_> = names.iter().map(|c| c.path.to_str().unwrap()).collect();
        assert_eq!(
            order,
            [
                "000000030000000000000005",
                "000000010000000000000006.partial",
                "000000020000000000000006.gz.partial",
                "000000020000000000000006.gz",
                "000000010000000000000007.partial",
            ]
        );
        for other in ["00000002.history", "000000010000000000000007.tmp", "000000010000000000000100"] {
            assert!(candidate(Path::new(other), SegmentSize::DEFAULT).is_none(), "{other}");
        }
    }
}
