//! What a backup into an object store can be told.

use walfile::codec::Compression;

use crate::BackupName;

/// Options of [`CloudServer::backup`](crate::cloud::CloudServer::backup).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudBackupOptions {
    /// A friendly name, stored in the record.
    pub name: Option<BackupName>,
    /// What the archives are compressed with, on this side. Barman's tools restore none, gzip, bzip2, snappy and lz4.
    pub compression: Compression,
    /// An archive that has become larger than this many bytes is continued in another object (`--max-archive-size`).
    pub max_archive_size: u64,
    /// Bytes of one part of an upload, at least (`--min-chunk-size`).
    pub min_chunk_size: Option<u64>,
    /// Bytes sent per second, at most (`--max-bandwidth`).
    pub max_bandwidth: Option<u64>,
    /// A fast checkpoint instead of a spread one.
    pub immediate_checkpoint: bool,
    /// Kept by the store beside each object.
    pub tags: Vec<(String, String)>,
}

impl CloudBackupOptions {
    /// Barman's: 100 GiB, which it calls `100GB`.
    pub const MAX_ARCHIVE_SIZE: u64 = 100 << 30;
}

impl Default for CloudBackupOptions {
    fn default() -> Self {
        Self {
            name: None,
            compression: Compression::None,
            max_archive_size: Self::MAX_ARCHIVE_SIZE,
            min_chunk_size: None,
            max_bandwidth: None,
            immediate_checkpoint: false,
            tags: Vec::new(),
        }
    }
}

/// What the names of archives end with, behind `.tar`.
pub(in crate::cloud) const ENDINGS: [(&str, Compression); 6] = [
    ("", Compression::None),
    (".gz", Compression::Gzip),
    (".bz2", Compression::Bzip2),
    (".snappy", Compression::Snappy),
    (".lz4", Compression::Lz4),
    (".zst", Compression::Zstd),
];
