//! `sync-wals`: the WAL of the primary node.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};

use tapster_catalog::ingest::IngestOptions;
use tapster_catalog::locks::LockError;
use tapster_catalog::wal_mirror::{WalMirror, WalMirrorError};
use tapster_catalog::{BackupRecord, BackupStatus, XlogEntry};
use tapster_copy::rsync::Rsync;
use walfile::WalName;

use super::SyncError;
use super::primary::PrimaryInfo;
use super::transfer::failed;
use crate::completeness::failed_for_wal;
use crate::event::Event;
use crate::{Context, Server, processors};

/// Files that are copied by one rsync and published together.
const BATCH_FILES: usize = 1024;
/// Bytes likewise: what a killed run has to copy again at most.
const BATCH_BYTES: u64 = 4 << 30;

/// What `sync-wals` did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SyncedWals {
    /// Files that went into the archive.
    pub archived: Vec<WalName>,
    /// Files that are listed there and were not there any more.
    pub absent: usize,
    /// Files that are not what they should be, and why; they were not taken.
    pub invalid: Vec<(WalName, String)>,
    /// Files of which the archive has others of the same name; they went to `errors/`.
    pub duplicates: Vec<WalName>,
    /// Nothing was copied, since no backup here could use it; this is what was said.
    pub skipped: Option<String>,
}

impl Server {
    /// Copies the WAL that the primary node has listed in [`Self::fetch_primary_info`]: Barman's `sync-wals`. What the archive has is
    /// not copied again, and nothing in it is ever replaced.
    ///
    /// # Errors
    /// When something cannot be copied. What was archived until then is listed; the position in `sync-wals.info` is the old one.
    pub fn sync_wals(&self, context: &Context<'_>) -> Result<SyncedWals, SyncError> {
        let server = || self.name().to_owned();
        if !self.config.is_passive() {
            return Err(SyncError::NotPassive { server: server() });
        }
        self.create_directories()?;
        let mut mirror = match WalMirror::begin(&self.catalog) {
            Err(WalMirrorError::Lock(LockError::Busy { .. })) => {
                return Err(SyncError::WalsBusy { server: server() });
            }
            other => other?,
        };
        let done = self.mirror_wals(&mut mirror, context).map_err(|error| match error {
            error @ (SyncError::Rsync(_) | SyncError::Mirror(_)) => {
                SyncError::Wals { server: server(), source: Box::new(error) }
            }
            other => other,
        })?;
        self.complete_copies()?;
        Ok(done)
    }

    /// Copies that waited for this WAL are `DONE`. Whoever works on one now, or `cron`, sees to it otherwise.
    fn complete_copies(&self) -> Result<(), SyncError> {
        let waits =
            |record: &BackupRecord| record.status == BackupStatus::WaitingForWals || failed_for_wal(record);
        for mut record in self.catalog.records()?.into_iter().filter(waits) {
            if self.wal_is_complete(&record).unwrap_or(false)
                && let Err(error) = self.check_backup(&mut record)
                && !error.is_busy()
            {
                tracing::warn!(server = self.name(), "backup {} is not completed: {error}", record.id);
            }
        }
        Ok(())
    }

