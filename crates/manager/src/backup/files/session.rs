//! The session that holds the server in backup mode.
//!
//! The mode ends with the session that began it, so whatever happens to this program, the server does not stay in it. The
//! other way round, a session that is lost makes the copy worthless; it is looked after from a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tapster_protocol::{Connection, ConnectionError, QueryError, Rows, quote};
use walfile::{Lsn, Timeline};

use crate::backup::BackupStepError;
use crate::backup::method::{Job, Position};
use crate::remote::Remote;

/// The first major version with `pg_backup_start` instead of `pg_start_backup`, and without exclusive backups.
const FIRST_NEW_NAMES: u32 = 15;
/// The first one with `idle_session_timeout`.
const FIRST_IDLE_TIMEOUT: u32 = 14;
/// How long the server may take for what it does at once. It is given up then: a server that says nothing, and does not close
/// the connection either, would hold the backup for ever.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end the backup mode. It writes WAL for that, but waits for no archiver.
const END_PATIENCE: Duration = Duration::from_secs(300);
/// How long it may take where the backup has failed already: it ends the mode by itself when the session ends.
const GIVE_UP_PATIENCE: Duration = Duration::from_secs(10);
/// How often the flags are looked at.
const TICK: Duration = Duration::from_millis(100);

/// A server in backup mode, by this session.
pub(in crate::backup) struct Session {
    connection: Connection,
    in_recovery: bool,
}

/// How a backup ended.
pub(in crate::backup) struct Stopped {
    pub(in crate::backup) end: Position,
    pub(in crate::backup) label: Vec<u8>,
}

fn text<'r>(rows: &'r Rows, column: &'static str) -> Result<&'r str, BackupStepError> {
    rows.get(0, column).ok_or(BackupStepError::Answer { column })
}

fn position(rows: &Rows) -> Result<Position, BackupStepError> {
    let answer = |column| BackupStepError::Answer { column };
    let lsn: Lsn = text(rows, "lsn")?.parse().map_err(|_| answer("lsn"))?;
    let timeline: Timeline = text(rows, "timeline")?.parse().map_err(|_| answer("timeline"))?;
    Ok(Position { timeline, lsn })
}

impl Session {
    /// Begins a backup. Waits for the checkpoint, unless it is told to stop.
    pub(in crate::backup) fn begin(
        job: &Job<'_>,
        label: &str,
        in_recovery: bool,
    ) -> Result<(Self, Position), BackupStepError> {
        let mut connection = job.server.connect(job.context.stop.clone())?;
        let major = connection.server_version().major();
        if major >= FIRST_IDLE_TIMEOUT {
            connection.query("SET idle_session_timeout TO 0")?;
        }
        let fast = job.options.immediate_checkpoint.unwrap_or(job.server.config.immediate_checkpoint);
        let label = quote::literal(label);
        let call = if major >= FIRST_NEW_NAMES {
            format!("pg_backup_start({label}, {fast})")
        } else {
            format!("pg_start_backup({label}, {fast}, false)")
        };
        let rows = connection.query(&format!(
            "SELECT b::text AS lsn, (SELECT timeline_id FROM pg_control_checkpoint())::text AS timeline FROM {call} AS b"
        ))?;
        let begin = position(&rows)?;
        // The checkpoint takes as long as it takes; nothing that comes does.
        connection.set_query_limit(Some(PATIENCE));
        Ok((Self { connection, in_recovery }, begin))
    }

    pub(in crate::backup) fn remote(&mut self) -> Remote<'_> {
        Remote::new(&mut self.connection)
    }

    pub(in crate::backup) fn major(&self) -> u32 {
        self.connection.server_version().major()
    }

    /// Ends the backup, unless it is told to stop. Does not wait for the archiver: that is our own work, and the server would
    /// wait for ever where `archive_command` fails.
    pub(in crate::backup) fn stop(self) -> Result<Stopped, BackupStepError> {
        self.stop_within(END_PATIENCE)
    }

    fn stop_within(mut self, patience: Duration) -> Result<Stopped, BackupStepError> {
        self.connection.set_query_limit(Some(patience));
        // On a standby the checkpoint may still be one of the timeline before.
        let timeline = if self.in_recovery {
            "(SELECT min_recovery_end_timeline FROM pg_control_recovery())"
        } else {
            "(SELECT timeline_id FROM pg_control_checkpoint())"
        };
        let call = if self.major() >= FIRST_NEW_NAMES {
            "pg_backup_stop(false)"
        } else {
            "pg_stop_backup(false, false)"
        };
        let rows = self
            .connection
            .query(&format!("SELECT lsn::text, {timeline}::text AS timeline, labelfile FROM {call}"))
            .map_err(lost)?;
        let stopped = Stopped { end: position(&rows)?, label: text(&rows, "labelfile")?.as_bytes().to_vec() };
        if !self.in_recovery {
            self.remote().switch_wal().map_err(lost)?;
        }
        Ok(stopped)
    }

    /// Ends the backup mode after a failure, which matters more than what the server says to it.
    pub(in crate::backup) fn give_up(mut self) {
        // A request to stop is a reason to be here.
        self.connection.set_stop_flag(Arc::default());
        if let Err(error) = self.stop_within(GIVE_UP_PATIENCE) {
            tracing::debug!(%error, "ending the backup mode of a failed backup");
        }
    }
}

/// What the server refuses is told as it is; everything else, but a request to stop, means that it is not there any more.
fn lost(error: QueryError) -> BackupStepError {
    match error {
        QueryError::Connection(ConnectionError::Stopped) => BackupStepError::Stopped,
        QueryError::Server(refusal) if !refusal.is_fatal() => QueryError::Server(refusal).into(),
        other => BackupStepError::SessionLost { source: Some(Box::new(other)) },
    }
}

