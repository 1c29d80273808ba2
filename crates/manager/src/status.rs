//! A server's state in a few lines: PostgreSQL, WAL archiving, retention and backups.

use tapster_catalog::{BackupId, BackupStatus, BackupType, CatalogError};

use crate::live_status::LiveStatus;
use crate::{Context, Server};

/// What `status` shows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerStatus {
    /// `description`.
    pub description: Option<String>,
    /// Whether the server is active.
    pub active: bool,
    /// Whether its configuration is wrong.
    pub disabled: bool,
    /// The model in force.
    pub active_model: Option<String>,
    /// What PostgreSQL and the archiver tell; `None` for a server that is inactive or passive.
    pub live: Option<LiveStatus>,
    /// Whether it copies another catalog, and how that is reached.
    pub primary_ssh_command: Option<String>,
    /// The retention policy that is enforced, in its canonical form.
    pub retention_policy: Option<String>,
    /// Backups with the status DONE.
    pub backups: usize,
    /// The oldest backup that was copied completely.
    pub first_backup: Option<BackupId>,
    /// The newest one.
    pub last_backup: Option<BackupId>,
    /// Those of [`Self::backups`] that build on no other.
    pub redundancy: usize,
    /// How many of them there are to be.
    pub minimum_redundancy: u32,
    /// Records that cannot be read.
    pub unreadable: usize,
}

impl ServerStatus {
    /// Whether there are as many backups as there are to be.
    pub const fn is_redundant(&self) -> bool {
        self.redundancy >= self.minimum_redundancy as usize
    }
}

impl Server {
    /// The server's state. PostgreSQL being down is part of it, not an error.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn status(&self, context: &Context<'_>) -> Result<ServerStatus, CatalogError> {
        let config = &self.config;
        let found = self.catalog.backups()?;
        let going = self.catalog.deletions_in_progress()?;
        let unreadable = found.iter().filter(|(_, record)| record.is_err()).count();
        let records =
            found.into_iter().filter_map(|(id, record)| record.ok().filter(|_| !going.contains(&id)));
        let records: Vec<_> = records.filter(|record| record.status.is_copied()).collect();
        let done = || records.iter().filter(|record| record.status == BackupStatus::Done);
        Ok(ServerStatus {
            description: config.description.clone(),
            active: config.active,
            disabled: config.disabled,
            active_model: config.active_model.clone(),
            live: (config.active && !config.is_passive()).then(|| self.live_status(context)),
            primary_ssh_command: config.primary_ssh_command.clone(),
            retention_policy: config.retention_policy.as_ref().map(ToString::to_string),
            backups: done().count(),
            first_backup: records.first().map(|record| record.id),
            last_backup: records.last().map(|record| record.id),
            redundancy: done().filter(|record| record.backup_type() != BackupType::Incremental).count(),
            minimum_redundancy: config.minimum_redundancy,
            unreadable,
        })
    }
}
