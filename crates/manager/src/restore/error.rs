//! Why a restore cannot be done, or broke off.

use std::path::PathBuf;

use tapster_catalog::locks::LockError;
use tapster_catalog::record::format_time;
use tapster_catalog::wal_index::WalIndexError;
use tapster_catalog::{BackupId, CatalogError, WalStoreError};
use tapster_copy::ExtractError;
use tapster_copy::combine::CombineError;
use tapster_copy::remote::RemoteError;
use tapster_copy::rsync::RsyncError;
use tapster_copy::tree::TreeError;
use thiserror::Error;
use time::OffsetDateTime;
use walfile::{Lsn, SegmentName, SystemId, Timeline};

use super::stop_point::target_text;
use super::{RecordTarget, TargetPlace, TransactionEnd, Unfinished, WalPlanError};
use crate::hooks::HookAbort;

/// A restore that is impossible. Nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestorePlanError {
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] WalStoreError),
    /// The object store with the backups or the WAL.
    #[error(transparent)]
    ObjectStore(#[from] crate::ObjectStoreError),
    /// It does not say what it has.
    #[error(transparent)]
    Objects(#[from] tapster_catalog::ObjectsError),
    /// `auto` found nothing.
    #[error("Cannot find any candidate backup for recovery.")]
    NoCandidate,
    /// `auto` cannot choose by this target.
    #[error("'auto' backup ID is not supported with target {target}")]
    AutoTarget {
        /// The kind of target.
        target: &'static str,
    },
    /// The backup is not usable.
    #[error("Cannot restore from a '{status}' backup")]
    Status {
        /// Its status.
        status: String,
    },
    /// The record lacks what a restore needs.
    #[error("the record of backup {id} says nothing about {field}")]
    Incomplete {
        /// The backup.
        id: BackupId,
        /// The missing key.
        field: &'static str,
    },
    /// The files of the backup are gone, or are not in a form that can be restored yet.
    #[error("backup {id} cannot be restored: {problem}")]
    Files {
        /// The backup.
        id: BackupId,
        /// What is wrong.
        problem: String,
    },
    /// An action needs a target.
    #[error("Can't enable recovery target action when PITR is not required")]
    ActionWithoutTarget,
    /// A target time before the end of the backup.
    #[error("The requested target time {target} is before the backup end time {end}")]
    TimeBeforeBackup {
        /// The target.
        target: OffsetDateTime,
        /// The end of the backup.
        end: OffsetDateTime,
    },
    /// No transaction in the archive ends after the target time: PostgreSQL, from release 13 on, would fail with "recovery
    /// ended before configured recovery target was reached".
    #[error("{}", beyond_text(target, last.as_ref()))]
    TimeBeyondArchive {
        /// The target.
        target: OffsetDateTime,
        /// The latest end of a transaction after the backup's; `None` when there is none.
        last: Option<TransactionEnd>,
        /// Where the archive ends.
        reach: Lsn,
        /// A segment that is still being received, when it was not to be used.
        partial: Option<PartialReach>,
    },
    /// The WAL does not lead from the backup to the target.
    #[error(transparent)]
    Wal(#[from] WalPlanError),
    /// A hole in the archive before its end.
    #[error(
        "WAL segment {missing} is missing from the archive, which goes on after it: recovery would end at {reach}"
    )]
    Gap {
        /// The first missing segment.
        missing: SegmentName,
        /// The last position before it.
        reach: Lsn,
    },
    /// The record that is the target is not where recovery would come to it.
    #[error("{}", target_text(target, place))]
    Target {
        /// The target.
        target: RecordTarget,
        /// Where it is instead.
        place: TargetPlace,
    },
    /// The target position is behind the end of the archive, or behind a hole in it.
    #[error(
        "the target {target} is beyond the archive, which reaches to {reach}; the next segment would be {missing}"
    )]
    LsnBeyondArchive {
        /// The target.
        target: Lsn,
        /// What can be reached.
        reach: Lsn,
        /// The segment that is missing.
        missing: SegmentName,
        /// Where the last record begins that can be replayed: the last position that can be a target.
        last: Option<Lsn>,
    },
    /// A segment that cannot be read to its end: recovery would end there.
    #[error(
        "WAL segment {segment} is damaged: it can be read up to {reach} only{}",
        if reach < consistent { format!(", and the backup needs everything up to {consistent}") } else { String::new() }
    )]
    Damaged {
        /// The segment.
        segment: SegmentName,
        /// Up to where recovery would come.
        reach: Lsn,
        /// The last record before that, when the backup is consistent there: the last position that can be a target.
        last: Option<Lsn>,
        /// Where the backup is consistent.
        consistent: Lsn,
    },
    /// A segment of another cluster.
    #[error(
        "WAL segment {segment} is of another cluster: its system identifier is {found}, that of the backup {expected}"
    )]
    Foreign {
        /// The segment.
        segment: SegmentName,
        /// The backup's system identifier.
        expected: SystemId,
        /// The segment's.
        found: SystemId,
    },
    /// A history file that is not that of the archived WAL.
    #[error(
        "{}.history is not that of the archived WAL: by it segment {segment} begins on timeline {expected}, but it begins on \
         timeline {found}",
        timeline.to_hex()
    )]
    History {
        /// The timeline of the history file.
        timeline: Timeline,
        /// The segment.
        segment: SegmentName,
        /// By the history file.
        expected: Timeline,
        /// By the segment itself.
        found: Timeline,
    },
    /// The WAL does not go on where the history file says that the timelines change.
    #[error("recovery would not come past {switch}, where {}.history says that the timeline changes: {problem}", timeline.to_hex())]
    Switch {
        /// The timeline of the history file.
        timeline: Timeline,
        /// Where it says that the timelines change.
        switch: Lsn,
        /// Up to where recovery would come.
        reach: Lsn,
        /// The last record before that.
        last: Option<Lsn>,
        /// What is wrong, in words.
        problem: String,
    },
    /// What the archive holds cannot be found out.
    #[error(transparent)]
    Index(#[from] WalIndexError),
    /// `pg_control` of the backup is damaged, or of another cluster.
    #[error("backup {id} cannot be restored: its pg_control: {problem}")]
    Control {
        /// The backup.
        id: BackupId,
        /// What is wrong.
        problem: String,
    },
    /// An option that is only for a standby.
    #[error("{option} is for a standby: give it together with standby mode")]
    StandbyOnly {
        /// The option, in words.
        option: &'static str,
    },
    /// A value that PostgreSQL would not take.
    #[error("{option}: {problem}")]
    Value {
        /// The option, in words.
        option: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A place that is something else than a directory.
    #[error("'{}' is not a directory", path.display())]
    NotADirectory {
        /// The place.
        path: PathBuf,
    },
    /// A place in which nothing can be made.
    #[error("'{}' cannot be written to by the user that runs the restore", path.display())]
    NotWritable {
        /// The place, or the directory above it in which it would be made.
        path: PathBuf,
    },
    /// A data directory of somebody else's, in which PostgreSQL would not start what we write.
    #[error(
        "'{}' belongs to the user with the number {owner}; a data directory must belong to the user that PostgreSQL runs as, and \
         what is restored belongs to the one that restores it ({user})",
        path.display()
    )]
    NotOwned {
        /// The place.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who restores.
        user: u32,
    },
    /// A file system was mounted where the data directory should be: its `lost+found` is in the way.
    #[error(
        "'{}' is a mount point and holds 'lost+found', which no data directory may hold: restore into a directory below it",
        path.display()
    )]
    MountPoint {
        /// The directory.
        path: PathBuf,
    },
    /// A tablespace would lie among the cluster's own files.
    #[error("tablespace '{name}' cannot be restored into '{}': that is a part of the cluster itself", path.display())]
    InsideCluster {
        /// The tablespace.
        name: String,
        /// The place.
        path: PathBuf,
    },
    /// An unknown tablespace was given a new place.
    #[error("Invalid tablespace name '{name}'")]
    Tablespace {
        /// The name.
        name: String,
        /// Those the backup has.
        known: Vec<String>,
    },
    /// Two things would go to one place.
    #[error("{} and {} cannot be restored into each other", first.display(), second.display())]
    Overlap {
        /// One place.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Another restore goes to the same place.
    #[error("another restore into '{}' is running{}", path.display(), pid.map(|pid| format!(": process {pid}")).unwrap_or_default())]
    Running {
        /// The directory.
        path: PathBuf,
        /// Its process.
        pid: Option<u32>,
    },
    /// Another restore goes to the same place on the other host.
    #[error("another restore into '{}' is running on the target host: process {pid}", path.display())]
    RunningThere {
        /// The directory.
        path: PathBuf,
        /// A process of it there.
        pid: u32,
        /// The ssh command that leads there.
        command: String,
    },
    /// The destination holds what a restore left that broke off.
    #[error(
        "The restore operation cannot proceed because the destination folder '{}' is not empty: it holds an unfinished restore{}",
        path.display(), unfinished_text(unfinished)
    )]
    Unfinished {
        /// The directory.
        path: PathBuf,
        /// Which restore.
        unfinished: Unfinished,
    },
    /// What is there is not to be gone over.
    #[error("'{}' is not empty and not a PostgreSQL data directory or tablespace: it holds '{name}', which would be removed", path.display())]
    NotACluster {
        /// The directory.
        path: PathBuf,
        /// Something in it.
        name: String,
    },
    /// A file system is mounted among what would be gone over: what is on it may be anybody's.
    #[error("another file system is mounted on '{}', and what is on it would be removed", path.display())]
    MountedBelow {
        /// The mount point.
        path: PathBuf,
    },
    /// The destination is a cluster, but not the one of the backup.
    #[error(
        "'{}' is another cluster: its system identifier is {found}, that of the backup {expected}",
        path.display()
    )]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// The backup's system identifier.
        expected: SystemId,
        /// The destination's.
        found: SystemId,
    },
    /// A server works there.
    #[error("'{}' is used by a running server (process {pid})", path.display())]
    ServerRunning {
        /// The directory.
        path: PathBuf,
        /// A process of it.
        pid: u32,
    },
    /// A tablespace's place holds files, and the destination's own tablespace is not there.
    #[error("tablespace '{name}' would go over the files in '{}', which do not belong to the destination", path.display())]
    ForeignTablespace {
        /// The tablespace.
        name: String,
        /// The directory.
        path: PathBuf,
    },
    /// The destination holds something.
    #[error(
        "The restore operation cannot proceed because the destination folder '{}' is not empty. To prevent accidental data \
         loss, the destination must be empty. Please choose a different location or manually empty the folder.",
        path.display()
    )]
    DestinationNotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A tablespace's place holds something.
    #[error(
        "The restore operation cannot proceed. The destination path '{}' for the tablespace '{name}' is not empty. To prevent \
         accidental data loss, the tablespace destination must be empty. Please choose a different location or manually empty \
         the folder.",
        path.display()
    )]
    TablespaceNotEmpty {
        /// The tablespace.
        name: String,
        /// The directory.
        path: PathBuf,
    },
    /// WAL cannot be staged there.
    #[error("WAL cannot be staged in '{}', which recovery removes at its end: {problem}", path.display())]
    WalDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A place is not a directory, or cannot be looked at.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not enough room.
    #[error("'{}' has {} free, the restore needs {}", path.display(), crate::text::pretty_bytes(*free), crate::text::pretty_bytes(*needed))]
    Space {
        /// A place on the file system.
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// Needed bytes.
        needed: u64,
    },
    /// The other host cannot be reached, or looked at.
    #[error(transparent)]
    Remote(RemoteError),
    /// What is in the destination on the other host may not be gone over.
    #[error("'{}' cannot be restored over: {problem}", path.display())]
    Over {
        /// The directory.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A program is missing on the other host.
    #[error("'{program}' is not installed on the target host ({command})")]
    Program {
        /// Which.
        program: &'static str,
        /// The ssh command that leads there.
        command: String,
    },
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Stopped,
}

