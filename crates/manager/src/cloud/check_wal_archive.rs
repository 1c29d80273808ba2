//! `barman-cloud-check-wal-archive`: whether a new cluster may archive to this place.

use tapster_cloud::CloudError;
use thiserror::Error;
use walfile::Timeline;

use super::wal_objects::StoredWal;
use super::{CloudServer, CloudWalError};

/// The place must not be used for a new cluster, or that is not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckWalArchiveError {
    /// There is WAL already.
    #[error("Expected empty archive")]
    NotEmpty,
    /// There is WAL of this timeline, or a later one.
    #[error("Found {count} file{} in WAL archive equal to or newer than timeline {timeline}", if *count > 1 { "s" } else { "" })]
    TimelineUsed {
        /// How many files.
        count: u64,
        /// The timeline that was asked for.
        timeline: Timeline,
    },
    /// There is no WAL, but the place is noted as another cluster's: nothing else could be archived there.
    #[error("{key} says that the archive belongs to system {system_id}")]
    Owned {
        /// The object that says so.
        key: String,
        /// The system identifier in it.
        system_id: u64,
    },
    /// See [`CloudWalError`].
    #[error(transparent)]
    Wal(#[from] CloudWalError),
    /// See [`CloudError`].
    #[error(transparent)]
    Store(#[from] CloudError),
}

impl CloudServer {
    /// Whether a cluster that is new, or begins the given timeline, may archive here: as Barman 3.19 judges it
    /// (`barman/xlog.py`, `check_archive_usable`). A bucket that is not there is made.
    ///
    /// # Errors
    /// When it must not, or the store cannot say.
    pub fn check_wal_archive(&self, timeline: Option<Timeline>) -> Result<(), CheckWalArchiveError> {
        if !self.store().bucket_exists()? {
            self.store().create_bucket()?;
        }
        let mut names = Vec::new();
        for object in self.store().list(&self.layout().wals()) {
            let Some(stored) = StoredWal::of(&object?.key) else { continue };
            match timeline {
                None => return Err(CheckWalArchiveError::NotEmpty),
                Some(timeline) if stored.name.timeline() >= timeline => names.push(stored.name),
                Some(_) => {}
            }
        }
        // A file that is there in two forms is one.
        names.sort_unstable();
        names.dedup();
        if let Some(timeline) = timeline {
            let count = names.len() as u64;
            return if count == 0 {
                Ok(())
            } else {
                Err(CheckWalArchiveError::TimelineUsed { count, timeline })
            };
        }
        let key = self.owner_key();
        match self.read_owner(&key)? {
            Some(system_id) => Err(CheckWalArchiveError::Owned { key, system_id: system_id.get() }),
            None => Ok(()),
        }
    }
}
