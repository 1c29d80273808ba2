//! Everything about one server: its settings and what is known of it at this moment.

use std::collections::BTreeMap;

use tapster_catalog::CatalogError;
use time::Duration;

use crate::config::Resolved;
use crate::live_status::LiveStatus;
use crate::{Context, Server};

/// What `show-servers` shows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerDetails {
    /// The settings in force, by key.
    pub settings: BTreeMap<&'static str, Resolved>,
    /// The model in force.
    pub active_model: Option<String>,
    /// Whether it copies another catalog.
    pub passive: bool,
    /// The live status; empty for an inactive or passive server.
    pub live: LiveStatus,
    /// `last_backup_maximum_age` and how old the last backup is (`None`: there is none), where an age is configured.
    pub backup_age: Option<BackupAge>,
}

/// How old the last backup is, and may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BackupAge {
    /// How old it may be.
    pub limit: Duration,
    /// How long ago it ended; `None` when there is none.
    pub age: Option<Duration>,
}

impl BackupAge {
    /// Whether there is one that is not too old.
    pub fn is_kept(&self) -> bool {
        self.age.is_some_and(|age| age <= self.limit)
    }
}

impl Server {
    /// The settings of this server and its live status.
    ///
    /// # Errors
    /// When the catalog has to be read for the age of the last backup and cannot.
    pub fn show(&self, context: &Context<'_>) -> Result<ServerDetails, CatalogError> {
        let backup_age = match self.config.last_backup_maximum_age {
            None => None,
            Some(limit) => {
                let found = self.catalog.backups()?.into_iter().filter_map(|(_, record)| record.ok());
                let last = found.filter(|record| record.status.is_copied()).last();
                let age = last.and_then(|record| record.end_time).map(|end| context.now() - end);
                Some(BackupAge { limit, age })
            }
        };
        Ok(ServerDetails {
            settings: self.config.in_force(),
            active_model: self.config.active_model.clone(),
            passive: self.config.is_passive(),
            live: self.live_status(context),
            backup_age,
        })
    }
}