/// What the beginning of a segment that is still being received would add.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PartialReach {
    /// The segment.
    pub segment: SegmentName,
    /// Whether a transaction in it ends after the target.
    pub enough: bool,
}

impl From<RemoteError> for RestorePlanError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Stopped => Self::Stopped,
            error => Self::Remote(error),
        }
    }
}

fn unfinished_text(unfinished: &Unfinished) -> String {
    let backup = unfinished.backup.as_ref().map(|id| format!(" of backup {id}")).unwrap_or_default();
    let server =
        unfinished.server.as_ref().map(|server| format!(" of server '{server}'")).unwrap_or_default();
    backup + &server
}

fn beyond_text(target: &OffsetDateTime, last: Option<&TransactionEnd>) -> String {
    let found = last.map_or_else(
        || "no transaction ended after the backup".to_owned(),
        |last| format!("the last transaction ended at {}, at {}", format_time(last.time), last.lsn),
    );
    let target = format_time(*target);
    format!("The requested target time {target} is beyond the archive, in which {found}")
}

/// A restore that was not begun or broke off. The destination has no `pg_control`, so it cannot be started by accident.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The archives in the object store do not come, or are not what they should be.
    #[cfg(feature = "cloud")]
    #[error(transparent)]
    Download(Box<crate::cloud::restore::CloudRestoreError>),
    /// The object store cannot be used.
    #[error(transparent)]
    ObjectStore(#[from] crate::ObjectStoreError),
    /// The copy failed.
    #[error(transparent)]
    Copy(#[from] TreeError),
    /// An incremental backup could not be put together.
    #[error("cannot combine backup {id} with what it builds on: {source}")]
    Combine {
        /// The backup.
        id: BackupId,
        /// Why.
        #[source]
        source: Box<CombineError>,
    },
    /// Something failed on the other host, or on the way to it.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The copy to the other host failed.
    #[error(transparent)]
    Rsync(RsyncError),
    /// The manifest of the backup, which says what of the destination can be kept, cannot be read.
    #[error(transparent)]
    Sums {
        /// Why.
        source: Box<CombineError>,
    },
    /// The archives of the backup are damaged, or are not what their manifest says.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The archives of the backup are not all there, or their manifest is unreadable.
    #[error("{problem}")]
    Archives {
        /// What is wrong.
        problem: String,
    },
    /// A WAL file could not be read from the archive.
    #[error(transparent)]
    Archive(#[from] WalStoreError),
    /// A WAL file is not as long as a segment.
    #[error("WAL segment {segment} in the archive has {found} bytes instead of {expected}")]
    WalSize {
        /// The segment.
        segment: SegmentName,
        /// A segment's size in bytes.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody deletes, exports or checks the backup. Nothing was written.
    #[error("backup {id} is in use: {source}")]
    Busy {
        /// The backup.
        id: BackupId,
        /// Who has it.
        source: LockError,
    },
    /// Another restore goes to the same place. Nothing was written.
    #[error("another restore into '{}' is running{}", path.display(), pid.map(|pid| format!(": process {pid}")).unwrap_or_default())]
    Running {
        /// The directory.
        path: PathBuf,
        /// Its process.
        pid: Option<u32>,
    },
    /// Another restore goes to the same place on the other host. Nothing was written.
    #[error("another restore into '{}' is running on the target host: process {pid}", path.display())]
    RunningThere {
        /// The directory.
        path: PathBuf,
        /// A process of it there.
        pid: u32,
        /// The ssh command that leads there.
        command: String,
    },
    /// A server was started in the destination after the restore was planned. Nothing was written.
    #[error("'{}' is used by a running server (process {pid})", path.display())]
    ServerRunning {
        /// The directory.
        path: PathBuf,
        /// A process of it.
        pid: u32,
    },
    /// What the destination holds has changed since the restore was planned, or cannot be read.
    #[error(transparent)]
    Destination(RestorePlanError),
    /// The backup was deleted after the restore was planned, or its deletion has begun. Nothing was written.
    #[error("backup {id} has been deleted meanwhile")]
    Deleted {
        /// The backup.
        id: BackupId,
    },
    /// The catalog cannot be read. Nothing was written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// `pg_control` in the archives of the backup is damaged, or of another cluster.
    #[error("backup {id} cannot be restored: its pg_control: {problem}")]
    Control {
        /// The backup.
        id: BackupId,
        /// What is wrong.
        problem: String,
    },
    /// A hook script wants no restore. Nothing was written.
    #[error(transparent)]
    Hook(#[from] HookAbort),
    /// Somebody asked to stop.
    #[error("stopped on request; '{}' is incomplete and cannot be started", destination.display())]
    Stopped {
        /// The destination.
        destination: PathBuf,
    },
}
