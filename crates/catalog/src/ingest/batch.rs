//! Which files of a source directory are ingested in this run (Barman's `get_next_batch`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use walfile::WalName;

use super::{IngestError, Source};

/// What one run takes from one source.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// To be archived, in the order of names; extra partials last.
    pub(super) files: Vec<WalName>,
    /// Not WAL: to be moved away.
    pub(super) unknown: Vec<PathBuf>,
    /// Objects found, before the batch size cut them.
    pub(super) found: usize,
}

/// Lists `dir`. Hidden names are passed over; names ending in `.tmp` are being written, but count against `batch_size`
/// (zero: unlimited) as they do in Barman.
pub(super) fn next(source: Source, dir: &Path, batch_size: usize) -> Result<Batch, IngestError> {
    let mut names = visible_names(dir)?;
    names.sort_unstable();
    let found = names.len();
    if batch_size > 0 {
        names.truncate(batch_size);
    }
    let mut batch = Batch { found, ..Batch::default() };
    let mut partials = Vec::new();
    for name in names {
        let path = dir.join(&name);
        if name.as_encoded_bytes().ends_with(b".tmp") {
            continue;
        }
        // Following a symbolic link, as Barman does.
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => Some(metadata),
            // The receiver renamed or another archiver took it; a dangling link stays an unknown object.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                if path.symlink_metadata().is_ok() {
                    batch.unknown.push(path);
                }
                continue;
            }
            Err(_) => None,
        };
        let may_be_file = match metadata {
            Some(metadata) => metadata.is_file(),
            // Not to be looked at is no reason to call a file unknown, except for a link in circles.
            None => !path.is_symlink(),
        };
        let wal = name.to_str().and_then(|name| name.parse::<WalName>().ok());
        match wal.filter(|_| may_be_file) {
            Some(partial @ WalName::Partial(_)) if source == Source::Streaming => partials.push(partial),
            Some(wal) => batch.files.push(wal),
            None => batch.unknown.push(path),
        }
    }
    if source == Source::Streaming {
        hold_back(&mut batch, partials);
    }
    Ok(batch)
}

/// Leaves the receiver what it needs to find its position: the last partial, or else the last whole segment. Older
/// partials are tails of timelines that were left.
fn hold_back(batch: &mut Batch, mut partials: Vec<WalName>) {
    if partials.pop().is_some() {
        batch.files.append(&mut partials);
        return;
    }
    // Barman holds back the last file of any kind, so a history file that is last would leave no segment.
    let last = batch.files.iter().rposition(|name| matches!(name, WalName::Segment(_)));
    if let Some(last) = last {
        batch.files.remove(last);
    }
}

fn visible_names(dir: &Path) -> Result<Vec<OsString>, IngestError> {
    let fail = |source| IngestError::Read { path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(fail)?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    Ok(names)
}
