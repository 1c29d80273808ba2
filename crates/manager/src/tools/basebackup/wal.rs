//! The second connection: WAL from the start of the backup to its end, received while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tapster_protocol::receive::{Due, Progress, Settings};
use tapster_protocol::{
    ConnectOptions, Connection, ConnectionError, CreateSlot, Mode, NextTimeline, QueryError,
    ReplicationError, SlotName, StartReplication, SystemId, WalEvent, WalStream,
};
use walfile::{Lsn, SegmentSize, Timeline};

use super::error::BaseBackupToolError;
use super::event::BaseBackupEvent;
use super::options::Wal;
use super::wal_store::{WalPlace, WalStore};

/// Where the backup begins, and of what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begin {
    pub(super) lsn: Lsn,
    pub(super) timeline: Timeline,
    pub(super) system_id: SystemId,
    pub(super) segment_size: SegmentSize,
}

/// The running receiver.
#[derive(Debug)]
pub(super) struct WalReceiver {
    thread: Option<JoinHandle<Result<(), BaseBackupToolError>>>,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Receive up to here; 0 is not known yet.
    target: AtomicU64,
    failed: AtomicBool,
}

impl Shared {
    fn reached(&self, position: Lsn) -> bool {
        let target = self.target.load(Ordering::Acquire);
        target != 0 && position.get() >= target
    }
}

impl WalReceiver {
    /// Connects, makes the slot, and returns when the stream runs.
    pub(super) fn start(
        connect: &ConnectOptions,
        wal: &Wal,
        place: &WalPlace,
        begin: Begin,
        status_interval: u32,
        observer: &dyn Fn(&BaseBackupEvent<'_>),
    ) -> Result<Self, BaseBackupToolError> {
        observer(&BaseBackupEvent::WalReceiverStarting);
        let stop = Arc::new(AtomicBool::new(false));
        let mut connection =
            Connection::connect_with_stop(connect, Mode::PhysicalReplication, Arc::clone(&stop))?;
        let identity = connection.identify_system().map_err(command("IDENTIFY_SYSTEM"))?;
        if identity.system_id != begin.system_id {
            return Err(BaseBackupToolError::SystemId);
        }
        let slot = prepare_slot(&mut connection, wal, observer)?;
        let mut store = WalStore::create(place, begin.segment_size, begin.timeline)?;
        if begin.timeline != Timeline::FIRST {
            let file = connection.timeline_history(begin.timeline).map_err(command("TIMELINE_HISTORY"))?;
            store.history(begin.timeline, &file.content)?;
        }
        let mut settings = Settings::new(begin.segment_size);
        settings.interval = match status_interval {
            0 => Duration::MAX,
            seconds => Duration::from_secs(seconds.into()),
        };
        settings.reports_flush = slot.is_some();
        let shared = Arc::<Shared>::default();
        let (started, running) = sync_channel(1);
        let job = Job { connection, store, slot, settings, begin, shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new()
            .name("wal-receiver".to_owned())
            .spawn(move || job.run(&started))
            .map_err(|_| BaseBackupToolError::WalThread)?;
        let mut receiver = Self { thread: Some(thread), shared, stop };
        match running.recv() {
            Ok(()) => Ok(receiver),
            Err(_) => match receiver.join() {
                Err(error) => Err(error),
                Ok(()) => Err(BaseBackupToolError::WalThread),
            },
        }
    }

    /// Whether it ended before it was told to.
    pub(super) fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Its error, once it has failed.
    pub(super) fn error(mut self) -> BaseBackupToolError {
        self.join().err().unwrap_or(BaseBackupToolError::WalThread)
    }

    /// Waits until everything up to `end` is stored.
    pub(super) fn finish(mut self, end: Lsn, stop: &AtomicBool) -> Result<(), BaseBackupToolError> {
        self.shared.target.store(end.get(), Ordering::Release);
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if stop.load(Ordering::Relaxed) {
                return Err(BaseBackupToolError::Stopped);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.join()
    }

    fn join(&mut self) -> Result<(), BaseBackupToolError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(BaseBackupToolError::WalThread),
        }
    }
}

impl Drop for WalReceiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // After a failure elsewhere: nobody may write when the directories are removed.
        drop(self.join());
    }
}

fn command(command: &str) -> impl FnOnce(QueryError) -> BaseBackupToolError {
    let command = command.to_owned();
    move |source| BaseBackupToolError::Command { command, source }
}

