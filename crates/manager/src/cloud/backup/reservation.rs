//! An id that one backup has for itself.
//!
//! Backups have the second of their begin as their id, and several hosts may begin one of a server at the same time. Barman's tools
//! write over each other then, and the outcome is one record and a mixture of archives. Here the record is made before the server is
//! asked for anything, on the condition that there is none, and carries a token until the backup has ended; nothing is written over a
//! record with another one.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use tapster_catalog::record::PyValue;
use tapster_catalog::{BackupId, BackupRecord, BackupStatus, CopyStats};
use tapster_cloud::{CloudError, PutMode, WriteOptions};

use super::{CloudBackupError, CloudBackupOptions};
use crate::Context;
use crate::cloud::CloudServer;

/// Where the token is: Barman reads a record with a key it does not know, other programs of its format need not. These figures have
/// no fixed keys, and are nobody's concern before the copy has ended.
const KEY: &str = "reservation";
/// A clock is looked at so often for the next second.
const PAUSE: Duration = Duration::from_millis(100);

/// What tells the records of one backup from those of others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reservation(String);

impl Reservation {
    fn new() -> Self {
        // Each has other keys, which are random.
        let half = || RandomState::new().hash_one(std::process::id());
        Self(format!("{:016x}{:016x}", half(), half()))
    }

    /// Makes the record one's own.
    fn mark(&self, record: &mut BackupRecord) {
        let mut stats = CopyStats::default();
        stats.set(KEY, PyValue::Str(self.0.clone()));
        record.copy_stats = Some(stats);
    }

    fn has(&self, record: &BackupRecord) -> bool {
        let token = record.copy_stats.as_ref().and_then(|stats| stats.get(KEY));
        matches!(token, Some(PyValue::Str(token)) if *token == self.0)
    }
}

impl CloudServer {
    /// Gives `record` an id that nobody has, the local time or the next free second, and stores it with the status STARTED. It says
    /// nothing yet about where the backup begins. Without a bucket it is an error before anything begins.
    ///
    /// A store that decides in one step lets one of two win. Others (see [`PutMode::Create`]) are asked afterwards whose record there
    /// is, here and before each further step.
    pub(super) fn reserve(
        &self,
        record: &mut BackupRecord,
        options: &CloudBackupOptions,
        context: &Context<'_>,
    ) -> Result<Reservation, CloudBackupError> {
        let reservation = Reservation::new();
        reservation.mark(record);
        record.status = BackupStatus::Started;
        let taken = self.store().list_dirs(&self.layout().base())?;
        let mut tried = None;
        loop {
            let id = BackupId::from_local(context.now());
            if tried != Some(id) && !taken.contains(&id.to_string()) {
                record.id = id;
                let is_new = match self.put_record(record, options, PutMode::Create) {
                    Ok(()) => true,
                    // It may be one's own nevertheless where the answer to the first try was lost.
                    Err(CloudError::Exists { .. }) => false,
                    Err(error) => return Err(error.into()),
                };
                if self.is_reserved(&id, &reservation)?.unwrap_or(is_new) {
                    return Ok(reservation);
                }
                tried = Some(id);
            }
            if context.stopped() {
                return Err(CloudBackupError::Stopped);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Stores a later state of the record.
    ///
    /// # Errors
    /// [`CloudBackupError::Lost`] when the one that is there is not this backup's, or there is none any more.
    pub(super) fn save(
        &self,
        record: &BackupRecord,
        reservation: &Reservation,
        options: &CloudBackupOptions,
    ) -> Result<(), CloudBackupError> {
        if self.is_reserved(&record.id, reservation)? == Some(false) {
            return Err(CloudBackupError::Lost { key: self.layout().record(&record.id) });
        }
        Ok(self.put_record(record, options, PutMode::Replace)?)
    }

    /// `None` for whom the store lets write and not read.
    fn is_reserved(&self, id: &BackupId, reservation: &Reservation) -> Result<Option<bool>, CloudError> {
        match self.record(id) {
            Ok(found) => Ok(Some(found.is_some_and(|found| reservation.has(&found)))),
            Err(CloudError::Invalid { .. }) => Ok(Some(false)),
            Err(CloudError::Denied { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn put_record(
        &self,
        record: &BackupRecord,
        options: &CloudBackupOptions,
        mode: PutMode,
    ) -> Result<(), CloudError> {
        let key = self.layout().record(&record.id);
        tracing::info!("Uploading '{key}'");
        let mut write = WriteOptions::default();
        write.mode = mode;
        write.tags.clone_from(&options.tags);
        self.store().put(&key, record.to_text().into_bytes(), &write)
    }
}
