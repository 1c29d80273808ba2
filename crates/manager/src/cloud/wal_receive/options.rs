//! How WAL is received into a bucket, and what is told meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use tapster_protocol::SlotName;
use tapster_protocol::receive::ReceiveError;
use walfile::{Lsn, SegmentName, Timeline, WalName};

use super::super::{CloudArchiveOptions, CloudWalError};

/// What PostgreSQL is told to be durable: it removes that WAL.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Acknowledge {
    /// What is on the disk of the spool.
    #[default]
    Spool,
    /// What is in the bucket: the spool may be lost at any time. The server keeps more WAL, and when it is shut down it waits until the
    /// bucket has all of it, as for any receiver: while the store is away, stop this first.
    Store,
}

/// Options of [`CloudServer::receive_wal`](super::super::CloudServer::receive_wal).
///
/// ```
/// use tapster_manager::cloud::{Acknowledge, CloudReceiveOptions};
/// use tapster_protocol::SlotName;
/// let mut options = CloudReceiveOptions::new("/var/lib/tapster/spool/main");
/// options.slot = Some(SlotName::new("bucket")?);
/// options.acknowledge = Acknowledge::Store;
/// assert!(options.partial_interval.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudReceiveOptions {
    /// The directory where WAL waits for the store, of this receiver alone.
    pub spool_dir: PathBuf,
    /// The slot to stream with. Without one the server may remove WAL that was not received.
    pub slot: Option<SlotName>,
    /// What is acknowledged.
    pub acknowledge: Acknowledge,
    /// How often the segment in hand is uploaded when it has grown; `None` for never, which [`Acknowledge::Store`] does not allow.
    pub partial_interval: Option<Duration>,
    /// Bytes in the spool beyond which no more is received until the store has taken some. `None` for what the file system can spare:
    /// all but 512 MiB.
    pub spool_max_size: Option<u64>,
    /// The longest time between two reports to the server.
    pub status_interval: Duration,
    /// With no WAL in the spool: begin where the slot does, whatever the spool or the archive say of how far that is.
    pub from_slot: bool,
    /// How segments are stored. `parallel` is how many are uploaded at once, at most 64; its `spool_dir` is not used.
    pub archive: CloudArchiveOptions,
}

impl CloudReceiveOptions {
    /// The defaults, with that spool.
    pub fn new(spool_dir: impl Into<PathBuf>) -> Self {
        Self {
            spool_dir: spool_dir.into(),
            slot: None,
            acknowledge: Acknowledge::Spool,
            partial_interval: Some(Duration::from_secs(10)),
            spool_max_size: None,
            status_interval: Duration::from_secs(10),
            from_slot: false,
            archive: CloudArchiveOptions::default(),
        }
    }
}

/// What happens while WAL is received into a bucket. Told by two threads.
#[derive(Debug)]
#[non_exhaustive]
pub enum CloudReceiveEvent<'a> {
    /// Streaming begins.
    Streaming {
        /// On this timeline.
        timeline: Timeline,
        /// From here.
        start: Lsn,
    },
    /// The timeline ended.
    TimelineSwitch {
        /// The next.
        timeline: Timeline,
        /// Where it begins.
        at: Lsn,
    },
    /// The server cannot be reached; it is tried again.
    Disconnected {
        /// Why.
        error: &'a ReceiveError,
        /// When.
        retry_in: Duration,
    },
    /// A file is in the bucket, and has left the spool.
    Archived(WalName),
    /// The beginning of a segment is in the bucket.
    Begun {
        /// The segment.
        segment: SegmentName,
        /// Up to here.
        position: Lsn,
    },
    /// The store does not take WAL; it is tried again.
    StoreFailed {
        /// Why.
        error: &'a CloudWalError,
        /// When.
        retry_in: Duration,
    },
    /// The spool is full, and nothing is received.
    SpoolFull {
        /// Bytes in it.
        bytes: u64,
    },
    /// Receiving goes on.
    SpoolHasRoom,
    /// Something that an operator should know.
    Warning(String),
}

/// How receiving ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloudReceiveReport {
    /// Files that are not in the bucket: the store did not take them before the end. They are in the spool, for the next time. A
    /// `.partial` is a segment of which the bucket lacks the end, or all.
    pub waiting: Vec<WalName>,
}
