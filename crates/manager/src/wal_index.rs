//! Building the index of the archive's WAL by hand.

use std::num::NonZeroUsize;

use tapster_catalog::wal_index::{WalIndex, WalIndexError};
use thiserror::Error;

use crate::{Context, Server};

/// Options of [`Server::index_wal`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WalIndexOptions {
    /// Read every segment again, whatever the index says.
    pub rebuild: bool,
    /// How many segments are read at once; one per processor when `None`.
    pub jobs: Option<usize>,
}

/// What the index holds now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct WalIndexReport {
    /// Directories of the archive.
    pub directories: usize,
    /// Segments in them.
    pub segments: usize,
    /// Segments that were read for it.
    pub scanned: usize,
    /// Commits in all of them.
    pub commits: u64,
    /// What could not be done.
    pub warnings: Vec<String>,
}

/// An index that could not be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IndexWalError {
    /// The archive cannot be read.
    #[error(transparent)]
    Index(#[from] WalIndexError),
    /// The user asked to stop; what was read is kept.
    #[error("interrupted")]
    Stopped,
}

impl Server {
    /// Completes the index of the archive, or builds it anew. Archiving goes on meanwhile.
    ///
    /// # Errors
    /// When the archive cannot be read.
    pub fn index_wal(
        &self,
        options: &WalIndexOptions,
        context: &Context<'_>,
    ) -> Result<WalIndexReport, IndexWalError> {
        let jobs =
            options.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get));
        let index = WalIndex::new(self.catalog().disk(), self.layout(), context.now(), &context.stop)
            .with_custom_filter(self.custom.as_ref())
            .with_gpg(Some(&self.gpg))
            .with_workers(jobs);
        let mut report = WalIndexReport::default();
        for dir in index.directories()? {
            let found = match if options.rebuild { index.rebuild(dir) } else { index.load(dir) } {
                Err(WalIndexError::Stopped { .. }) => return Err(IndexWalError::Stopped),
                Err(WalIndexError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    continue;
                }
                found => found?,
            };
            report.directories += 1;
            report.segments += found.segments.len();
            report.scanned += found.scanned;
            report.commits += found.segments.iter().map(|s| u64::from(s.content.commits)).sum::<u64>();
            report.warnings.extend(found.unsaved.map(|why| format!("{dir}: {why}")));
        }
        if let Err(error) = index.remove_orphans() {
            report.warnings.push(error.to_string());
        }
        Ok(report)
    }
}
