//! The line about object stores.

use std::time::Duration;

use super::CheckReport;
use crate::Server;
use crate::config::BackupMethod;

/// How long a store is waited for where a check may take any time.
const PATIENCE: Duration = Duration::from_secs(30);

impl Server {
    /// There only where backups or WAL are in one. The first thing that is wrong is told, in the order and words of Barman 3.19
    /// (`check_cloud_storage_configuration`). Other than there, a bucket that does not exist is wrong too.
    pub(super) fn check_object_stores(&self, report: &mut CheckReport, timeout: Duration) {
        if !self.has_backups_in_bucket() && !self.has_wals_in_bucket() {
            return;
        }
        let line = "cloud storage configuration";
        if let Some(problem) = self.object_store_problem() {
            return report.failed(line, problem);
        }
        let patience = if timeout.is_zero() { PATIENCE } else { (timeout / 3).min(PATIENCE) };
        match self.try_buckets(patience) {
            Ok(()) => report.ok(line),
            Err((hint, error)) => {
                tracing::error!(server = self.name(), "{error}");
                report.failed(line, format!("{hint}: {error}"));
            }
        }
    }

    /// What in the settings does not go together with an object store.
    pub(crate) fn object_store_problem(&self) -> Option<String> {
        let (backups, wals) = (self.has_backups_in_bucket(), self.has_wals_in_bucket());
        let config = &self.config;
        if backups && !matches!(config.backup_compression.as_deref(), None | Some("" | "none")) {
            return Some(
                "compression is not supported when the backup destination is a cloud storage".to_owned(),
            );
        }
        let in_memory = ["", "gzip", "pygzip", "bzip2", "pybzip2", "xz", "zstd", "lz4", "snappy"];
        if let Some(name) = config.compression.as_deref().filter(|name| wals && !in_memory.contains(name)) {
            return Some(format!(
                "cloud WAL storage only supports in-memory compression algorithms (gzip, bzip2, xz, zstd, lz4, snappy). \
                 '{name}' is not supported"
            ));
        }
        if backups && crate::encryption::is_on(config) {
            return Some(
                "encryption is not supported when the backup destination is a cloud storage".to_owned(),
            );
        }
        if backups && !matches!(config.backup_method, BackupMethod::LocalToCloud | BackupMethod::Postgres) {
            return Some(
                "cloud backup destination is only supported with 'backup_method = postgres' or 'backup_method = \
                 local-to-cloud'"
                    .to_owned(),
            );
        }
        config.worm_mode.then(|| {
            "WORM mode is not supported when the backup or WAL destination is a cloud storage".to_owned()
        })
    }
}
