//! What the index of the WAL archive is asked, and making it anew.

use tapster_catalog::{DurableError, RebuildReport, XlogDb, XlogDbError};
use thiserror::Error;
use walfile::{Timeline, WalName};

use crate::{Context, Server};

/// Why a new server must not archive here.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArchiveInUse {
    /// Anything at all is in the way.
    #[error("Expected empty archive")]
    NotEmpty,
    /// Files of the timeline the server will write, or of later ones.
    #[error(
        "Found {count} file{} in WAL archive equal to or newer than timeline {}",
        if *count == 1 { "" } else { "s" },
        timeline.get()
    )]
    Timeline {
        /// How many.
        count: u64,
        /// The earliest that counts.
        timeline: Timeline,
    },
    /// The directories of the catalog cannot be made.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] XlogDbError),
}

const fn timeline_of(name: WalName) -> Timeline {
    match name {
        WalName::Segment(segment) | WalName::Partial(segment) => segment.timeline(),
        WalName::BackupLabel { start, .. } => start.timeline(),
        WalName::History(timeline) => timeline,
    }
}

impl Server {
    /// Lists the archive anew in its index, as Barman's `rebuild-xlogdb` does, but with partial segments.
    ///
    /// # Errors
    /// When the archive cannot be read or the index not written.
    pub fn rebuild_xlogdb(&self, context: &Context<'_>) -> Result<RebuildReport, XlogDbError> {
        if self.has_wals_in_bucket() {
            return Err(XlogDbError::InObjectStore);
        }
        self.create_directories()?;
        XlogDb::lock(self.catalog.disk(), self.layout(), &context.stop)?.rebuild(self.custom.as_ref())
    }

    /// Whether a new server may archive here: the archive is empty or, for one that was promoted or restored to
    /// `timeline`, holds nothing of that timeline or later. Follows Barman's `check-wal-archive`.
    ///
    /// # Errors
    /// What is in the way.
    pub fn check_wal_archive(
        &self,
        timeline: Option<Timeline>,
        context: &Context<'_>,
    ) -> Result<(), ArchiveInUse> {
        self.create_directories()?;
        let index = XlogDb::lock(self.catalog.disk(), self.layout(), &context.stop)?;
        let mut count = 0;
        for entry in index.entries()? {
            let entry = entry?;
            match timeline {
                None => return Err(ArchiveInUse::NotEmpty),
                Some(timeline) if timeline_of(entry.name) >= timeline => count += 1,
                Some(_) => {}
            }
        }
        match timeline {
            Some(timeline) if count > 0 => Err(ArchiveInUse::Timeline { count, timeline }),
            _ => Ok(()),
        }
    }
}
