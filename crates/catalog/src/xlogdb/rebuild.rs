//! The index anew, from what is in the archive.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use walfile::WalName;

use super::{XlogDb, XlogDbError, XlogEntry, python_mtime};
use crate::custom_filter::CustomFilter;
use crate::{ServerLayout, encryption};

/// What [`XlogDb::rebuild`] listed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RebuildReport {
    /// Timeline history files.
    pub history: u64,
    /// Backup labels.
    pub backup_labels: u64,
    /// Whole segments.
    pub wal_files: u64,
    /// Partial segments. Barman leaves them out, and so never deletes them again.
    pub partial: u64,
    /// Files that do not belong into an archive; not listed.
    pub unexpected: u64,
}

/// Sizes and codecs of encrypted files.
type Inside = HashMap<WalName, (u64, String)>;

impl XlogDb<'_> {
    /// Writes the index anew from the names, sizes, times and first bytes of the archived files, in the order of names.
    /// The time is that of the archived file, which is the original's. Files that `custom` wrote are listed as such.
    ///
    /// # Errors
    /// When the archive cannot be read or the index not written; the old one is then still there.
    pub fn rebuild(&mut self, custom: Option<&CustomFilter>) -> Result<RebuildReport, XlogDbError> {
        let inside = self.inside_of_encrypted();
        let mut report = RebuildReport::default();
        let mut output = self.rewrite()?;
        let root = self.layout.wals.clone();
        for name in sorted_names(&root)? {
            let path = root.join(&name);
            if path.is_dir() {
                if !name.to_str().is_some_and(ServerLayout::is_hash_dir) {
                    continue;
                }
                for file in sorted_names(&path)? {
                    self.list(&path.join(&file), &file, (custom, &inside), &mut report, &mut output)?;
                }
            } else if path != self.path && path != self.layout.old_xlogdb() && !is_hidden(&name) {
                self.list(&path, &name, (custom, &inside), &mut report, &mut output)?;
            }
        }
        self.finish(output)?;
        Ok(report)
    }

    /// How encrypted files are compressed inside, as the old index says: to look would take a passphrase and a process for each.
    fn inside_of_encrypted(&self) -> Inside {
        let Ok(entries) = self.entries() else { return Inside::new() };
        let encrypted = entries.flatten().filter(|entry| entry.encryption.is_some());
        encrypted.filter_map(|entry| Some((entry.name, (entry.size, entry.compression?)))).collect()
    }

    fn list(
        &self,
        path: &Path,
        name: &OsString,
        (custom, inside): (Option<&CustomFilter>, &Inside),
        report: &mut RebuildReport,
        output: &mut impl io::Write,
    ) -> Result<(), XlogDbError> {
        let Some(name) = name.to_str().and_then(|name| name.parse::<WalName>().ok()) else {
            if !is_hidden(name) {
                tracing::warn!(file = %path.display(), "unexpected file in the archive");
                report.unexpected += 1;
            }
            return Ok(());
        };
        let entry = entry_of(path, name, custom)
            .map_err(|source| XlogDbError::Read { path: path.to_owned(), source })?;
        let Some(mut entry) = entry else { return Ok(()) };
        if entry.encryption.is_some()
            && let Some((size, compression)) = inside.get(&name)
            && *size == entry.size
        {
            entry.compression = Some(compression.clone());
        }
        match name {
            WalName::Segment(_) => report.wal_files += 1,
            WalName::Partial(_) => report.partial += 1,
            WalName::BackupLabel { .. } => report.backup_labels += 1,
            WalName::History(_) => report.history += 1,
        }
        self.put(output, &entry)
    }
}

impl XlogEntry {
    /// The entry of an archived file, or of one that is to be, from the file itself; `None` when it is no regular file. What
    /// `custom` wrote is recognised.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_file(path: &Path, name: WalName, custom: Option<&CustomFilter>) -> io::Result<Option<Self>> {
        entry_of(path, name, custom)
    }
}

/// The index entry of an archived file, from the file itself; `None` when it is no regular file.
pub(crate) fn entry_of(
    path: &Path,
    name: WalName,
    custom: Option<&CustomFilter>,
) -> io::Result<Option<XlogEntry>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut first = Vec::with_capacity(16);
    file.by_ref().take(16).read_to_end(&mut first)?;
    let encryption = encryption::detect(&first).map(str::to_owned);
    let compression = match walfile::codec::detect(&first) {
        _ if encryption.is_some() => None,
        _ if custom.is_some_and(|custom| custom.wrote(&first)) => Some("custom".to_owned()),
        walfile::codec::Compression::None => None,
        codec => Some(codec.name().to_owned()),
    };
    let mtime = python_mtime(metadata.mtime(), metadata.mtime_nsec());
    Ok(Some(XlogEntry { name, size: metadata.len(), mtime, compression, encryption }))
}

fn is_hidden(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Names of one directory in order; missing is empty. A hash directory has few thousand at most.
fn sorted_names(dir: &Path) -> Result<Vec<OsString>, XlogDbError> {
    let fail = |source| XlogDbError::Read { path: dir.to_owned(), source };
    let mut names = Vec::new();
    match std::fs::read_dir(dir) {
        Ok(entries) => {
            for entry in entries {
                names.push(entry.map_err(fail)?.file_name());
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(fail(e)),
    }
    names.sort_unstable();
    Ok(names)
}
