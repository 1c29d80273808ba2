//! Everything that somebody who helps wants to know about a server.

use tapster_catalog::{BackupId, BackupRecord, CatalogError, RecordError, WalStoreError, XlogEntry};
use thiserror::Error;
use walfile::Timeline;

use crate::live_status::LiveStatus;
use crate::system_info::SystemInfo;
use crate::{Context, Server};

/// What is known of one server, besides its configuration.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerDiagnosis {
    /// What PostgreSQL and the archiver tell.
    pub live: LiveStatus,
    /// The host of PostgreSQL; `None` without `ssh_command`, and when it cannot be reached.
    pub system: Option<SystemInfo>,
    /// All backups, oldest first.
    pub backups: Vec<BackupRecord>,
    /// Records that cannot be read.
    pub unreadable: Vec<(BackupId, RecordError)>,
    /// The last archived segment of each timeline, described from the file itself.
    pub last_wal: Vec<(Timeline, XlogEntry)>,
}

/// A server whose catalog cannot be looked at.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiagnoseError {
    /// The backups.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The WAL archive.
    #[error(transparent)]
    Archive(#[from] WalStoreError),
}

impl Server {
    /// Looks at everything. A server or host that does not answer is no error.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn diagnose(&self, context: &Context<'_>) -> Result<ServerDiagnosis, DiagnoseError> {
        let (mut backups, mut unreadable) = (Vec::new(), Vec::new());
        for (id, record) in self.catalog.backups()? {
            match record {
                Ok(record) => backups.push(record),
                Err(error) => unreadable.push((id, error)),
            }
        }
        let store = self.wal_store();
        let mut last_wal = Vec::new();
        for (timeline, name) in store.newest_segments()? {
            // It may have been deleted just now.
            last_wal.extend(store.archived_entry(name.into())?.map(|entry| (timeline, entry)));
        }
        let ssh = self.config.ssh_command.as_deref().and_then(shlex::split);
        Ok(ServerDiagnosis {
            live: self.live_status(context),
            system: ssh.and_then(|words| SystemInfo::remote(&words, &context.stop)),
            backups,
            unreadable,
            last_wal,
        })
    }
}
