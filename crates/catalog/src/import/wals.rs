//! The WAL that came, compared with its index, with its names, and with the archive.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use time::OffsetDateTime;
use walfile::WalName;

use super::{Import, ImportError, ImportPlan};
use crate::ingest::{IngestOptions, check_file};
use crate::same_content;
use crate::undo::Undo;
use crate::xlogdb::{XlogDb, XlogEntry, entry_of};

/// What is to be done in the archive.
#[derive(Debug, Default)]
pub(super) struct WalPlan {
    /// Files to publish with their entries.
    pub(super) new: Vec<XlogEntry>,
    /// Files that are there and not listed.
    pub(super) to_list: Vec<XlogEntry>,
    /// Files that are there.
    pub(super) there: usize,
}

impl Import<'_> {
    /// The files that came by their names, each with the entry it gets. Nothing is touched.
    pub(super) fn check_wals(
        &self,
        plan: &ImportPlan,
        stop: &AtomicBool,
    ) -> Result<BTreeMap<WalName, XlogEntry>, ImportError> {
        let record = &plan.record;
        let (Some(begin), Some(end)) = (record.begin_wal, record.end_wal) else {
            return Err(ImportError::NoWalRange);
        };
        let mut wals = BTreeMap::new();
        for entry in &plan.wals {
            let path = self.staged_wal(entry.name);
            let Ok(metadata) = path.symlink_metadata() else {
                return Err(ImportError::NotStaged { name: entry.name });
            };
            if metadata.len() != entry.size {
                let (expected, found) = (entry.size, metadata.len());
                return Err(ImportError::Size { name: entry.name, expected, found });
            }
            wals.insert(entry.name, entry.clone());
        }
        for name in begin.through(end, record.segment_size())? {
            if !wals.contains_key(&name.into()) {
                return Err(ImportError::Missing { name: name.into() });
            }
        }
        for name in &plan.histories {
            let path = self.staged_wal(*name);
            let entry = entry_of(&path, *name, plan.custom.as_ref())
                .map_err(|source| ImportError::Read { path: path.clone(), source })?;
            let entry = entry.ok_or(ImportError::NotStaged { name: *name })?;
            wals.entry(*name).or_insert(entry);
        }
        self.validate(wals.values(), plan, stop)?;
        Ok(wals)
    }

    /// Whether each file is what its name says, as for WAL that is archived.
    fn validate<'e>(
        &self,
        wals: impl Iterator<Item = &'e XlogEntry>,
        plan: &ImportPlan,
        stop: &AtomicBool,
    ) -> Result<(), ImportError> {
        let wals: Vec<&XlogEntry> = wals.collect();
        let mut options = IngestOptions::new(OffsetDateTime::UNIX_EPOCH);
        options.segment_size = plan.record.xlog_segment_size;
        options.system_id = plan.record.systemid.as_deref().and_then(|id| id.parse().ok());
        options.custom.clone_from(&plan.custom);
        options.gpg.clone_from(&plan.gpg);
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<ImportError>> = Mutex::new(None);
        let work = || {
            while let Some(entry) = wals.get(next.fetch_add(1, Ordering::Relaxed)) {
                let checked = if stop.load(Ordering::Relaxed) {
                    Err(ImportError::Stopped)
                } else {
                    self.check(entry, &options)
                };
                if let Err(error) = checked {
                    next.store(wals.len(), Ordering::Relaxed);
                    if let Ok(mut failed) = failed.lock() {
                        failed.get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..plan.workers.clamp(1, wals.len().max(1)) {
                scope.spawn(work);
            }
            work();
        });
        failed.into_inner().ok().flatten().map_or(Ok(()), Err)
    }

    fn check(&self, entry: &XlogEntry, options: &IngestOptions) -> Result<(), ImportError> {
        // What is encrypted, or compressed with somebody else's own filter, cannot be looked into.
        let custom = entry.compression.as_deref() == Some("custom");
        if entry.encryption.is_some() || custom && options.custom.is_none() {
            return Ok(());
        }
        let path = self.staged_wal(entry.name);
        let compressed = entry.compression.is_some();
        match check_file(&path, entry.name, compressed, options) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(problem)) => Err(ImportError::Invalid { name: entry.name, problem }),
            Err(source) => Err(ImportError::Read { path, source }),
        }
    }

    /// What of it the archive lacks. The index is locked, so that this stays true until it is published.
    pub(super) fn compare(
        &self,
        wals: BTreeMap<WalName, XlogEntry>,
        index: &XlogDb<'_>,
        undo: Undo<'_>,
    ) -> Result<WalPlan, ImportError> {
        let listed = listed(index, &wals)?;
        let (mut plan, mut conflicts) = (WalPlan::default(), Vec::new());
        for (name, entry) in wals {
            let (ours, theirs) = (self.staged_wal(name), self.catalog.layout().wal(name));
            if theirs.symlink_metadata().is_err() {
                plan.new.push(entry);
                continue;
            }
            plan.there += 1;
            let read = |source| ImportError::Read { path: theirs.clone(), source };
            if !same(&ours, &theirs, undo).map_err(read)? {
                conflicts.push(name);
            } else if !listed.contains(&name) {
                plan.to_list.extend(entry_of(&theirs, name, undo.custom).map_err(read)?);
            }
        }
        if conflicts.is_empty() { Ok(plan) } else { Err(ImportError::Conflict { names: conflicts }) }
    }
}

fn listed(index: &XlogDb<'_>, wals: &BTreeMap<WalName, XlogEntry>) -> Result<HashSet<WalName>, ImportError> {
    let mut listed = HashSet::new();
    for entry in index.entries()? {
        let name = entry?.name;
        if wals.contains_key(&name) {
            listed.insert(name);
        }
    }
    Ok(listed)
}

/// The same bytes, or the same WAL compressed by somebody else: two hosts that receive from one server.
fn same(ours: &Path, theirs: &Path, undo: Undo<'_>) -> std::io::Result<bool> {
    if same_content::files(ours, theirs)? {
        return Ok(true);
    }
    match same_content::segments(ours, theirs, undo) {
        // What a codec cannot read is not the same.
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Ok(false),
        done => done,
    }
}