/// A session that is kept alive while something else is done.
pub(in crate::backup) struct KeepAlive {
    end: Sender<()>,
    thread: JoinHandle<(Session, Result<(), QueryError>)>,
    halt: Arc<AtomicBool>,
}

impl KeepAlive {
    /// Sends a query every `interval` (never when it is zero). [`KeepAlive::halt`] is raised when the session is lost, which it
    /// also is when no answer comes in time, or when `stop` is raised; that ends a query that is under way, and the session.
    pub(in crate::backup) fn start(
        mut session: Session,
        interval: Duration,
        stop: Arc<AtomicBool>,
    ) -> std::io::Result<Self> {
        let halt = Arc::new(AtomicBool::new(stop.load(Ordering::Relaxed)));
        let raised = Arc::clone(&halt);
        let (end, ended) = mpsc::channel::<()>();
        session.connection.set_stop_flag(Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("keep-alive".to_owned()).spawn(move || {
            let mut last = Instant::now();
            let mut result = Ok(());
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                if stop.load(Ordering::Relaxed) {
                    raised.store(true, Ordering::Relaxed);
                }
                let is_halted = raised.load(Ordering::Relaxed);
                if result.is_ok() && !is_halted && !interval.is_zero() && last.elapsed() >= interval {
                    last = Instant::now();
                    result = session.connection.query("SELECT 1").map(|_| ());
                    if result.is_err() {
                        raised.store(true, Ordering::Relaxed);
                    }
                }
            }
            (session, result)
        })?;
        Ok(Self { end, thread, halt })
    }

    /// The flag at which the work beside is to stop.
    pub(in crate::backup) fn halt(&self) -> &Arc<AtomicBool> {
        &self.halt
    }

    /// The session again, unless it was lost.
    pub(in crate::backup) fn finish(self) -> Result<Session, BackupStepError> {
        let _ = self.end.send(());
        match self.thread.join() {
            Ok((session, Ok(()))) => Ok(session),
            Ok((_, Err(QueryError::Connection(ConnectionError::Stopped)))) => Err(BackupStepError::Stopped),
            Ok((_, Err(source))) => Err(BackupStepError::SessionLost { source: Some(Box::new(source)) }),
            Err(_) => Err(BackupStepError::SessionLost { source: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, Signal, kill_process};
    use tapster_protocol::testing::Cluster;

    use super::*;

    /// A session whose server process has been stopped, so that it is there and says nothing.
    fn silent(cluster: &Cluster) -> (Session, Pid) {
        let connection = cluster.connect();
        let pid = Pid::from_raw(connection.process_id().cast_signed()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        (Session { connection, in_recovery: false }, pid)
    }

    fn halted(keep: &KeepAlive) {
        let begin = Instant::now();
        while !keep.halt().load(Ordering::Relaxed) {
            assert!(begin.elapsed() < Duration::from_secs(30), "the copy is not stopped");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn pg_a_server_that_says_nothing_is_lost() {
        let Some(cluster) = Cluster::builder().start() else { return };
        let interval = Duration::from_millis(1);
        // Nobody asks to stop: it is given up by itself.
        let (mut session, pid) = silent(&cluster);
        session.connection.set_query_limit(Some(Duration::from_millis(300)));
        let keep = KeepAlive::start(session, interval, Arc::default()).unwrap();
        halted(&keep);
        let error = keep.finish().err().unwrap();
        let BackupStepError::SessionLost { source: Some(source) } = &error else { panic!("{error}") };
        assert_eq!(source.to_string(), "no answer from the server in time");
        kill_process(pid, Signal::CONT).unwrap();

        // Or on request, long before that.
        let (session, pid) = silent(&cluster);
        let stop = Arc::new(AtomicBool::new(false));
        let keep = KeepAlive::start(session, interval, Arc::clone(&stop)).unwrap();
        std::thread::sleep(TICK * 3);
        assert!(!keep.halt().load(Ordering::Relaxed));
        stop.store(true, Ordering::Relaxed);
        halted(&keep);
        let error = keep.finish().err().unwrap();
        assert!(matches!(error, BackupStepError::Stopped), "{error}");
        kill_process(pid, Signal::CONT).unwrap();

        // So does the end of the backup, after which the session is of no use.
        let (mut session, pid) = silent(&cluster);
        session.connection.set_stop_flag(stop);
        assert!(matches!(session.stop(), Err(BackupStepError::Stopped)));
        kill_process(pid, Signal::CONT).unwrap();
    }

    #[test]
    fn pg_a_request_to_stop_leaves_an_idle_session_usable() {
        let Some(cluster) = Cluster::builder().start() else { return };
        let mut connection = cluster.connect();
        let name = if connection.server_version().major() >= FIRST_NEW_NAMES {
            "pg_backup_start('x', true)"
        } else {
            "pg_start_backup('x', true, false)"
        };
        connection.query(&format!("SELECT {name}")).unwrap();
        let stop = Arc::new(AtomicBool::new(true));
        let session = Session { connection, in_recovery: false };
        let keep = KeepAlive::start(session, Duration::from_secs(600), stop).unwrap();
        halted(&keep);
        let mut session = keep.finish().unwrap();
        session.connection.set_stop_flag(Arc::default());
        let stopped = session.stop().unwrap();
        assert!(stopped.label.starts_with(b"START WAL LOCATION"));
    }
}
