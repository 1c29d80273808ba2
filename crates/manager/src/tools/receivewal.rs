//! WAL into a plain directory: `pg_receivewal`.
//!
//! [`receive`] goes on where the directory ends (`FindStreamingStart`), else where the slot does, else at the server's
//! current segment, and tries again every five seconds as the original does: each time from what is on disk by then.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapster_catalog::{Resume, SegmentCompression, SegmentDir, SegmentDirError, SegmentDirOptions};
use tapster_protocol::receive::{
    EndReason, ReceiveError, ReceiveEvent, ReceiveOptions, ReceiveReport, Receiver, StreamStart,
    start_position,
};
use tapster_protocol::{
    ConnectError, ConnectOptions, Connection, ConnectionError, CreateSlot, Mode, QueryError,
    ReplicationError, SlotName,
};
use thiserror::Error;
use walfile::{Lsn, SegmentName, SegmentSize, Timeline};

use crate::text::system_text;
use crate::tools::LibpqText;

/// `RECONNECT_SLEEP_TIME`.
pub const RECONNECT_PAUSE: Duration = Duration::from_secs(5);

/// Options of [`receive`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceiveWalOptions {
    /// Where the files go; must exist.
    pub directory: PathBuf,
    /// The slot to stream with.
    pub slot: Option<SlotName>,
    /// Stop exactly here.
    pub end_position: Option<Lsn>,
    /// Flush and report as soon as the server has nothing more to send.
    pub synchronous: bool,
    /// Whether anything is brought to disk.
    pub sync: bool,
    /// Seconds between two reports to the server; 0 is never.
    pub status_interval: u32,
    /// What finished segments become.
    pub compression: SegmentCompression,
    /// Try again when the connection is lost.
    pub reconnect: bool,
}

impl ReceiveWalOptions {
    /// The defaults of `pg_receivewal`, into `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            slot: None,
            end_position: None,
            synchronous: false,
            sync: true,
            status_interval: 10,
            compression: SegmentCompression::None,
            reconnect: true,
        }
    }
}

/// What happens while WAL is received.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReceiveWalEvent<'a> {
    /// A file with a segment's name that is no whole segment is left alone.
    Skipped {
        /// The file.
        path: &'a std::path::Path,
        /// Its (decompressed) length, where known.
        length: Option<u64>,
    },
    /// Streaming is about to begin.
    Starting {
        /// At the start of this segment.
        position: Lsn,
        /// On this timeline.
        timeline: Timeline,
    },
    /// A segment was received to its end.
    Segment {
        /// Its end.
        end: Lsn,
        /// Its timeline.
        timeline: Timeline,
    },
    /// The timeline ended.
    Switched {
        /// The next.
        timeline: Timeline,
        /// Where it begins.
        at: Lsn,
    },
    /// The end position was reached.
    ReachedEnd {
        /// How far WAL was received.
        position: Lsn,
        /// On which timeline.
        timeline: Timeline,
    },
    /// The stop flag was seen.
    Interrupted,
    /// The last segment stays a `.partial`.
    NotRenamed {
        /// It.
        segment: SegmentName,
    },
    /// Something went wrong; if it is tried again, [`ReceiveWalEvent::Disconnected`] follows.
    Failed(&'a ReceiveWalToolError),
    /// It is tried again after this pause.
    Disconnected {
        /// The pause.
        pause: Duration,
    },
}

