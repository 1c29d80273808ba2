//! What a base backup tells while it runs: what `pg_basebackup` prints.

use std::path::Path;

use tapster_protocol::{Notice, SlotName};
use walfile::{Lsn, Timeline};

use super::error::BaseBackupToolError;

/// A directory that this run wrote into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DirectoryKind {
    /// `-D`.
    Data,
    /// `--waldir`.
    Wal,
}

/// Something a person may want to know, in the order of the work.
#[derive(Debug)]
#[non_exhaustive]
pub enum BaseBackupEvent<'a> {
    /// BASE_BACKUP is sent; the server does a checkpoint first.
    WaitingForCheckpoint,
    /// It is done.
    CheckpointDone,
    /// Where WAL is needed from.
    Start {
        /// Position.
        lsn: Lsn,
        /// Its timeline.
        timeline: Timeline,
    },
    /// The second connection is made.
    WalReceiverStarting,
    /// A slot was made.
    SlotCreated {
        /// Its name.
        slot: &'a SlotName,
        /// Whether it ends with the connection.
        temporary: bool,
    },
    /// How far the copy is. Comes with every piece of data.
    Progress(Progress<'a>),
    /// Where WAL is needed up to.
    End {
        /// Position.
        lsn: Lsn,
    },
    /// The copy is here, the last of the WAL not yet.
    WaitingForWal,
    /// Everything is here and goes to disk.
    Syncing,
    /// It is on disk; the manifest gets its name.
    RenamingManifest,
    /// Done.
    Completed,
    /// The server's own words.
    Notice(&'a Notice),
    /// Why it failed. Clean-up follows; then `run` returns the same error.
    Failed(&'a BaseBackupToolError),
    /// A directory, or what is in it, is removed after a failure.
    Removing {
        /// Which.
        kind: DirectoryKind,
        /// Where.
        path: &'a Path,
        /// It was there before, empty, and stays.
        only_contents: bool,
    },
    /// That did not work.
    RemoveFailed {
        /// Which.
        kind: DirectoryKind,
        /// Why.
        error: &'a std::io::Error,
    },
    /// A directory stays although the backup failed, because the caller wants that.
    NotRemoved {
        /// Which.
        kind: DirectoryKind,
        /// Where.
        path: &'a Path,
    },
    /// What was written into directories of tablespaces stays.
    TablespacesNotUndone,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Bytes received, before compression by the server as far as it tells.
    pub done: u64,
    /// The server's estimate.
    pub total: Option<u64>,
    /// Tablespaces complete.
    pub tablespaces_done: usize,
    /// Tablespaces, the data directory included.
    pub tablespaces: usize,
    /// The archive being received.
    pub archive: &'a str,
}
