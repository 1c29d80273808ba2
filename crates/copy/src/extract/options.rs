//! What an extraction can be told, and what it tells.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::reuse::Earlier;
use crate::ChecksumAlgorithm;
use crate::manifest::ManifestSummary;
use crate::pages::{PageReport, PageRules};
use crate::sync::SyncMethod;

/// Where the archive of a tablespace goes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TablespaceTarget {
    /// Into this directory (made if missing), with a link to it in `pg_tblspc`. Should be absolute.
    Directory(PathBuf),
    /// Into `pg_tblspc/<oid>` itself, for a server with `allow_in_place_tablespaces`.
    InPlace,
}

/// How a base backup is written.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExtractOptions {
    /// How it is brought to disk.
    pub sync: SyncMethod,
    /// The checksum the server was asked to put into the manifest, taken of every file on the way. `None`
    /// when there will be no manifest: then nothing is compared.
    pub checksum: Option<ChecksumAlgorithm>,
    /// The tablespaces of the backup, by object identifier.
    pub tablespaces: BTreeMap<u32, TablespaceTarget>,
    /// Make `pg_wal` a link to this directory (`pg_basebackup --waldir`).
    pub wal_directory: Option<PathBuf>,
    /// Members of the base archive left out, by exact name or, for a whole directory, with a final slash;
    /// they are still compared with the manifest.
    pub skip: Vec<String>,
    /// Make files that are the same in this earlier backup hard links to it. They are compared as they come.
    pub earlier: Option<Earlier>,
    /// Check the pages of relations: those of a cluster with checksums.
    pub pages: Option<PageRules>,
    /// Write over the files that are there, only what differs. What the archives do not hold stays:
    /// [`Prune`](crate::delta::Prune) removes it.
    pub over: bool,
    /// The data directory's archive may hold the manifest, which then is what everything is compared with, if its checksums are
    /// those of [`checksum`](Self::checksum); without it nothing is compared.
    pub manifest_inside: bool,
    /// Make the symbolic links to files that the data directory's archive holds, instead of refusing it: a copy of the files of a
    /// cluster, which no server sends, has them. They are made at the end, and nothing is written through them.
    pub keep_links: bool,
}

/// What was written.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExtractReport {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files of these that are shared with the earlier backup.
    pub reused: u64,
    /// Their bytes.
    pub reused_bytes: u64,
    /// Files of these that were there already, and right ([`ExtractOptions::over`]).
    pub kept: u64,
    /// Their bytes.
    pub kept_bytes: u64,
    /// What the manifest said, when there was one; every file agreed with it.
    pub manifest: Option<ManifestSummary>,
    /// What the pages were like, when they were looked at ([`ExtractOptions::pages`]).
    pub pages: Option<PageReport>,
}
