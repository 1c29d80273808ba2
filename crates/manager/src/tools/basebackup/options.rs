//! What a base backup is to be like.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use tapster_copy::SyncMethod;
use tapster_copy::archive::ArchiveCompression;
use tapster_protocol::{ServerCompression, SlotName};

/// What the backup becomes (`-F`, `-D`).
#[derive(Clone, Debug)]
pub enum Target {
    /// A data directory.
    Plain {
        /// The directory: absent or empty.
        directory: PathBuf,
        /// Tablespaces by their directory on the server, and where they go here (`-T`). All others go where they are there.
        tablespaces: Vec<(PathBuf, PathBuf)>,
        /// Where `pg_wal` is to be; a link to it is made (`--waldir`). Absent or empty.
        wal_directory: Option<PathBuf>,
    },
    /// One archive per tablespace.
    Tar {
        /// The directory: absent or empty.
        directory: PathBuf,
        /// Compression on this side.
        compression: ArchiveCompression,
    },
    /// One archive, with the manifest inside, for a server without tablespaces. WAL cannot be streamed then.
    Stdout {
        /// Where it is written to, from the current position on.
        output: Arc<File>,
        /// Compression on this side.
        compression: ArchiveCompression,
    },
}

/// How the WAL that the backup needs is included (`-X`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Wal {
    /// Not: an archive has it. The server then waits until it does.
    None,
    /// Inside the backup, at its end. It fails if the server has removed some by then.
    Fetch,
    /// Over a second connection while the backup runs, kept by a temporary slot.
    #[default]
    Stream,
    /// The same without any slot.
    StreamWithoutSlot,
    /// The same with this slot.
    StreamWithSlot {
        /// Its name.
        slot: SlotName,
        /// Make it first (`-C`).
        create: bool,
    },
}

impl Wal {
    pub(super) const fn is_streamed(&self) -> bool {
        matches!(self, Self::Stream | Self::StreamWithoutSlot | Self::StreamWithSlot { .. })
    }

    /// The slot a standby would go on with.
    pub(super) const fn permanent_slot(&self) -> Option<&SlotName> {
        match self {
            Self::StreamWithSlot { slot, .. } => Some(slot),
            _ => None,
        }
    }
}

/// Options of [`run`](super::run). The defaults are `pg_basebackup`'s.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BaseBackupOptions {
    /// Where to and in what form.
    pub target: Target,
    /// The WAL.
    pub wal: Wal,
    /// The label.
    pub label: String,
    /// A fast checkpoint instead of one spread over minutes.
    pub fast_checkpoint: bool,
    /// kB/s.
    pub max_rate: Option<u32>,
    /// Have the server find out the size first, so that progress has an end.
    pub estimate_size: bool,
    /// Compression by the server (15+). A plain backup is decompressed on arrival.
    pub server_compression: Option<ServerCompression>,
    /// A manifest (13+).
    pub manifest: bool,
    /// Its algorithm, as the user spelled it; the server judges.
    pub manifest_checksums: Option<String>,
    /// All its names in hexadecimal.
    pub manifest_force_encode: bool,
    /// Have the server verify page checksums.
    pub verify_checksums: bool,
    /// `primary_conninfo` of a standby to make of the backup (`-R`); see
    /// [`recovery_settings`](crate::tools::recovery_settings).
    pub standby: Option<String>,
    /// The manifest of the backup that this one builds on (17+).
    pub incremental: Option<PathBuf>,
    /// How it is brought to disk.
    pub sync: SyncMethod,
    /// After a failure remove what was made.
    pub clean: bool,
    /// Seconds between two reports of the WAL position; 0 is never.
    pub status_interval: u32,
    /// The modification time of files that are added to archives, seconds since 1970.
    pub time: u64,
}

impl BaseBackupOptions {
    /// The defaults, into `target`.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            wal: Wal::default(),
            label: "pg_basebackup base backup".to_owned(),
            fast_checkpoint: false,
            max_rate: None,
            estimate_size: true,
            server_compression: None,
            manifest: true,
            manifest_checksums: None,
            manifest_force_encode: false,
            verify_checksums: true,
            standby: None,
            incremental: None,
            sync: SyncMethod::Fsync,
            clean: true,
            status_interval: 10,
            time: 0,
        }
    }
}