/// Why receiving ended, in the words of `pg_receivewal` where it has them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReceiveWalToolError {
    /// The directory is not there.
    #[error("could not open directory \"{}\": {}", path.display(), system_text(source))]
    Directory {
        /// It.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A command failed.
    #[error("could not send replication command \"{command}\": {}", query_text(source))]
    Command {
        /// The command.
        command: String,
        /// What the server said.
        source: QueryError,
    },
    /// There is no such slot.
    #[error("replication slot \"{slot}\" does not exist")]
    SlotMissing {
        /// Its name.
        slot: SlotName,
    },
    /// The directory cannot be used.
    #[error(transparent)]
    Storage(#[from] SegmentDirError),
    /// The stream could not begin, or broke.
    #[error("{}", receive_text(.0))]
    Receive(#[source] ReceiveError),
    /// The connection was lost and is not to be made again.
    #[error("disconnected")]
    Disconnected,
}

fn query_text(error: &QueryError) -> String {
    error.server().map_or_else(|| error.to_string(), |server| LibpqText(server).to_string())
}

fn receive_text(error: &ReceiveError) -> String {
    let start =
        |server| format!("could not send replication command \"START_REPLICATION\": {}", LibpqText(server));
    match error {
        ReceiveError::Stream(ReplicationError::Server(server)) => start(server),
        ReceiveError::SlotActive { error, .. }
        | ReceiveError::SlotUnusable { error, .. }
        | ReceiveError::WalRemoved { error, .. }
        | ReceiveError::NotInHistory { error, .. } => start(error),
        ReceiveError::SlotMissing { slot } => format!(
            "could not send replication command \"START_REPLICATION\": ERROR:  replication slot \"{slot}\" does not exist"
        ),
        ReceiveError::Stream(error) => format!("could not receive data from WAL stream: {error}"),
        ReceiveError::Sink { source, .. } => format!("could not write WAL: {source}"),
        other => other.to_string(),
    }
}

impl ReceiveWalToolError {
    fn is_stopped(&self) -> bool {
        match self {
            Self::Connect(error) => matches!(error, ConnectError::Stopped),
            Self::Command { source, .. } => source.is_stopped(),
            Self::Receive(ReceiveError::Query(error)) => error.is_stopped(),
            Self::Receive(ReceiveError::Connect(error)) => matches!(error, ConnectError::Stopped),
            Self::Receive(ReceiveError::Stream(ReplicationError::Connection(error))) => {
                matches!(error, ConnectionError::Stopped)
            }
            _ => false,
        }
    }

    /// After a failed write or fsync nobody knows what is on disk, and trying again would hide it.
    const fn is_fatal(&self) -> bool {
        matches!(self, Self::Storage(_) | Self::Receive(ReceiveError::Sink { .. }))
    }
}

fn command(command: impl Into<String>) -> impl FnOnce(QueryError) -> ReceiveWalToolError {
    let command = command.into();
    move |source| ReceiveWalToolError::Command { command, source }
}

/// Makes a physical slot; one that exists is no error with `if_not_exists`.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub fn create_slot(
    connect: &ConnectOptions,
    slot: &SlotName,
    if_not_exists: bool,
) -> Result<(), ReceiveWalToolError> {
    let mut connection = Connection::connect(connect, Mode::PhysicalReplication)?;
    match connection.create_physical_slot(slot, &CreateSlot::default()) {
        Err(error) if if_not_exists && error.is_sqlstate("42710") => Ok(()),
        other => other.map_err(command(format!("CREATE_REPLICATION_SLOT \"{slot}\" PHYSICAL"))),
    }
}

/// Drops a slot.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub fn drop_slot(connect: &ConnectOptions, slot: &SlotName) -> Result<(), ReceiveWalToolError> {
    let mut connection = Connection::connect(connect, Mode::PhysicalReplication)?;
    connection.drop_slot(slot).map_err(command(format!("DROP_REPLICATION_SLOT \"{slot}\"")))
}

