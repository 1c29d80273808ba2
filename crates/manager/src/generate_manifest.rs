//! A manifest for a backup that has none (`generate-manifest`).

use std::path::PathBuf;

use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{BackupRecord, BackupStatus};
use tapster_copy::manifest::{self, GenerateError, GenerateOptions, GenerateReport};
use tapster_copy::{CopyObserver, Silent};
use thiserror::Error;

use crate::{Context, Server};

/// A manifest that was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerateManifestError {
    /// Its files are in an object store. The words are Barman's.
    #[error(
        "Cannot generate backup manifest for backup '{id}' of server '{server}' because a cloud backup storage is configured. \
         The manifest generation is only supported for local backup storage."
    )]
    InObjectStore {
        /// The backup.
        id: tapster_catalog::BackupId,
        /// The server.
        server: String,
    },
    /// The backup is stored in archives, whose files cannot be listed by a plain manifest.
    #[error("backup {} is stored in archives: its manifest can only come from the server", record.id)]
    Archives {
        /// Its record.
        record: Box<BackupRecord>,
    },
    /// The backup failed, or is still running.
    #[error("backup {} is {}, and only a complete one gets a manifest", record.id, record.status)]
    Incomplete {
        /// Its record.
        record: Box<BackupRecord>,
    },
    /// Somebody is working with the backup.
    #[error("backup {} is in use: {source}", record.id)]
    Busy {
        /// Its record.
        record: Box<BackupRecord>,
        /// By whom.
        source: LockError,
    },
    /// The manifest could not be made.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

impl Server {
    /// Reads every file of a backup, on all processors, and writes its `backup_manifest`, durably.
    ///
    /// # Errors
    /// When the backup has a manifest already, is incomplete or in use, or cannot be read.
    pub fn generate_manifest(
        &self,
        record: &BackupRecord,
        context: &Context<'_>,
    ) -> Result<GenerateReport, GenerateManifestError> {
        let boxed = || Box::new(record.clone());
        if self.has_backups_in_bucket() {
            let (id, server) = (record.id, self.name().to_owned());
            return Err(GenerateManifestError::InObjectStore { id, server });
        }
        if !record.status.is_copied() && record.status != BackupStatus::Syncing {
            return Err(GenerateManifestError::Incomplete { record: boxed() });
        }
        self.make_manifest(record, context)
    }

    /// As [`Server::generate_manifest`], of a backup whose files are complete, whatever its record says yet.
    pub(crate) fn make_manifest(
        &self,
        record: &BackupRecord,
        context: &Context<'_>,
    ) -> Result<GenerateReport, GenerateManifestError> {
        let boxed = || Box::new(record.clone());
        let data = self.layout().data_dir(&record.id);
        if archives(&data) {
            return Err(GenerateManifestError::Archives { record: boxed() });
        }
        // Alone, as other runs are not only readers.
        let _lock = match Lock::try_acquire(&self.layout().lock(&LockName::BackupId(record.id))) {
            Ok(lock) => lock,
            Err(source) => return Err(GenerateManifestError::Busy { record: boxed(), source }),
        };
        let mut options = GenerateOptions::default();
        options.threads = crate::processors();
        let observer: &dyn CopyObserver = &Silent;
        Ok(manifest::generate(&data, &options, observer, &context.stop)?)
    }
}

/// Whether the data directory of a backup holds `base.tar`, compressed or not, instead of files.
pub(crate) fn archives(data: &std::path::Path) -> bool {
    const NAMES: [&str; 5] = ["base.tar", "base.tar.gz", "base.tar.lz4", "base.tar.zst", "base.tar.bz2"];
    let there = |name: PathBuf| name.symlink_metadata().is_ok();
    NAMES.iter().any(|name| there(data.join(name)) || there(data.join(format!("{name}.gpg"))))
}
