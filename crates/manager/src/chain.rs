//! Chains of incremental backups: from the full one at the root to the one at hand.

use tapster_catalog::{BackupId, BackupRecord, CatalogError};
use thiserror::Error;
use walfile::{BackupLabel, Lsn, Timeline};

use crate::Server;

/// No chain of any sense is longer, and a damaged record must not send us in circles.
const MAX_CHAIN: usize = 10_000;

/// A chain that cannot be put together.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChainError {
    /// A record cannot be read.
    #[error("backup {child} builds on {parent}, whose record cannot be read: {source}")]
    Parent {
        /// The incremental backup.
        child: BackupId,
        /// What it builds on.
        parent: BackupId,
        /// Why.
        #[source]
        source: CatalogError,
    },
    /// A backup of the chain failed, or is not complete.
    #[error("backup {child} builds on {parent}, which is {status}")]
    Incomplete {
        /// The incremental backup.
        child: BackupId,
        /// What it builds on.
        parent: BackupId,
        /// How far that has come.
        status: tapster_catalog::BackupStatus,
    },
    /// The backups are of several clusters.
    #[error("backup {child} is of the cluster {found}, but builds on {parent} of the cluster {expected}")]
    System {
        /// The incremental backup.
        child: BackupId,
        /// What it builds on.
        parent: BackupId,
        /// System identifier of the parent.
        expected: String,
        /// System identifier of the child.
        found: String,
    },
    /// The label says that another backup is the parent.
    #[error(
        "backup {child} was taken on top of one that begins at {found} on timeline {found_timeline}, \
         but {parent} begins at {expected} on timeline {timeline}"
    )]
    Position {
        /// The incremental backup.
        child: BackupId,
        /// What it should build on.
        parent: BackupId,
        /// Where the parent begins.
        expected: Lsn,
        /// On which timeline.
        timeline: Timeline,
        /// Where the child's label says that it does.
        found: Lsn,
        /// On which timeline.
        found_timeline: Timeline,
    },
    /// The backup's label does not say what it builds on.
    #[error("the label of incremental backup {child} does not say what it builds on")]
    NoParentInLabel {
        /// The incremental backup.
        child: BackupId,
    },
    /// The records lead in a circle.
    #[error("the chain of backup {child} has no end")]
    Endless {
        /// Where it was begun.
        child: BackupId,
    },
}

impl Server {
    /// The backups an incremental one builds on and itself, the full one first; a full one alone is its own chain.
    ///
    /// # Errors
    /// When a member is missing or incomplete, or the labels do not fit together.
    pub fn chain(&self, record: &BackupRecord) -> Result<Vec<BackupRecord>, ChainError> {
        let mut chain = vec![record.clone()];
        while let Some((child, parent)) = chain.last().and_then(|last| Some((last, last.parent_backup_id?))) {
            if chain.len() >= MAX_CHAIN {
                return Err(ChainError::Endless { child: record.id });
            }
            let found = self.catalog.load(&parent);
            let found = found.map_err(|source| ChainError::Parent { child: child.id, parent, source })?;
            fits(&found, child)?;
            chain.push(found);
        }
        chain.reverse();
        Ok(chain)
    }
}

/// Whether `child` was taken on top of `parent`.
fn fits(parent: &BackupRecord, child: &BackupRecord) -> Result<(), ChainError> {
    let (child_id, parent_id) = (child.id, parent.id);
    if !parent.status.is_copied() {
        let status = parent.status;
        return Err(ChainError::Incomplete { child: child_id, parent: parent_id, status });
    }
    if let (Some(expected), Some(found)) = (&parent.systemid, &child.systemid)
        && expected != found
    {
        let (expected, found) = (expected.clone(), found.clone());
        return Err(ChainError::System { child: child_id, parent: parent_id, expected, found });
    }
    let label = child.backup_label.as_ref().and_then(|text| BackupLabel::parse(text.as_bytes()).ok());
    let Some((found, found_timeline)) = label.and_then(|label| label.incremental_from) else {
        return Err(ChainError::NoParentInLabel { child: child_id });
    };
    match (parent.begin_xlog, parent.timeline) {
        (Some(expected), Some(timeline)) if (expected, timeline) != (found, found_timeline) => {
            let parent = parent_id;
            Err(ChainError::Position { child: child_id, parent, expected, timeline, found, found_timeline })
        }
        _ => Ok(()),
    }
}
