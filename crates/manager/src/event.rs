//! What verbs report while they run, as data; the program turns it into text.

use std::path::PathBuf;
use std::time::Duration;

use tapster_catalog::{BackupId, BackupMode};
use time::OffsetDateTime;
use walfile::{Lsn, SegmentName, Timeline, WalName};

use crate::cron::CronJob;
use crate::processes::Task;

/// Where a batch of WAL came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WalSource {
    /// `streaming/`: written by the WAL receiver.
    Streaming,
    /// `incoming/`: written by an `archive_command`.
    FileArchival,
}

/// Something that happened while a verb ran.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// `cron` starts a process.
    CronStarting {
        /// Server name.
        server: String,
        /// What the process does.
        job: CronJob,
    },
    /// `cron` leaves alone what another process is doing.
    CronBusy {
        /// Server name.
        server: String,
        /// What is being done.
        task: Task,
    },
    /// The primary node of a passive server has no backup.
    NoBackupsToSync {
        /// Server name.
        server: String,
    },
    /// The primary node of a passive server has no WAL that is new.
    NoWalToSync {
        /// Server name.
        server: String,
    },
    /// Another process copies this backup from the primary node.
    BackupSyncBusy {
        /// Server name.
        server: String,
        /// The backup.
        backup: BackupId,
    },
    /// Another process copies WAL from the primary node.
    WalSyncBusy {
        /// Server name.
        server: String,
    },
    /// The retention policy is done with a backup, which is deleted now.
    EnforcingRetention {
        /// Server name.
        server: String,
        /// The backup.
        backup: BackupId,
    },
    /// A backup whose record speaks of files that are not there. The retention policy leaves it alone.
    Orphan {
        /// The backup.
        backup: BackupId,
        /// Where its files should be.
        files: PathBuf,
        /// Its record.
        record: PathBuf,
    },
    /// WAL of a server without backups that was older than it may get was removed.
    OldWalRemoved {
        /// Server name.
        server: String,
        /// The files.
        wals: Vec<WalName>,
    },
    /// A backup begins; its files go below `path`.
    BackupStarting {
        /// Server name.
        server: String,
        /// How it is taken.
        method: BackupMode,
        /// `base/<id>`.
        path: PathBuf,
    },
    /// Where the server was when the backup began.
    BackupPosition {
        /// Insert position.
        lsn: Lsn,
        /// The segment that ends or holds it.
        segment: SegmentName,
        /// Bytes from the start of that segment.
        offset: u32,
    },
    /// The copy begins.
    CopyStarting {
        /// The backup.
        backup: BackupId,
        /// What copies, in the words of Barman's messages: `pg_basebackup`, `local rsync`.
        program: &'static str,
        /// How many workers, where that can be chosen.
        jobs: Option<u32>,
        /// The object store it goes to, where it goes to one: `aws-s3: s3://…`.
        to: Option<String>,
    },
    /// An attempt to copy failed; what it left is removed and it is tried again.
    CopyRetry {
        /// Counted from zero.
        attempt: u32,
        /// Why.
        error: String,
        /// Until the next attempt.
        retry_in: Duration,
    },
    /// An `rsync` failed and is run again, to go on where it stopped.
    RsyncRetry {
        /// Counted from zero.
        attempt: u32,
        /// Why.
        error: String,
        /// Until the next attempt.
        retry_in: Duration,
    },
    /// All files are on disk.
    CopyDone {
        /// Time the copy took.
        elapsed: Duration,
    },
    /// A backup that was copied file by file has got its manifest.
    ManifestGenerated {
        /// The backup.
        backup: BackupId,
        /// Server name.
        server: String,
    },
    /// The archives of the backup are being encrypted.
    Encrypting {
        /// `gpg`.
        method: &'static str,
    },
    /// The record is being completed.
    Finalising,
    /// All files are copied, and the server is told that the backup is over.
    FinalisingOnServer,
    /// This backup has no predecessor, so older WAL is useless; the names follow.
    FirstBackup {
        /// Server name.
        server: String,
        /// Files that were removed.
        removed: Vec<WalName>,
    },
    /// Size of the backup's files in bytes.
    BackupSize {
        /// All files.
        bytes: u64,
        /// Those that are not shared with another backup, where sharing was asked for.
        deduplicated: Option<u64>,
    },
    /// The end of the backup.
    BackupEnd {
        /// Stop position.
        lsn: Lsn,
        /// The last segment the backup needs.
        segment: SegmentName,
        /// Bytes from the start of that segment; zero at its end.
        offset: u32,
    },
    /// The backup is recorded.
    BackupCompleted {
        /// When it began.
        started: OffsetDateTime,
        /// Time from begin to here.
        elapsed: Duration,
    },
    /// Somebody asked to stop while `wal` was waited for; the work goes on without it.
    WaitInterrupted {
        /// The file.
        wal: SegmentName,
    },
    /// Waiting until `wal` is in the archive.
    WaitingForWal {
        /// The file.
        wal: SegmentName,
        /// Server name.
        server: String,
        /// How long at most.
        max: Option<Duration>,
    },
    /// `wal` did not come in time.
    WalNotReceived {
        /// The file.
        wal: SegmentName,
        /// How long we waited.
        waited: Duration,
    },
    /// The backup lacks WAL that has not arrived yet.
    BackupWaitingForWals,
    /// A batch of queued WAL is about to be archived.
    Archiving {
        /// Which queue.
        source: WalSource,
        /// Server name.
        server: String,
        /// How many of the queued files are taken, when not all of them.
        batch: Option<usize>,
        /// Whether the queue is empty.
        empty: bool,
    },
    /// A file went into the archive.
    Archived {
        /// The file.
        wal: WalName,
    },
    /// A file of the same name and other content is in the archive; the new one went to `errors/`.
    Duplicate {
        /// The file.
        wal: WalName,
        /// Server name.
        server: String,
    },
    /// A file cannot be archived now and stays where it is, to be tried again.
    LeftInQueue {
        /// The file.
        wal: WalName,
        /// Why.
        reason: String,
    },
    /// A file was refused and went to `errors/`.
    Rejected {
        /// The file.
        name: String,
        /// Server name.
        server: String,
        /// Why.
        reason: String,
    },
    /// Things without a WAL name went to `errors/`.
    Unknown {
        /// Server name.
        server: String,
        /// Their names.
        names: Vec<String>,
    },
    /// The WAL receiver starts.
    ReceiveStarting {
        /// Server name.
        server: String,
    },
    /// Streaming began.
    StreamingStarted {
        /// First position asked for.
        start: Lsn,
        /// Timeline.
        timeline: Timeline,
    },
    /// A segment is complete.
    SegmentFinished {
        /// Its end.
        end: Lsn,
        /// Timeline.
        timeline: Timeline,
    },
    /// The server went on on another timeline, and we with it.
    TimelineSwitched {
        /// Where the new timeline begins.
        at: Lsn,
        /// The new timeline.
        to: Timeline,
    },
    /// The connection was lost.
    Disconnected {
        /// Why.
        error: String,
        /// Until the next attempt.
        retry_in: Duration,
    },
    /// The receiver stopped cleanly.
    ReceiveStopped {
        /// Durable up to here.
        flushed: Lsn,
    },
    /// A restore begins.
    RestoreStarting {
        /// Server name.
        server: String,
        /// The backup.
        backup: BackupId,
        /// The new data directory.
        destination: PathBuf,
        /// The ssh command that leads to its host, if that is not this one.
        remote: Option<String>,
    },
    /// It is a point-in-time recovery; the text names the target as Barman does.
    RecoveryTarget {
        /// `Recovery target time: '…', timeline: '2'`.
        description: String,
    },
    /// Nothing is staged, though somebody has said where.
    NothingStaged,
    /// The base backup is being copied.
    CopyingBaseBackup,
    /// The files of an incremental backup are put together.
    CombineStarting {
        /// The backup.
        backup: BackupId,
        /// Where.
        destination: PathBuf,
    },
    /// They are.
    CombineDone {
        /// The backup.
        backup: BackupId,
    },
    /// A tablespace goes to `location`.
    RestoringTablespace {
        /// OID.
        oid: u32,
        /// Name.
        name: String,
        /// New place.
        location: PathBuf,
    },
    /// WAL is being copied.
    CopyingWals,
    /// Partial segments are being copied.
    CopyingPartialWals,
    /// Non-PITR restores: `archive_status/*.done`.
    GeneratingArchiveStatus,
    /// Recovery settings are being written.
    GeneratingRecoveryConf,
    /// The `restore_command` is the one that was asked for.
    CustomRestoreCommand {
        /// As it is written to the configuration, quoted.
        command: String,
    },
    /// Settings of the old server are being looked through.
    IdentifyingDangerousSettings,
    /// These files of the destination were right already, and were not written again.
    KeptInPlace {
        /// How many.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A restored server is started to see that it can be.
    TestServerStarting {
        /// What `postgres --version` says.
        version: String,
        /// Its data directory.
        directory: PathBuf,
    },
    /// It has replayed what it was to, and is open.
    TestServerStarted {
        /// The last position.
        reached: Option<Lsn>,
    },
    /// More is asked of it.
    TestServerCheck {
        /// What.
        what: String,
    },
    /// A backup is being deleted.
    Deleting {
        /// The backup.
        backup: BackupId,
        /// Server name.
        server: String,
    },
    /// WAL removed together with a backup.
    DeletedWals {
        /// The files.
        wals: Vec<WalName>,
    },
    /// A backup is gone.
    Deleted {
        /// The backup.
        backup: BackupId,
        /// When the deletion began.
        started: OffsetDateTime,
        /// How long it took.
        elapsed: Duration,
    },
    /// Something a person should look at; the work goes on.
    Warning(String),
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all, as far as known; an estimate for a base backup.
    pub total: Option<u64>,
}
