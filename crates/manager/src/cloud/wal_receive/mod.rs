//! WAL straight from the replication protocol into a bucket: what a crash loses is seconds, not a segment.
//!
//! What comes is written to a directory here, the spool, as `pg_receivewal` does it, and goes from there into the bucket in a thread
//! of its own, each segment when it is whole, and the beginning of the one in hand every few seconds. So the store may be away for a
//! while, and a process that is killed goes on where it was. PostgreSQL is told that WAL is durable when it is on the spool's disk, or
//! only when the store has it, as one [chooses](Acknowledge): never before.

mod beginning;
mod error;
mod options;
mod resume;
mod sink;
mod spool;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapster_catalog::{SegmentDir, SegmentDirOptions};
use tapster_protocol::receive::{Backoff, ReceiveError, ReceiveEvent, ReceiveOptions, Receiver};
use tapster_protocol::{ConnectOptions, Connection, CreateSlot, Mode, SlotName};
use walfile::{Lsn, SegmentName, WalName};

pub use error::CloudReceiveError;
pub use options::{Acknowledge, CloudReceiveEvent, CloudReceiveOptions, CloudReceiveReport};

use self::sink::{Shared, SpoolFull, SpoolSink};
use self::spool::Spool;
use self::upload::Uploader;
use super::CloudServer;
use super::backup::PostgresSource;

/// What the server knows it by.
const APPLICATION: &str = "tapster_receive_wal";
/// How soon the stop flag is seen.
const TICK: Duration = Duration::from_millis(100);

/// Makes a physical slot that keeps WAL from now on. Returns whether there was none.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub fn create_receive_slot(source: &PostgresSource, slot: &SlotName) -> Result<bool, CloudReceiveError> {
    let mut connection = Connection::connect(&source.resolve(APPLICATION)?, Mode::PhysicalReplication)?;
    match connection.create_physical_slot(slot, &CreateSlot::default().with_reserve_wal(true)) {
        Ok(()) => Ok(true),
        Err(error) if error.is_sqlstate("42710") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Drops a slot. Returns whether there was one.
///
/// # Errors
/// When the server cannot be reached or refuses: somebody may use it.
pub fn drop_receive_slot(source: &PostgresSource, slot: &SlotName) -> Result<bool, CloudReceiveError> {
    let mut connection = Connection::connect(&source.resolve(APPLICATION)?, Mode::PhysicalReplication)?;
    match connection.drop_slot(slot) {
        Ok(()) => Ok(true),
        Err(error) if error.is_sqlstate("42704") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Does what is to be done in any case.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What one run of [`CloudServer::receive_wal`] has at hand.
struct Run<'r> {
    server: &'r CloudServer,
    connect: ConnectOptions,
    options: &'r CloudReceiveOptions,
    spool: Spool,
    shared: Shared,
    tell: &'r (dyn Fn(&CloudReceiveEvent<'_>) + Sync),
    /// Set by the caller's flag, and when the upload cannot go on.
    stop: Arc<AtomicBool>,
}

impl CloudServer {
    /// Receives the server's WAL into the bucket until `stop` is set. A lost connection is made again, a store that is away is waited
    /// for, and so is one that refuses, once this has begun; each is told to `observer`. Whole segments that are still in the spool at
    /// the end are for the next run to bring to the bucket: there may be many. The beginning of the last one goes there if they are.
    ///
    /// The place becomes that of the server's cluster, as with [`wal_archive`](Self::wal_archive). A server that archives to it by
    /// itself as well does no harm: what it has is the same.
    ///
    /// # Errors
    /// What trying again cannot cure. What was received is in the spool then.
    pub fn receive_wal(
        &self,
        source: &PostgresSource,
        options: &CloudReceiveOptions,
        observer: &(dyn Fn(&CloudReceiveEvent<'_>) + Sync),
        stop: &AtomicBool,
    ) -> Result<CloudReceiveReport, CloudReceiveError> {
        if options.acknowledge == Acknowledge::Store && options.slot.is_none() {
            return Err(CloudReceiveError::NeedsSlot);
        }
        if options.acknowledge == Acknowledge::Store && options.partial_interval.is_none() {
            return Err(CloudReceiveError::NeedsPartial);
        }
        let connect = source.resolve(APPLICATION)?;
        let spool = Spool::open(&options.spool_dir, self.store().identity(), self.layout().server())?;
        match self.test() {
            Err(error) if error.is_unreachable() => {
                observer(&CloudReceiveEvent::Warning(format!("the store is waited for: {error}")));
            }
            tested => tested?,
        }
        let shared = Shared::default();
        let inner = Arc::new(AtomicBool::new(stop.load(Ordering::Relaxed)));
        // What an earlier run has left goes out also when the server is no more.
        if let Some(segment) = spool.waiting()?.partial.into_iter().max() {
            shared.set_current(segment, Lsn::INVALID);
        }
        let run = Run { server: self, connect, options, spool, shared, tell: observer, stop: inner };
        let is_over = AtomicBool::new(false);
        let (received, uploaded) = std::thread::scope(|scope| {
            // Also when something here panics: the threads end then, and it is told.
            let _over = OnDrop(|| {
                run.shared.end();
                is_over.store(true, Ordering::Relaxed);
            });
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if stop.load(Ordering::Relaxed) {
                        run.stop.store(true, Ordering::Relaxed);
                    }
                    std::thread::sleep(TICK);
                }
            });
            let upload = scope.spawn(|| {
                // Nothing is received any more when it cannot go anywhere.
                let _over = OnDrop(|| run.stop.store(true, Ordering::Relaxed));
                Uploader::new(self, &run.spool, &run.shared, options, observer, stop).run()
            });
            let received = run.receive();
            run.shared.end();
            let uploaded = upload.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (received, uploaded)
        });
        let sent = uploaded?;
        received?;
        let left = run.spool.waiting()?;
        let mut waiting = left.whole;
        waiting.retain(|name| matches!(name, WalName::Segment(_)));
        // The beginning of a segment stays here until all of it is in the bucket.
        let current = run.shared.state().current;
        let partial = left.partial.into_iter().filter(|segment| !sent.has(*segment, current));
        waiting.extend(partial.map(WalName::Partial));
        Ok(CloudReceiveReport { waiting })
    }
}

