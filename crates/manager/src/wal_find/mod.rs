//! Finding a moment in the WAL by what happened: a commit around a time, a transaction, a restore point, the commit that removed
//! a relation's file; and how to restore to just before it.
//!
//! The index of the archive ([`tapster_catalog::wal_index`]) says which segments may hold it; only these are read. What is not
//! archived yet (`incoming/`, `streaming/`, the unfinished segment of the receiver too) is always read.
//!
//! WAL knows no names: a relation stands in it as the path of its file. A name of a table that is gone cannot be looked up in
//! the server either; what helps is `pg_relation_filepath()` asked before, in a restored cluster or in an old report.

mod options;
mod read;
mod report;
mod search;
mod source;

use tapster_catalog::wal_index::WalIndexError;
use tapster_catalog::{CatalogError, WalStoreError};
use thiserror::Error;

pub use options::{ParseRelationError, RelationFile, WalFindOptions, WalTarget};
pub use report::{FoundPoint, FoundWhat, Removal, RestoreAdvice, WalFindReport};

use crate::{Context, Server};

/// A search that could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WalFindError {
    /// The archive cannot be read.
    #[error(transparent)]
    Index(#[from] WalIndexError),
    /// A directory cannot be listed, or a history file cannot be read.
    #[error(transparent)]
    Store(#[from] WalStoreError),
    /// The backups cannot be listed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The user asked to stop.
    #[error("interrupted")]
    Stopped,
}

impl Server {
    /// Searches all WAL of the server. Takes no lock but, for a moment, that of the index, when something in it was missing.
    ///
    /// # Errors
    /// When the archive cannot be listed or read. A segment that is damaged is searched as far as it can be, with a warning.
    pub fn find_wal(
        &self,
        options: &WalFindOptions,
        context: &Context<'_>,
    ) -> Result<WalFindReport, WalFindError> {
        let mut report = search::Search::new(self, options, context)?.run()?;
        report::advise(self, &mut report)?;
        Ok(report)
    }
}