/// Receives until the end position is reached or `stop` is set; both are no errors.
///
/// # Errors
/// When the directory or the first connection fails; later only what trying again must not hide, or anything when
/// [`ReceiveWalOptions::reconnect`] is off. The error was told to the observer before.
pub fn receive(
    connect: &ConnectOptions,
    options: &ReceiveWalOptions,
    observer: &mut dyn FnMut(&ReceiveWalEvent<'_>),
    stop: &Arc<AtomicBool>,
) -> Result<(), ReceiveWalToolError> {
    let told = |observer: &mut dyn FnMut(&ReceiveWalEvent<'_>), error: ReceiveWalToolError| {
        observer(&ReceiveWalEvent::Failed(&error));
        Err(error)
    };
    if let Err(source) = std::fs::read_dir(&options.directory) {
        return told(observer, ReceiveWalToolError::Directory { path: options.directory.clone(), source });
    }
    let open = || Connection::connect_with_stop(connect, Mode::PhysicalReplication, Arc::clone(stop));
    let mut first = match open() {
        Ok(connection) => Some(connection),
        Err(ConnectError::Stopped) => return Ok(()),
        Err(error) => return told(observer, error.into()),
    };
    loop {
        let session = match first.take().map_or_else(open, Ok) {
            Ok(connection) => stream(connection, connect, options, observer, stop),
            Err(error) => Err(error.into()),
        };
        let error = match session {
            Ok(()) => return Ok(()),
            Err(error) if error.is_stopped() => return Ok(()),
            Err(error) => error,
        };
        observer(&ReceiveWalEvent::Failed(&error));
        if error.is_fatal() {
            return Err(error);
        }
        if !options.reconnect {
            return told(observer, ReceiveWalToolError::Disconnected);
        }
        observer(&ReceiveWalEvent::Disconnected { pause: RECONNECT_PAUSE });
        if !pause(stop) {
            return Ok(());
        }
    }
}

fn pause(stop: &AtomicBool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < RECONNECT_PAUSE {
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    true
}

/// One connection (`StreamLog`).
fn stream(
    mut connection: Connection,
    connect: &ConnectOptions,
    options: &ReceiveWalOptions,
    observer: &mut dyn FnMut(&ReceiveWalEvent<'_>),
    stop: &Arc<AtomicBool>,
) -> Result<(), ReceiveWalToolError> {
    let identity = connection.identify_system().map_err(command("IDENTIFY_SYSTEM"))?;
    let size = connection.wal_segment_size().map_err(command("SHOW wal_segment_size"))?;
    let group = connection.server_version().major() >= 11
        && connection.show("data_directory_mode").map_err(command("SHOW data_directory_mode"))? == "0750";
    let mut storage = SegmentDirOptions::with_segment_size(size);
    storage.system_id = Some(identity.system_id.get());
    storage.sync = options.sync;
    storage.compression = options.compression;
    storage.file_mode = if group { 0o640 } else { 0o600 };
    let (mut sink, resume) = SegmentDir::open(&options.directory, storage)?;
    let start = start(&mut connection, &mut sink, &resume, options, observer)?;
    if start.timeline != Timeline::FIRST && !sink.has_history(start.timeline) {
        let file = connection.timeline_history(start.timeline).map_err(command("TIMELINE_HISTORY"))?;
        sink.store_history(start.timeline, &file.content)?;
    }
    drop(connection);
    observer(&ReceiveWalEvent::Starting { position: start.position, timeline: start.timeline });

    let mut receive = ReceiveOptions::default();
    receive.slot.clone_from(&options.slot);
    receive.synchronous = options.synchronous;
    receive.end_position = options.end_position;
    receive.reconnect = None;
    receive.status_interval = match options.status_interval {
        0 => Duration::MAX,
        seconds => Duration::from_secs(seconds.into()),
    };
    let start = start.with_system_id(Some(identity.system_id)).with_segment_size(size);
    let report = Receiver::new(receive)
        .run(connect, &mut sink, start, stop, &mut |event: &ReceiveEvent<'_>| match event {
            ReceiveEvent::Segment { timeline, end } => {
                observer(&ReceiveWalEvent::Segment { end: *end, timeline: *timeline });
            }
            ReceiveEvent::TimelineSwitch { to, at, .. } => {
                observer(&ReceiveWalEvent::Switched { timeline: *to, at: *at });
            }
            _ => {}
        })
        .map_err(ReceiveWalToolError::Receive)?;
    sink.close()?;
    end(&report, start.position, size, observer);
    Ok(())
}

fn start(
    connection: &mut Connection,
    sink: &mut SegmentDir,
    resume: &Resume,
    options: &ReceiveWalOptions,
    observer: &mut dyn FnMut(&ReceiveWalEvent<'_>),
) -> Result<StreamStart, ReceiveWalToolError> {
    for (path, length) in &resume.skipped {
        observer(&ReceiveWalEvent::Skipped { path, length: *length });
    }
    if let Some((timeline, position)) = resume.from {
        return Ok(StreamStart::new(timeline, position));
    }
    let start = match start_position(connection, options.slot.as_ref()) {
        Err(ReceiveError::SlotMissing { slot }) => return Err(ReceiveWalToolError::SlotMissing { slot }),
        other => other.map_err(ReceiveWalToolError::Receive)?,
    };
    sink.begin(start.timeline);
    Ok(start)
}

fn end(
    report: &ReceiveReport,
    start: Lsn,
    size: SegmentSize,
    observer: &mut dyn FnMut(&ReceiveWalEvent<'_>),
) {
    let ReceiveReport { reason, timeline, position, .. } = *report;
    match reason {
        EndReason::EndPosition => observer(&ReceiveWalEvent::ReachedEnd { position, timeline }),
        _ => observer(&ReceiveWalEvent::Interrupted),
    }
    if position > start && !position.is_segment_start(size) {
        observer(&ReceiveWalEvent::NotRenamed { segment: SegmentName::containing(timeline, position, size) });
    }
}