impl Run<'_> {
    fn has_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Connection after connection.
    fn receive(&self) -> Result<(), CloudReceiveError> {
        let (backoff, mut failures) = (Backoff::default(), 0);
        while !self.has_stopped() {
            let before = self.shared.state().current;
            let error = match self.session() {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if let CloudReceiveError::Receive(received) = &error
                && let Some(full) = full_spool(received)
            {
                self.await_room(full)?;
                failures = if self.shared.state().current == before { failures + 1 } else { 0 };
                if failures > 0 {
                    // It was full again at once.
                    self.pause(backoff.delay(failures));
                }
                continue;
            }
            if self.has_stopped() && !error.is_of_the_disk() {
                return Ok(());
            }
            if !error.may_pass() {
                return Err(error);
            }
            failures = if self.shared.state().current == before { failures + 1 } else { 1 };
            let retry_in = backoff.delay(failures);
            match &error {
                CloudReceiveError::Receive(error) => {
                    (self.tell)(&CloudReceiveEvent::Disconnected { error, retry_in });
                }
                error => (self.tell)(&CloudReceiveEvent::Warning(error.to_string())),
            }
            self.pause(retry_in);
        }
        Ok(())
    }

    fn pause(&self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time && !self.has_stopped() {
            std::thread::sleep(TICK);
        }
    }

    /// Waits until the store has taken enough for two more segments; the server keeps what comes meanwhile.
    fn await_room(&self, full: SpoolFull) -> Result<(), CloudReceiveError> {
        (self.tell)(&CloudReceiveEvent::SpoolFull { bytes: full.bytes });
        let room = full.size.saturating_mul(2);
        while self.spool.is_full(self.options.spool_max_size, full.next, room)?.is_some() {
            if self.has_stopped() {
                return Ok(());
            }
            std::thread::sleep(TICK);
        }
        (self.tell)(&CloudReceiveEvent::SpoolHasRoom);
        Ok(())
    }

    /// From one connection to its end, through those that the receiver makes again.
    fn session(&self) -> Result<(), CloudReceiveError> {
        let stop = &self.stop;
        let mut connection =
            Connection::connect_with_stop(&self.connect, Mode::PhysicalReplication, Arc::clone(stop))?;
        let system = connection.identify_system()?;
        let size = connection.wal_segment_size()?;
        self.spool.belongs_to(&system, connection.server_version().major())?;
        let mut storage = SegmentDirOptions::with_segment_size(size);
        storage.newest_timeline = true;
        storage.system_id = Some(system.system_id.get());
        let (mut sink, resume) = {
            let _held = self.spool.hold();
            SegmentDir::open(self.spool.dir(), storage)?
        };
        let start = self.start(&mut connection, &system, resume.from, size)?;
        Self::store_ancestry(&mut connection, &mut sink, start.timeline)?;
        if sink.timeline() != Some(start.timeline) || sink.position() != Some(start.position) {
            sink.begin(start.timeline);
        }
        drop(connection);
        let segment = SegmentName::containing(start.timeline, start.position, size);
        self.shared.set_current(segment, start.position);

        let mut receive = ReceiveOptions::default();
        receive.slot.clone_from(&self.options.slot);
        receive.status_interval = self.options.status_interval;
        let start = start.with_system_id(Some(system.system_id)).with_segment_size(size);
        let mut sink = SpoolSink::new(sink, &self.spool, &self.shared, size, self.options);
        let mut told = |event: &ReceiveEvent<'_>| match event {
            ReceiveEvent::Streaming { timeline, start } => {
                (self.tell)(&CloudReceiveEvent::Streaming { timeline: *timeline, start: *start });
            }
            ReceiveEvent::TimelineSwitch { to, at, .. } => {
                (self.tell)(&CloudReceiveEvent::TimelineSwitch { timeline: *to, at: *at });
            }
            ReceiveEvent::Disconnected { error, retry_in } => {
                (self.tell)(&CloudReceiveEvent::Disconnected { error, retry_in: *retry_in });
            }
            _ => {}
        };
        let done = Receiver::new(receive).run(&self.connect, &mut sink, start, stop, &mut told);
        // Whatever was received is brought to disk, and what is whole gets its name, before the spool is looked at again.
        let closed = sink.into_inner().close();
        match done {
            // A failed fsync is told by whichever comes first; a full spool is none, and must not hide one.
            Err(error) if !matches!(error, ReceiveError::Sink { .. }) || full_spool(&error).is_some() => {
                closed?;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
            Ok(_) => {
                closed?;
                Ok(())
            }
        }
    }
}

/// Whether receiving ended for want of room.
fn full_spool(error: &ReceiveError) -> Option<SpoolFull> {
    let ReceiveError::Sink { source, .. } = error else { return None };
    source.get_ref()?.downcast_ref().copied()
}