/// The slot to stream with, made if that was asked for.
fn prepare_slot(
    connection: &mut Connection,
    wal: &Wal,
    observer: &dyn Fn(&BaseBackupEvent<'_>),
) -> Result<Option<SlotName>, BaseBackupToolError> {
    let (slot, temporary) = match wal {
        Wal::StreamWithSlot { slot, create: false } => return Ok(Some(slot.clone())),
        Wal::StreamWithSlot { slot, create: true } => (slot.clone(), false),
        Wal::Stream => {
            let name = format!("pg_basebackup_{}", connection.process_id());
            let slot =
                SlotName::new(&name).map_err(|_| BaseBackupToolError::Unsupported("no name for a slot"))?;
            (slot, true)
        }
        _ => return Ok(None),
    };
    let options = CreateSlot::default().with_temporary(temporary).with_reserve_wal(true);
    let temporary_word = if temporary { " TEMPORARY" } else { "" };
    let text = format!("CREATE_REPLICATION_SLOT \"{slot}\"{temporary_word} PHYSICAL ( RESERVE_WAL)");
    connection.create_physical_slot(&slot, &options).map_err(command(&text))?;
    observer(&BaseBackupEvent::SlotCreated { slot: &slot, temporary });
    Ok(Some(slot))
}

struct Job {
    connection: Connection,
    store: WalStore,
    slot: Option<SlotName>,
    settings: Settings,
    begin: Begin,
    shared: Arc<Shared>,
}

impl Job {
    fn run(mut self, started: &SyncSender<()>) -> Result<(), BaseBackupToolError> {
        let result = self.receive(started);
        let result = result.and_then(|()| self.store.finish());
        if result.is_err() {
            self.shared.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    fn receive(&mut self, started: &SyncSender<()>) -> Result<(), BaseBackupToolError> {
        let size = self.begin.segment_size;
        let mut timeline = self.begin.timeline;
        let mut position = self.begin.lsn.segment_start(size);
        loop {
            let start = StartReplication::new(position).with_slot(self.slot.clone()).with_timeline(timeline);
            let mut stream =
                self.connection.start_replication(&start).map_err(BaseBackupToolError::StartWal)?;
            let _ = started.try_send(());
            let mut progress = Progress::new(self.settings, position, Lsn::INVALID, Duration::ZERO);
            let end = stream_timeline(&mut stream, &mut self.store, &mut progress, &self.shared)?;
            position = progress.written();
            let Some(next) = end else {
                if let Err(error) = stream.stop() {
                    // All that was wanted is here.
                    tracing::debug!("the WAL stream did not end in order: {error}");
                }
                return Ok(());
            };
            if next.timeline <= timeline || next.start > position {
                return Err(BaseBackupToolError::NextTimeline { reached: position });
            }
            let file =
                self.connection.timeline_history(next.timeline).map_err(command("TIMELINE_HISTORY"))?;
            let history = file.parse()?;
            let stored = self.store.sink().switch_timeline(&history, &file.content);
            stored.map_err(|source| BaseBackupToolError::StoreWal { position, source })?;
            timeline = next.timeline;
            position = next.start.segment_start(size);
        }
    }
}

/// Streams to the end of a timeline, or, with `None`, to the end of the backup.
fn stream_timeline(
    stream: &mut WalStream<'_>,
    store: &mut WalStore,
    progress: &mut Progress,
    shared: &Shared,
) -> Result<Option<NextTimeline>, BaseBackupToolError> {
    let begin = Instant::now();
    loop {
        // Short enough to see the target when nothing more comes.
        let wait = progress.wait(begin.elapsed()).min(Duration::from_millis(50));
        match stream.next(wait).map_err(broken)? {
            WalEvent::Data { start, bytes, .. } => {
                let accepted = progress.accept(start, bytes.len(), begin.elapsed()).map_err(|gap| {
                    BaseBackupToolError::WalGap { expected: gap.expected, found: gap.found }
                })?;
                let new = bytes.get(accepted.skip..accepted.skip + accepted.take).unwrap_or_default();
                let position = accepted.at;
                store
                    .sink()
                    .write(position, new)
                    .map_err(|source| BaseBackupToolError::StoreWal { position, source })?;
                progress.set_flushed(store.flushed());
            }
            WalEvent::Keepalive { reply_requested: true, .. } => progress.asked(),
            WalEvent::Idle => progress.set_flushed(store.flushed()),
            WalEvent::EndOfTimeline(Some(next)) => return Ok(Some(next)),
            WalEvent::EndOfTimeline(None) => {
                return Err(BaseBackupToolError::WalStream(ReplicationError::Ended));
            }
            _ => {}
        }
        if shared.reached(progress.written()) {
            return Ok(None);
        }
        if let Due::Status { flush, ping } = progress.due(begin.elapsed(), false) {
            // Nobody waits for this position as for a synchronous standby's, so what is durable anyway will do
            // unless the interval is over.
            if flush && progress.written() > progress.flushed() {
                let position = progress.written();
                let flushed = store
                    .sink()
                    .flush()
                    .map_err(|source| BaseBackupToolError::StoreWal { position, source })?;
                progress.set_flushed(flushed);
            }
            stream.send_status(&progress.report(ping, begin.elapsed())).map_err(broken)?;
        }
    }
}

fn broken(error: ReplicationError) -> BaseBackupToolError {
    match error {
        ReplicationError::Connection(ConnectionError::Stopped) => BaseBackupToolError::Stopped,
        other => BaseBackupToolError::WalStream(other),
    }
}
