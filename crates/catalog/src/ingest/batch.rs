//! Which files of a source directory are ingested in this run (Barman's `get_next_batch`).

use std::ffi::OsString;
use std::fs::FileType;
use std::path::{Path, PathBuf};

use walfile::WalName;

use super::{IngestError, Source};

/// What waits in one source.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// To be archived, in the order of names; extra partials last.
    pub(super) files: Vec<WalName>,
    /// Not WAL: to be moved away.
    pub(super) unknown: Vec<PathBuf>,
    /// Objects found.
    pub(super) found: usize,
}

/// Lists `dir`. Passed over are hidden names, those ending in `.tmp`, which are being written, and the `lost+found` of a file
/// system of its own.
pub(super) fn next(source: Source, dir: &Path) -> Result<Batch, IngestError> {
    let mut entries = visible_entries(dir)?;
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut batch = Batch { found: entries.len(), ..Batch::default() };
    let mut partials = Vec::new();
    for (name, kind) in entries {
        if name.as_encoded_bytes().ends_with(b".tmp") {
            continue;
        }
        let Some(may_be_file) = may_be_file(&dir.join(&name), kind) else { continue };
        let wal = name.to_str().and_then(|name| name.parse::<WalName>().ok());
        match wal.filter(|_| may_be_file) {
            Some(partial @ WalName::Partial(_)) if source == Source::Streaming => partials.push(partial),
            Some(wal) => batch.files.push(wal),
            None => batch.unknown.push(dir.join(name)),
        }
    }
    if source == Source::Streaming {
        hold_back(&mut batch, partials);
    }
    Ok(batch)
}

/// Follows a symbolic link, as Barman does; one that leads nowhere is no file. `None` when it is gone: the receiver renamed it,
/// or another archiver took it.
fn may_be_file(path: &Path, kind: FileType) -> Option<bool> {
    if !kind.is_symlink() {
        return Some(kind.is_file());
    }
    match std::fs::metadata(path) {
        Ok(metadata) => Some(metadata.is_file()),
        Err(_) => path.symlink_metadata().is_ok().then_some(false),
    }
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

fn visible_entries(dir: &Path) -> Result<Vec<(OsString, FileType)>, IngestError> {
    let fail = |source| IngestError::Read { path: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
    };
    let mut visible = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || name == "lost+found" {
            continue;
        }
        match entry.file_type() {
            Ok(kind) => visible.push((name, kind)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(fail(e)),
        }
    }
    Ok(visible)
}
