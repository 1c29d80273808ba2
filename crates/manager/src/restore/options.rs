//! What a restore can be told.

use std::path::PathBuf;
use std::time::Duration;

use tapster_catalog::BackupRecord;
use tapster_copy::SyncMethod;
use time::OffsetDateTime;
use walfile::Lsn;

use super::TimelineTarget;

/// Where recovery ends.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecoveryTarget {
    /// At the end of the archived WAL.
    #[default]
    End,
    /// Before the first commit later than this time.
    Time(OffsetDateTime),
    /// At this position.
    Lsn(Lsn),
    /// At this transaction.
    Xid(u64),
    /// At this restore point.
    Name(String),
    /// As soon as the cluster is consistent.
    Immediate,
}

/// `recovery_target_action`: what PostgreSQL does at the target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "PostgreSQL's words")]
pub enum TargetAction {
    Pause,
    Promote,
    Shutdown,
}

impl TargetAction {
    /// The setting's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Promote => "promote",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Which backup to restore.
#[derive(Clone, Debug, PartialEq)]
pub enum BackupChoice {
    /// This one.
    Record(Box<BackupRecord>),
    /// The newest one from which the target can be reached.
    Auto,
}

/// A restore to another host. What is not set is as the configuration has it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RemoteOptions {
    /// The ssh command that leads there, with the host.
    pub ssh_command: String,
    /// Compress on the way.
    pub network_compression: Option<bool>,
    /// Further attempts of a copy that failed.
    pub retry_times: Option<u32>,
    /// The pause before.
    pub retry_sleep: Option<Duration>,
    /// How many copies may start within one period.
    pub jobs_start_batch_size: Option<u32>,
    /// The period, in seconds.
    pub jobs_start_batch_period: Option<u32>,
    /// The port of this host's ssh, for the `restore_command` that fetches WAL from here.
    pub port: Option<String>,
    /// The user that command logs in as here.
    pub user: String,
    /// This host, as the other one calls it.
    pub this_host: String,
    /// Files that command fetches at the same time.
    pub wal_jobs: u32,
}

/// Options of [`Server::plan_restore`](crate::Server::plan_restore).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Which backup.
    pub backup: BackupChoice,
    /// The new data directory; it must be empty or absent, unless `delta` says otherwise.
    pub destination: PathBuf,
    /// The host it is on, if that is not this one.
    pub remote: Option<RemoteOptions>,
    /// Keep what the destination holds and is right, write what differs and remove everything else: for a destination that is a
    /// cluster, or what a restore left that broke off. The configuration's `recovery_options` without it.
    pub delta: Option<bool>,
    /// Where an incremental backup for another host is put together; the configuration's `staging_path` without it, and else the
    /// system's directory for temporary files.
    pub staging_path: Option<PathBuf>,
    /// Somebody has said where to stage, and is told when nothing is staged.
    pub staging_is_given: bool,
    /// Kilobytes per second at most; the configuration's `bandwidth_limit` without it, and for a tablespace its own.
    pub bandwidth_limit: Option<u32>,
    /// New places for tablespaces, by name.
    pub tablespaces: Vec<(String, PathBuf)>,
    /// Where all other tablespaces go, each into a directory named by its OID, instead of where they were.
    pub tablespace_root: Option<PathBuf>,
    /// Where recovery ends.
    pub target: RecoveryTarget,
    /// On which timeline; PostgreSQL's default without it.
    pub timeline: Option<TimelineTarget>,
    /// Stop just before the target instead of just after it.
    pub exclusive: bool,
    /// What PostgreSQL does at the target; it pauses without it.
    pub action: Option<TargetAction>,
    /// Fetch WAL from the archive while recovering instead of copying it now; the configuration's `recovery_options` without it.
    pub get_wal: Option<bool>,
    /// Use the beginning of a segment that was still being received as the last one.
    pub partial_wal: bool,
    /// Set the result up as a standby.
    pub standby_mode: bool,
    /// Where a standby streams from (`primary_conninfo`). Only with `standby_mode`.
    pub primary_conninfo: Option<String>,
    /// The slot it uses there (`primary_slot_name`). Only with `standby_mode`.
    pub primary_slot_name: Option<String>,
    /// Where copied WAL goes for a point-in-time recovery; `<destination>/barman_wal` without it.
    pub staging_wal_directory: Option<PathBuf>,
    /// The file that gets the recovery settings; `postgresql.auto.conf` without it.
    pub recovery_conf_filename: Option<String>,
    /// A `restore_command` instead of the generated one, with `get_wal`.
    pub restore_command: Option<String>,
    /// How files of an incremental backup that did not change are brought over: `copy`, `clone`, `copy-file-range`; the
    /// configuration's `combine_mode` without it. `link` is replaced by `copy`.
    pub combine_mode: Option<String>,
    /// Copies running at the same time; the configuration's `parallel_jobs` without it. At least two for a full backup; where
    /// neither says more than one, an incremental one is put together on all processors.
    pub jobs: Option<usize>,
    /// How the data directory is brought to this host's disk before the restore is done: `syncfs` at its end, which waits for what
    /// other programs have written to the same file system too, or an fsync of each file. Copied WAL is fsynced file by file.
    pub sync: SyncMethod,
    /// Name of this program for the generated `restore_command`.
    pub program: String,
}

impl RestoreOptions {
    /// The defaults: everything up to the end of the archive, into `destination`.
    pub fn new(backup: BackupChoice, destination: impl Into<PathBuf>) -> Self {
        Self {
            backup,
            destination: destination.into(),
            remote: None,
            delta: None,
            staging_path: None,
            staging_is_given: false,
            bandwidth_limit: None,
            tablespaces: Vec::new(),
            tablespace_root: None,
            target: RecoveryTarget::End,
            timeline: None,
            exclusive: false,
            action: None,
            get_wal: None,
            partial_wal: false,
            standby_mode: false,
            primary_conninfo: None,
            primary_slot_name: None,
            staging_wal_directory: None,
            recovery_conf_filename: None,
            restore_command: None,
            combine_mode: None,
            jobs: None,
            sync: SyncMethod::Syncfs,
            program: "barman".to_owned(),
        }
    }
}
