//! A backup of the catalog against its manifest, its chain and its WAL (`verify-backup`).

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{BackupId, BackupRecord, BackupStatus};
use tapster_copy::CopyObserver;
use tapster_copy::Decrypt;
use tapster_copy::manifest::{self, VerifyError, VerifyOptions, VerifyReport, WalRange};
use thiserror::Error;

use crate::chain::ChainError;
use crate::event::Progress;
use crate::generate_manifest::archives;
use crate::tools::verifybackup::MAX_PROBLEMS;
use crate::wal_range::{WalRangeFault, fault};
use crate::{Context, Server};

/// Options of [`Server::verify_backup`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackupVerifyOptions {
    /// Read the WAL that the backup needs to be consistent.
    pub wal: bool,
    /// Threads that read files; one for each processor without it.
    pub jobs: Option<usize>,
}

impl Default for BackupVerifyOptions {
    fn default() -> Self {
        Self { wal: true, jobs: None }
    }
}

/// What was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct BackupVerifyReport {
    /// The directory that was verified.
    pub data: PathBuf,
    /// The files; `None` when there is no manifest.
    pub files: Option<VerifyReport>,
    /// Tablespaces whose files the manifest does not list, by their names.
    pub uncovered: Vec<String>,
    /// Why the chain of an incremental backup cannot be put together.
    pub chain: Option<ChainError>,
    /// What an incremental backup builds on, the full one first.
    pub members: Vec<VerifiedMember>,
    /// What is wrong with the WAL.
    pub wal: Vec<WalRangeFault>,
    /// The WAL that is missing may still come: the backup waits for it.
    pub waits_for_wal: bool,
}

/// The files of a backup that the verified one builds on.
#[derive(Debug)]
#[non_exhaustive]
pub struct VerifiedMember {
    /// Which backup.
    pub id: BackupId,
    /// Its directory.
    pub data: PathBuf,
    /// The files; `None` when there is no manifest, without which nothing can build on it.
    pub files: Option<VerifyReport>,
}

impl VerifiedMember {
    /// Whether the backup can be built on.
    pub fn is_ok(&self) -> bool {
        self.files.as_ref().is_some_and(VerifyReport::is_ok)
    }
}

impl BackupVerifyReport {
    /// Whether the backup can be relied on. WAL that has not come yet is no fault.
    pub fn is_ok(&self) -> bool {
        self.files.as_ref().is_some_and(VerifyReport::is_ok)
            && self.chain.is_none()
            && self.members.iter().all(VerifiedMember::is_ok)
            && self.wal.iter().all(|fault| fault.missing && self.waits_for_wal)
    }
}

/// A backup that was not verified.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupVerifyError {
    /// Its files or its WAL are in an object store. The words are Barman's.
    #[error("Backup verification is not supported for servers using cloud storage")]
    InObjectStore,
    /// The backup failed, or is still running.
    #[error("backup {} is {}, and only a complete one can be verified", record.id, record.status)]
    Incomplete {
        /// Its record.
        record: Box<BackupRecord>,
    },
    /// Somebody is deleting the backup.
    #[error("backup {} is in use: {source}", record.id)]
    Busy {
        /// Its record.
        record: Box<BackupRecord>,
        /// By whom.
        source: LockError,
    },
    /// The manifest or a directory cannot be read.
    #[error("{}: {source}", data.display())]
    Verify {
        /// The directory of the backup.
        data: PathBuf,
        /// What is wrong.
        source: VerifyError,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Stopped,
}

/// Counts bytes and passes them on.
struct Bytes<'a, 'c> {
    context: &'a Context<'c>,
    done: AtomicU64,
    total: Option<u64>,
}

impl CopyObserver for Bytes<'_, '_> {
    fn bytes(&self, count: u64) {
        let done = self.done.fetch_add(count, Ordering::Relaxed).saturating_add(count);
        self.context.observer.progress(Progress { done, total: self.total });
    }
}

