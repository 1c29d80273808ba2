//! A backup that is in an object store.

use tapster_catalog::BackupRecord;
use tapster_copy::extract::ControlFile;

use super::{RestoreError, RestoreOptions, RestorePlan, RestorePlanError};
use crate::cloud::restore::{
    ArchiveObject, CloudBackupChoice, CloudRestoreError, CloudRestoreOptions, CloudRestorePlan, CloudWal,
};
use crate::{Context, ObjectStoreError, Server};

impl Server {
    /// The archives of a backup in an object store, all of which must be there; none where backups are in a directory.
    pub(super) fn archives_in_bucket(
        &self,
        record: &BackupRecord,
        options: &RestoreOptions,
    ) -> Result<Vec<ArchiveObject>, RestorePlanError> {
        let Some(bucket) = self.backups_bucket()? else { return Ok(Vec::new()) };
        let unusable =
            |problem: &str| Err(RestorePlanError::Files { id: record.id, problem: problem.to_owned() });
        if record.parent_backup_id.is_some() {
            return unusable(
                "it is an incremental backup in an object store, which cannot be put together yet",
            );
        }
        if options.remote.is_some() {
            return unusable(
                "it is in an object store, and can be restored to the host of this program only",
            );
        }
        if options.delta.unwrap_or(self.config.recovery_options.delta_restore) {
            return unusable("it is in an object store, from which nothing is restored over what is there");
        }
        match bucket.archives(record) {
            Ok(archives) => Ok(archives),
            Err(CloudRestoreError::Store(error)) => Err(ObjectStoreError::from(error).into()),
            Err(error) => unusable(&error.to_string()),
        }
    }

    /// Everything but the control file, compared with the manifest where there is one, and on disk.
    pub(super) fn download_base(
        &self,
        plan: &RestorePlan,
        context: &Context<'_>,
    ) -> Result<ControlFile, RestoreError> {
        let Some(bucket) = self.backups_bucket()? else {
            let problem = "basebackups_directory is no address".to_owned();
            return Err(RestoreError::Archives { problem });
        };
        let choice = CloudBackupChoice::Id(plan.record.id);
        let mut options = CloudRestoreOptions::new(choice, &plan.destination);
        options.connections = plan.options.jobs.unwrap_or(0);
        let whole = CloudRestorePlan {
            record: plan.record.clone(),
            destination: plan.destination.clone(),
            tablespaces: plan.tablespaces.clone(),
            archives: plan.archives.clone(),
            stored: plan.archives.iter().map(|archive| archive.size).sum(),
            wal: CloudWal::default(),
            options,
        };
        match bucket.unpack_all(&whole, context) {
            Ok((_, control)) => Ok(control),
            Err(CloudRestoreError::Stopped { destination }) => Err(RestoreError::Stopped { destination }),
            Err(error) => Err(RestoreError::Download(Box::new(error))),
        }
    }
}