    fn mirror_wals(
        &self,
        mirror: &mut WalMirror<'_>,
        context: &Context<'_>,
    ) -> Result<SyncedWals, SyncError> {
        let begun = context.now();
        // One file, read twice: a newer answer may take its name meanwhile.
        let path = self.primary_info_file();
        let unreadable = |source| self.bad_primary_info(source);
        let mut file = File::open(&path).map_err(unreadable)?;
        let local = self.catalog.local_offset();
        let last_wal = self.sync_position().last_wal;
        let mut is_full = last_wal.is_none();
        let info = PrimaryInfo::read(&file, local, &mut |entry| {
            is_full |= last_wal.as_ref().is_some_and(|last| entry.name.to_string() <= *last);
            Ok(())
        })
        .map_err(unreadable)?;
        self.same_compression(&info)?;
        let records = self.catalog.records()?;
        let mut done = SyncedWals::default();
        let Some(needed) = self.needed_wal(&records) else {
            done.skipped = Some(format!("No base backup for server {}", self.name()));
            return Ok(done);
        };
        let rsync = self.primary_rsync()?;
        let mut batch =
            Batch { server: self, mirror, rsync, info: &info, context, entries: Vec::new(), bytes: 0, done };
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut failure = None;
        let mut any = false;
        let read = PrimaryInfo::read(&file, local, &mut |entry| {
            if !needed.includes(entry.name) {
                return Ok(());
            }
            any |= matches!(entry.name, WalName::Segment(_));
            batch.add(entry).map_err(|error| {
                failure = Some(error);
                io::Error::other("stopped")
            })
        });
        if let Some(error) = failure {
            return Err(error);
        }
        read.map_err(unreadable)?;
        batch.flush()?;
        let mut done = batch.done;
        if let (false, Some(first)) = (any, info.first_segment) {
            // As Barman: an older backup may be on its way, and its WAL with it.
            done.skipped = Some(format!(
                "Skipping WAL synchronisation for server {}: no available local backup for {first}",
                self.name()
            ));
            return Ok(done);
        }
        self.save_sync_position(&info)?;
        if is_full {
            self.save_full_sync(&needed, begun, context.now())?;
        }
        Ok(done)
    }

    fn same_compression(&self, info: &PrimaryInfo) -> Result<(), SyncError> {
        let text = |compression: &Option<String>| compression.clone().unwrap_or_else(|| "None".to_owned());
        let (primary, local) = (text(&info.config.compression), text(&self.config.compression));
        if primary == local {
            return Ok(());
        }
        Err(SyncError::Compression { server: self.name().to_owned(), primary, local })
    }
}

/// Entries that are to be copied together.
struct Batch<'a, 'c> {
    server: &'a Server,
    mirror: &'a mut WalMirror<'c>,
    rsync: Rsync,
    info: &'a PrimaryInfo,
    context: &'a Context<'a>,
    entries: Vec<XlogEntry>,
    bytes: u64,
    done: SyncedWals,
}

impl Batch<'_, '_> {
    fn add(&mut self, entry: XlogEntry) -> Result<(), SyncError> {
        self.bytes = self.bytes.saturating_add(entry.size);
        self.entries.push(entry);
        if self.entries.len() < BATCH_FILES && self.bytes < BATCH_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), SyncError> {
        if self.context.stopped() {
            return Err(SyncError::Stopped);
        }
        self.bytes = 0;
        let entries = self.mirror.missing(std::mem::take(&mut self.entries), &self.context.stop)?;
        if entries.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = entries.iter().map(|entry| WalMirror::relative(entry.name)).collect();
        let limit = self.server.bandwidth_limit();
        let (source, stop) = (&self.info.config.wals_directory, &self.context.stop);
        if !self.rsync.fetch(source, &names, self.mirror.staging(), limit, stop).map_err(failed)? {
            let path = source.clone();
            return Err(tapster_copy::rsync::RsyncError::Missing { path }.into());
        }
        let mirrored = self.mirror.publish(&entries, &self.server.mirror_options(self.context), stop)?;
        for (wal, reason) in &mirrored.invalid {
            self.context.tell(Event::Warning(format!("{wal} was not taken from the primary node: {reason}")));
        }
        for wal in &mirrored.duplicates {
            self.context.tell(Event::Duplicate { wal: *wal, server: self.server.name().to_owned() });
        }
        if let Some(first) = mirrored.absent.first() {
            self.context.tell(Event::Warning(format!(
                "{} WAL files that the primary node lists are not there any more; the first is {first}",
                mirrored.absent.len()
            )));
        }
        self.done.absent += mirrored.absent.len();
        self.done.archived.extend(mirrored.archived);
        self.done.invalid.extend(mirrored.invalid);
        self.done.duplicates.extend(mirrored.duplicates);
        Ok(())
    }
}

impl Server {
    /// How files are compared with their names. Of which cluster they are, the primary node has judged: after an upgrade its archive
    /// has WAL of two.
    fn mirror_options(&self, context: &Context<'_>) -> IngestOptions {
        let mut options = IngestOptions::new(context.now());
        options.custom.clone_from(&self.custom);
        options.gpg = Some(self.gpg.clone().with_stop(std::sync::Arc::clone(&context.stop)));
        options.workers = processors();
        options
    }
}
