//! The WAL receiver against real servers.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tapster_protocol::receive::{
    Backoff, EndReason, ReceiveError, ReceiveEvent, ReceiveOptions, ReceiveReport, Receiver, StreamStart,
    start_position,
};
use tapster_protocol::testing::{Binaries, Cluster, StopMode, servers};
use tapster_protocol::{ConnInfo, ConnectOptions, CreateSlot, Environment, SlotName, SystemId};
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, TimelineHistory, WalSink};

/// Keeps WAL in memory, and insists on what the trait promises.
struct MemorySink {
    timeline: Timeline,
    size: SegmentSize,
    next: Option<Lsn>,
    flushed: Lsn,
    segments: BTreeMap<String, Vec<u8>>,
    histories: Vec<(Timeline, Vec<u8>)>,
    fail_at: Option<Lsn>,
    flushes: u64,
}

impl MemorySink {
    fn new(start: StreamStart) -> Self {
        Self {
            timeline: start.timeline,
            size: start.segment_size.unwrap(),
            next: Some(start.position),
            flushed: start.position,
            segments: BTreeMap::new(),
            histories: Vec::new(),
            fail_at: None,
            flushes: 0,
        }
    }
}

impl WalSink for MemorySink {
    fn write(&mut self, mut at: Lsn, mut bytes: &[u8]) -> io::Result<()> {
        assert_eq!(self.next.unwrap_or(at), at, "no gap, nothing twice");
        assert!(!bytes.is_empty());
        let end = at.saturating_add(bytes.len() as u64);
        if self.fail_at.is_some_and(|limit| end > limit) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        while !bytes.is_empty() {
            let name = SegmentName::containing(self.timeline, at, self.size).to_string();
            let offset = at.offset_in_segment(self.size) as usize;
            let count = bytes.len().min(self.size.bytes() as usize - offset);
            let segment = self.segments.entry(name).or_default();
            assert_eq!(segment.len(), offset);
            segment.extend_from_slice(&bytes[..count]);
            at = at.saturating_add(count as u64);
            bytes = &bytes[count..];
        }
        self.next = Some(end);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<Lsn> {
        self.flushes += 1;
        self.flushed = self.next.unwrap_or(self.flushed);
        Ok(self.flushed)
    }

    fn flushed(&self) -> Lsn {
        self.flushed
    }

    fn switch_timeline(&mut self, history: &TimelineHistory, raw: &[u8]) -> io::Result<()> {
        self.timeline = history.timeline();
        self.next = Some(history.begin().segment_start(self.size));
        self.flushed = self.next.unwrap();
        self.histories.push((history.timeline(), raw.to_vec()));
        Ok(())
    }
}

type Outcome = (Result<ReceiveReport, ReceiveError>, MemorySink, Vec<String>);

struct Running {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Outcome>,
}

impl Running {
    /// Waits until the receiver has reported everything up to `end` as received.
    fn wait_for(self, cluster: &Cluster, end: Lsn) -> Self {
        let written = || cluster.value("SELECT coalesce(max(write_lsn), '0/0') FROM pg_stat_replication");
        let begin = Instant::now();
        while written().parse::<Lsn>().unwrap() < end {
            if self.thread.is_finished() || begin.elapsed() > Duration::from_secs(60) {
                let (result, _, events) = self.stop();
                panic!("{end} was not received: {result:?} {events:#?}\n{}", cluster.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self
    }

    fn join(self) -> Outcome {
        self.thread.join().unwrap()
    }

    fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }
}

fn receive(
    options: ReceiveOptions,
    connect: ConnectOptions,
    start: StreamStart,
    sink: MemorySink,
) -> Running {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        let mut sink = sink;
        let mut events = Vec::new();
        let mut observer = |event: &ReceiveEvent<'_>| events.push(format!("{event:?}"));
        let result = Receiver::new(options).run(&connect, &mut sink, start, &flag, &mut observer);
        (result, sink, events)
    });
    Running { stop, thread }
}

fn begin(cluster: &Cluster, slot: Option<&str>) -> (ReceiveOptions, StreamStart) {
    let mut connection = cluster.replication();
    let slot = slot.map(|name| SlotName::new(name).unwrap());
    if let Some(name) = &slot {
        connection.create_physical_slot(name, &CreateSlot::default().with_reserve_wal(true)).unwrap();
    }
    let start = start_position(&mut connection, slot.as_ref()).unwrap();
    let mut options = ReceiveOptions::default();
    options.slot = slot;
    options.reconnect = None;
    options.status_interval = Duration::from_millis(100);
    (options, start)
}

fn small(binaries: &Binaries) -> Cluster {
    Cluster::builder().binaries(binaries).wal_segment_mb(1).config("wal_keep_size = 512MB").start().unwrap()
}

fn write_wal(cluster: &Cluster, rows: u32) {
    cluster.sql("CREATE TABLE IF NOT EXISTS w (id int, filler text)");
    cluster.sql(&format!("INSERT INTO w SELECT i, repeat('x', i % 800) FROM generate_series(1, {rows}) i"));
}

fn current_lsn(cluster: &Cluster) -> Lsn {
    cluster.value("SELECT pg_current_wal_flush_lsn()").parse().unwrap()
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Byte for byte what the server has, up to where the sink is.
fn compare(cluster: &Cluster, sink: &MemorySink, timeline: Timeline) -> usize {
    let mut compared = 0;
    let prefix = timeline.to_hex().to_string();
    for (name, bytes) in sink.segments.iter().filter(|(name, _)| name.starts_with(&prefix)) {
        let Ok(original) = std::fs::read(cluster.wal_dir().join(name)) else { continue };
        assert!(original.starts_with(bytes), "{name} differs");
        compared += 1;
    }
    compared
}

#[test]
fn wal_is_the_servers_byte_for_byte() {
    for binaries in servers() {
        let cluster = small(&binaries);
        let (mut options, start) = begin(&cluster, Some("s"));
        write_wal(&cluster, 20_000);
        let end = current_lsn(&cluster);
        options.end_position = Some(end);
        let running = receive(options, cluster.options(), start, MemorySink::new(start));
        let (result, sink, events) = running.join();
        let report = result.unwrap();
        assert_eq!((report.reason, report.position), (EndReason::EndPosition, end));
        assert_eq!(sink.next, Some(end), "exactly there");
        assert_eq!(sink.flushed, end);
        let compared = compare(&cluster, &sink, Timeline::FIRST);
        assert!(compared >= 5, "{compared} segments");
        assert!(events.iter().filter(|event| event.starts_with("Segment")).count() >= compared - 1);
        let slot = cluster.value("SELECT restart_lsn FROM pg_replication_slots");
        assert_eq!(slot.parse::<Lsn>().unwrap(), end, "the slot is where we are");
    }
}

#[test]
fn stopped_and_resumed_at_the_same_byte() {
    for binaries in servers() {
        let cluster = small(&binaries);
        let (options, start) = begin(&cluster, Some("s"));
        let running = receive(options.clone(), cluster.options(), start, MemorySink::new(start));
        write_wal(&cluster, 5_000);
        let end = current_lsn(&cluster);
        let (result, sink, _) = running.wait_for(&cluster, end).stop();
        let report = result.unwrap();
        assert_eq!(report.reason, EndReason::Stopped);
        assert_eq!(sink.flushed, report.position);
        assert!(report.position >= end);
        assert_eq!(cluster.value("SELECT active FROM pg_replication_slots"), "f", "ended in order");

        write_wal(&cluster, 5_000);
        let mut again = StreamStart::new(report.timeline, report.position);
        again.segment_size = start.segment_size;
        let mut options = options;
        options.end_position = Some(current_lsn(&cluster));
        let (result, sink, _) = receive(options, cluster.options(), again, sink).join();
        result.unwrap();
        assert!(compare(&cluster, &sink, Timeline::FIRST) >= 2);
    }
}

#[test]
fn follows_a_promotion() {
    for binaries in servers() {
        let primary = small(&binaries);
        let standby =
            Cluster::builder().binaries(&binaries).config("wal_keep_size = 512MB").standby_of(&primary, None);
        let (mut options, start) = begin(&standby, None);
        options.reconnect =
            Some(Backoff { first: Duration::from_millis(50), longest: Duration::from_millis(200) });
        // Receive from the standby, as a cascade; it is promoted under our feet.
        let start =
            StreamStart::new(start.timeline, start.position).with_segment_size(start.segment_size.unwrap());
        let running = receive(options.clone(), standby.options(), start, MemorySink::new(start));
        write_wal(&primary, 5_000);
        let end = current_lsn(&primary);
        wait_for("replay", || {
            standby.value("SELECT pg_last_wal_replay_lsn()").parse::<Lsn>().unwrap() >= end
        });
        primary.stop(StopMode::Fast);
        standby.promote();
        write_wal(&standby, 5_000);
        let end = current_lsn(&standby);
        let (result, sink, events) = running.wait_for(&standby, end).stop();
        let report = result.unwrap();
        assert_eq!(report.timeline.get(), 2, "{events:#?}");
        assert!(events.iter().any(|event| event.starts_with("TimelineSwitch")));
        let (timeline, raw) = &sink.histories[0];
        assert_eq!(timeline.get(), 2);
        assert_eq!(*raw, std::fs::read(standby.wal_dir().join("00000002.history")).unwrap());
        assert!(compare(&standby, &sink, Timeline::new(2).unwrap()) >= 2);

        // From the start once more, on the old timeline, now with the switch in the past.
        options.end_position = Some(end);
        let (result, again, _) =
            receive(options.clone(), standby.options(), start, MemorySink::new(start)).join();
        assert_eq!(result.unwrap().timeline.get(), 2);
        assert_eq!(again.segments.keys().collect::<Vec<_>>(), sink.segments.keys().collect::<Vec<_>>());

        // The switch point itself on the old timeline: there is no COPY phase.
        let history = TimelineHistory::parse(*timeline, raw).unwrap();
        let at =
            StreamStart::new(Timeline::FIRST, history.begin()).with_segment_size(start.segment_size.unwrap());
        let (result, _, _) = receive(options.clone(), standby.options(), at, MemorySink::new(at)).join();
        assert_eq!(result.unwrap().timeline.get(), 2);

        // A server that is behind us in timelines is refused.
        let mut ahead = StreamStart::new(Timeline::new(9).unwrap(), start.position);
        ahead.segment_size = start.segment_size;
        let (result, _, _) = receive(options, standby.options(), ahead, MemorySink::new(ahead)).join();
        assert!(matches!(result, Err(ReceiveError::TimelineAhead { .. })), "{result:?}");
    }
}

#[test]
fn commits_wait_for_a_synchronous_receiver_and_get_their_answer() {
    for binaries in servers() {
        let cluster = small(&binaries);
        let (mut options, start) = begin(&cluster, Some("s"));
        options.synchronous = true;
        options.status_interval = Duration::from_secs(3600);
        let mut conninfo = cluster.conninfo();
        conninfo.set("application_name", "tapster").unwrap();
        let connect = ConnectOptions::resolve(&conninfo, &Environment::default()).unwrap();
        cluster.sql("ALTER SYSTEM SET synchronous_standby_names = 'tapster'");
        cluster.reload();
        let running = receive(options, connect, start, MemorySink::new(start));
        wait_for("becoming synchronous", || {
            cluster.value("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1"
        });
        // Were a report missing, the first of these would hang for an hour.
        let mut connection = cluster.connect();
        connection.query("SET statement_timeout = '60s'").unwrap();
        connection.query("CREATE TABLE c (i int)").unwrap();
        for i in 0..50 {
            connection.query(&format!("INSERT INTO c VALUES ({i})")).unwrap();
        }
        let notices = connection.take_notices();
        assert!(notices.is_empty(), "a cancelled wait warns: {notices:?}");
        let (result, sink, _) = running.stop();
        result.unwrap();
        assert!(sink.flushes >= 50, "{} flushes", sink.flushes);
    }
}

#[test]
fn the_primary_shuts_down_cleanly_and_we_have_all() {
    for binaries in servers() {
        let cluster = small(&binaries);
        for slot in [Some("s"), None] {
            let (options, start) = begin(&cluster, slot);
            let running = receive(options, cluster.options(), start, MemorySink::new(start));
            write_wal(&cluster, 1_000);
            wait_for("streaming", || cluster.value("SELECT count(*) FROM pg_stat_replication") == "1");
            let begin = Instant::now();
            cluster.stop(StopMode::Fast);
            // wal_sender_timeout is 60 s: a walsender that waits for us would take that long.
            assert!(begin.elapsed() < Duration::from_secs(40), "shutdown was blocked");
            let (result, sink, _) = running.join();
            assert!(result.unwrap_err().is_retryable(true));
            compare(&cluster, &sink, Timeline::FIRST);
            cluster.start();
            // Right after a clean start this is still the shutdown checkpoint.
            let checkpoint: Lsn =
                cluster.value("SELECT checkpoint_lsn FROM pg_control_checkpoint()").parse().unwrap();
            assert!(sink.flushed > checkpoint, "the shutdown checkpoint at {checkpoint} is here");
        }
    }
}

#[test]
fn reconnects_after_a_crash_of_the_server() {
    let Some(cluster) = servers().first().map(small) else { return };
    let (mut options, start) = begin(&cluster, Some("s"));
    options.reconnect =
        Some(Backoff { first: Duration::from_millis(50), longest: Duration::from_millis(500) });
    let running = receive(options, cluster.options(), start, MemorySink::new(start));
    write_wal(&cluster, 3_000);
    cluster.sql("CHECKPOINT");
    cluster.stop(StopMode::Immediate);
    cluster.start();
    write_wal(&cluster, 3_000);
    let end = current_lsn(&cluster);
    let (result, sink, events) = running.wait_for(&cluster, end).stop();
    result.unwrap();
    assert!(events.iter().any(|event| event.starts_with("Disconnected")), "{events:#?}");
    assert!(compare(&cluster, &sink, Timeline::FIRST) >= 1);
}

#[test]
fn each_refusal_has_its_name() {
    for binaries in servers() {
        let cluster = Cluster::builder().binaries(&binaries).wal_segment_mb(1).start().unwrap();
        let (options, start) = begin(&cluster, Some("s"));
        let run = |options: &ReceiveOptions, start: StreamStart| {
            let outcome = receive(options.clone(), cluster.options(), start, MemorySink::new(start)).join();
            outcome.0.unwrap_err()
        };

        let mut wrong = options.clone();
        wrong.slot = SlotName::new("nobody").ok();
        let error = run(&wrong, start);
        assert!(matches!(error, ReceiveError::SlotMissing { .. }), "{error}");

        let other = start.with_system_id(Some(SystemId::new(1)));
        let error = run(&options, other);
        assert!(
            matches!(error, ReceiveError::SystemId { expected, .. } if expected == SystemId::new(1)),
            "{error}"
        );

        let running = receive(options.clone(), cluster.options(), start, MemorySink::new(start));
        wait_for("the slot in use", || cluster.value("SELECT active FROM pg_replication_slots") == "t");
        let error = run(&options, start);
        assert!(matches!(error, ReceiveError::SlotActive { .. }) && !error.is_retryable(false), "{error}");
        running.stop().0.unwrap();

        let size = start.segment_size.unwrap();
        let mut ahead = start;
        ahead.position = start.position.saturating_add(100 * size.bytes());
        let error = run(&options, ahead);
        assert!(matches!(error, ReceiveError::AheadOfServer { .. }), "{error}");

        cluster.sql("SELECT pg_drop_replication_slot('s')");
        for _ in 0..3 {
            cluster.sql(
                "CREATE TABLE IF NOT EXISTS z (i int); INSERT INTO z VALUES (1); SELECT pg_switch_wal()",
            );
            cluster.sql("CHECKPOINT");
        }
        let mut gone = options.clone();
        gone.slot = None;
        let mut early = start;
        early.position = Lsn::new(size.bytes());
        let error = run(&gone, early);
        assert!(matches!(error, ReceiveError::WalRemoved { .. }) && !error.is_retryable(true), "{error}");
    }
}

#[test]
fn a_full_disk_is_final_and_nothing_beyond_it_is_acknowledged() {
    let Some(cluster) = servers().first().map(small) else { return };
    let (mut options, start) = begin(&cluster, Some("s"));
    options.reconnect = Some(Backoff::default());
    write_wal(&cluster, 10_000);
    let limit = start.position.saturating_add(1_500_000);
    let mut sink = MemorySink::new(start);
    sink.fail_at = Some(limit);
    let (result, sink, _) = receive(options, cluster.options(), start, sink).join();
    let error = result.unwrap_err();
    assert!(matches!(&error, ReceiveError::Sink { position, .. } if *position <= limit), "{error}");
    let slot: Lsn = cluster.value("SELECT restart_lsn FROM pg_replication_slots").parse().unwrap();
    assert!(slot <= sink.flushed, "{slot} was acknowledged, {} is flushed", sink.flushed);
}

#[test]
fn no_server_is_retried_until_stopped() {
    let options = ReceiveOptions::default();
    let conninfo = ConnInfo::parse("host=/nowhere user=postgres").unwrap();
    let connect = ConnectOptions::resolve(&conninfo, &Environment::default()).unwrap();
    let start =
        StreamStart::new(Timeline::FIRST, Lsn::new(0x100_0000)).with_segment_size(SegmentSize::DEFAULT);
    let running = receive(options, connect, start, MemorySink::new(start));
    std::thread::sleep(Duration::from_millis(300));
    let (result, _, events) = running.stop();
    assert_eq!(result.unwrap().reason, EndReason::Stopped);
    assert!(events.iter().any(|event| event.starts_with("Disconnected")));
}