impl Server {
    /// Reads every file of a backup, plain or in archives, and compares it with the manifest, for an incremental one
    /// also those of the backups it builds on; and reads the WAL it needs record by record. Barman's `verify-backup` runs
    /// `pg_verifybackup -n`, which does the first, for plain backups.
    ///
    /// # Errors
    /// When the backup is incomplete or in use, or its manifest cannot be read. What is wrong with the backup is in the report.
    pub fn verify_backup(
        &self,
        record: &BackupRecord,
        options: &BackupVerifyOptions,
        context: &Context<'_>,
    ) -> Result<BackupVerifyReport, BackupVerifyError> {
        if self.has_backups_in_bucket() || self.has_wals_in_bucket() {
            return Err(BackupVerifyError::InObjectStore);
        }
        if !record.status.is_copied() {
            return Err(BackupVerifyError::Incomplete { record: Box::new(record.clone()) });
        }
        let mut uncovered = Vec::new();
        // Nobody deletes any of them meanwhile.
        let mut locks = vec![self.share(record)?];
        let (older, chain) = match self.chain(record) {
            Ok(mut older) => {
                older.retain(|member| member.id != record.id);
                (older, None)
            }
            Err(error) => (Vec::new(), Some(error)),
        };
        for member in &older {
            locks.push(self.share(member)?);
        }
        let VerifiedMember { data, files, .. } =
            self.verify_member(record, options, &mut uncovered, context)?;
        let mut members = Vec::new();
        for member in &older {
            members.push(self.verify_member(member, options, &mut uncovered, context)?);
        }
        let wal =
            if options.wal { self.verify_needed_wal(record, files.as_ref(), context) } else { Vec::new() };
        if context.stopped() {
            return Err(BackupVerifyError::Stopped);
        }
        let waits_for_wal = record.status == BackupStatus::WaitingForWals;
        Ok(BackupVerifyReport { data, files, uncovered, chain, members, wal, waits_for_wal })
    }

    fn share(&self, record: &BackupRecord) -> Result<Option<Lock>, BackupVerifyError> {
        match Lock::try_share(&self.layout().lock(&LockName::BackupId(record.id))) {
            Ok(lock) => Ok(Some(lock)),
            Err(source @ LockError::Busy { .. }) => {
                Err(BackupVerifyError::Busy { record: Box::new(record.clone()), source })
            }
            // A catalog one can only read can be verified.
            Err(_) => Ok(None),
        }
    }

    /// The files of one backup.
    fn verify_member(
        &self,
        record: &BackupRecord,
        options: &BackupVerifyOptions,
        uncovered: &mut Vec<String>,
        context: &Context<'_>,
    ) -> Result<VerifiedMember, BackupVerifyError> {
        let data = self.layout().data_dir(&record.id);
        let path = data.join(manifest::FILE_NAME);
        let files = if path.exists() {
            let verified = self.verify_files(record, &path, options, uncovered, context);
            let fail = |source| BackupVerifyError::Verify { data: data.clone(), source };
            Some(verified.map_err(fail)?)
        } else {
            None
        };
        Ok(VerifiedMember { id: record.id, data, files })
    }

    fn verify_files(
        &self,
        record: &BackupRecord,
        path: &std::path::Path,
        options: &BackupVerifyOptions,
        uncovered: &mut Vec<String>,
        context: &Context<'_>,
    ) -> Result<VerifyReport, VerifyError> {
        let data = self.layout().data_dir(&record.id);
        let mut verify = VerifyOptions::default();
        verify.threads = options.jobs.unwrap_or_else(crate::processors);
        verify.max_problems = MAX_PROBLEMS;
        let gpg = self.gpg.clone().with_stop(std::sync::Arc::clone(&context.stop));
        verify.decrypt = Some(Decrypt::by(move |file| Ok(Box::new(gpg.decrypt(file)?))));
        let observer = Bytes { context, done: AtomicU64::new(0), total: record.size };
        if archives(&data) {
            return manifest::verify_archives(path, &data, &verify, &observer, &context.stop);
        }
        for tablespace in &record.tablespaces {
            let directory = self.layout().tablespace_dir(&record.id, tablespace.oid);
            if data.join("pg_tblspc").join(tablespace.oid.to_string()).symlink_metadata().is_ok() {
                // The link may lead to where the catalog was before it was moved.
                if directory.is_dir() {
                    verify.tablespaces.insert(tablespace.oid, directory);
                }
            } else if directory.is_dir() {
                uncovered.push(tablespace.name.clone());
            }
        }
        manifest::verify(path, &data, &verify, &observer, &context.stop)
    }

    /// The WAL by the manifest, or where that does not say, by the record.
    fn verify_needed_wal(
        &self,
        record: &BackupRecord,
        files: Option<&VerifyReport>,
        context: &Context<'_>,
    ) -> Vec<WalRangeFault> {
        let mut ranges = files.map(|files| files.manifest.wal_ranges.clone()).unwrap_or_default();
        if ranges.is_empty()
            && let (Some(timeline), Some(start), Some(end)) =
                (record.timeline, record.begin_xlog, record.end_xlog)
        {
            ranges.push(WalRange::new(timeline, start, end));
        }
        let size = record.segment_size();
        let system = record.systemid.as_ref().and_then(|id| id.parse().ok());
        let store = self.wal_store().with_segment_size(size);
        ranges.iter().filter_map(|range| fault(store, range, Some(size), system, &context.stop)).collect()
    }
}
