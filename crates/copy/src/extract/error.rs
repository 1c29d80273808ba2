//! What can go wrong while a base backup is written.

use std::path::PathBuf;

use thiserror::Error;

use crate::manifest::ManifestError;
use crate::sync::SyncError;
use crate::tar::TarError;

/// A base backup that could not be written or is not what the server's manifest says.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The stream is not an acceptable archive.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// The manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] SyncError),
    /// A symbolic link that no base backup holds.
    #[error("symbolic link '{}' in the base backup is refused", path.display())]
    Link {
        /// Its name in the archive.
        path: PathBuf,
    },
    /// A member that would be written through a tablespace's link, into another archive's directory.
    #[error("member '{}' of the base archive lies inside a tablespace", path.display())]
    InsideTablespace {
        /// Its name in the archive.
        path: PathBuf,
    },
    /// The archive of a tablespace nobody announced.
    #[error("tablespace {oid} is not among those announced for this backup")]
    UnknownTablespace {
        /// Its object identifier.
        oid: u32,
    },
    /// A control file of a size that cannot be.
    #[error("'{}' has {size} bytes, at most {limit} are accepted", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// What is accepted.
        limit: u64,
    },
    /// A file arrived with another size than the manifest lists.
    #[error("'{path}' has {found} bytes, the backup manifest says {expected}")]
    Size {
        /// The file, relative to the data directory.
        path: String,
        /// Per the manifest.
        expected: u64,
        /// As received.
        found: u64,
    },
    /// A file arrived with other contents than the manifest lists.
    #[error("'{path}' has the checksum {found}, the backup manifest says {expected}")]
    Checksum {
        /// The file, relative to the data directory.
        path: String,
        /// Per the manifest.
        expected: String,
        /// As received.
        found: String,
    },
    /// The manifest lists a file with another kind of checksum than was asked for.
    #[error("'{path}' has a {found} checksum in the backup manifest, expected {expected}")]
    Algorithm {
        /// The file.
        path: String,
        /// As computed on the way.
        expected: &'static str,
        /// Per the manifest.
        found: &'static str,
    },
    /// The manifest lists a file that did not arrive.
    #[error("'{path}' is listed in the backup manifest but was not in the backup")]
    Missing {
        /// The file.
        path: String,
    },
    /// A file arrived that the manifest does not list.
    #[error("'{path}' was in the backup but is not listed in the backup manifest")]
    Extra {
        /// The file.
        path: String,
    },
    /// The manifest's order is too far from that of the archives.
    #[error("more than {limit} files of the backup manifest are out of order")]
    OutOfOrder {
        /// How many are remembered.
        limit: usize,
    },
    /// Data came while no archive was open, or after a failure.
    #[error("base backup data out of place: {what}")]
    Sequence {
        /// What came.
        what: &'static str,
    },
    /// A compressed archive is damaged, or of a kind that cannot be undone here.
    #[error("could not decompress data: {0}")]
    Decompress(#[source] std::io::Error),
    /// The backup ended without a control file: no server can start on it.
    #[error("the base backup ended without global/pg_control")]
    NoControlFile,
}
