//! One connection of a receiver, from IDENTIFY_SYSTEM to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use walfile::{Lsn, SegmentSize, Timeline, WalSink};

use super::classify::{Attempt, classify};
use super::error::ReceiveError;
use super::event::{ReceiveEvent, ReceiveObserver};
use super::options::ReceiveOptions;
use super::progress::{Due, Progress, Settings};
use super::receiver::EndReason;
use super::start::StreamStart;
use crate::{
    ConnectOptions, Connection, ConnectionError, Mode, NextTimeline, QueryError, ReplicationError,
    StartReplication, SystemId, SystemIdentity, WalEvent, WalStream,
};

/// Nothing for this long after some WAL, and the sink gets time for itself.
const QUIET: Duration = Duration::from_millis(100);

/// What outlives a connection.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) timeline: Timeline,
    pub(super) written: Lsn,
    flushed: Lsn,
    system_id: Option<SystemId>,
    segment_size: Option<SegmentSize>,
    /// Whether a stream was ever running.
    pub(super) streamed: bool,
}

impl Position {
    pub(super) fn new(start: StreamStart, flushed: Lsn) -> Self {
        Self {
            timeline: start.timeline,
            written: start.position,
            flushed: flushed.min(start.position),
            system_id: start.system_id,
            segment_size: start.segment_size,
            streamed: false,
        }
    }
}

pub(super) struct Session<'a> {
    pub(super) options: &'a ReceiveOptions,
    pub(super) sink: &'a mut dyn WalSink,
    pub(super) position: &'a mut Position,
    pub(super) stop: &'a Arc<AtomicBool>,
    pub(super) observer: &'a mut dyn ReceiveObserver,
}

/// How a stream on one timeline ended.
enum StreamEnd {
    Done(EndReason),
    Next(NextTimeline),
}

impl Session<'_> {
    pub(super) fn run(&mut self, connect: &ConnectOptions) -> Result<EndReason, ReceiveError> {
        if self.options.end_position.is_some_and(|end| self.position.written >= end) {
            return Ok(EndReason::EndPosition);
        }
        let mut connection =
            Connection::connect_with_stop(connect, Mode::PhysicalReplication, Arc::clone(self.stop))?;
        loop {
            let (identity, segment_size) = self.identify(&mut connection)?;
            match self.stream(&mut connection, &identity, segment_size)? {
                StreamEnd::Done(reason) => return Ok(reason),
                StreamEnd::Next(next) => self.switch(&mut connection, next, segment_size)?,
            }
        }
    }

    /// Asked before every stream: behind one address there may be another server by now.
    fn identify(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(SystemIdentity, SegmentSize), ReceiveError> {
        let identity = connection.identify_system()?;
        let found = identity.system_id;
        match self.position.system_id {
            Some(expected) if expected != found => return Err(ReceiveError::SystemId { expected, found }),
            _ => self.position.system_id = Some(found),
        }
        let found = connection.wal_segment_size()?;
        match self.position.segment_size {
            Some(expected) if expected != found => return Err(ReceiveError::SegmentSize { expected, found }),
            _ => self.position.segment_size = Some(found),
        }
        self.check_end(connection, &identity, found)?;
        self.observer.event(&ReceiveEvent::Connected {
            system_id: identity.system_id,
            version: connection.server_version(),
            timeline: identity.timeline,
            position: identity.position,
        });
        Ok((identity, found))
    }

    /// Whether the server has got as far as we have.
    fn check_end(
        &self,
        connection: &mut Connection,
        server: &SystemIdentity,
        size: SegmentSize,
    ) -> Result<(), ReceiveError> {
        let Position { timeline: ours, written: position, .. } = *self.position;
        let (found, end) = (server.timeline, server.position);
        if found > ours || (found == ours && end >= position) {
            return Ok(());
        }
        if in_recovery(connection)? {
            // It will get there; within a segment the stream just begins with what we have.
            if found == ours && end >= position.segment_start(size) {
                return Ok(());
            }
            return Err(ReceiveError::StandbyBehind { position, ours, server: end, found });
        }
        // A primary has lost WAL, and writes other WAL in its place.
        Err(if found < ours {
            ReceiveError::TimelineAhead { ours, found }
        } else {
            ReceiveError::AheadOfServer { position, server: end }
        })
    }

    fn stream(
        &mut self,
        connection: &mut Connection,
        server: &SystemIdentity,
        segment_size: SegmentSize,
    ) -> Result<StreamEnd, ReceiveError> {
        let begin = Instant::now();
        let timeline = self.position.timeline;
        let written = self.position.written;
        // From the start of the segment, as `pg_receivewal` does, and not from where we are: after a failover the new
        // primary may have left our timeline a little before that point, and would refuse it.
        let start = StartReplication::new(written.segment_start(segment_size))
            .with_slot(self.options.slot.clone())
            .with_timeline(timeline);
        let attempt = Attempt { slot: self.options.slot.as_ref(), position: written, timeline, server };
        let mut stream = connection.start_replication(&start).map_err(|error| classify(error, attempt))?;
        self.observer.event(&ReceiveEvent::Streaming { timeline, start: written });
        let mut progress =
            Progress::new(self.settings(segment_size), written, self.position.flushed, begin.elapsed());
        let mut server_end = server.position;
        // Whether the sink has been told that nothing came.
        let mut quiet = false;
        loop {
            let mut pause = false;
            let wait = progress.wait(begin.elapsed());
            match stream.next(if quiet { wait } else { wait.min(QUIET) }) {
                Ok(WalEvent::Data { start, server_end: end, bytes }) => {
                    server_end = end;
                    let accepted = progress.accept(start, bytes.len(), begin.elapsed())?;
                    if accepted.skip > 0 {
                        let again = bytes.get(..accepted.skip).unwrap_or_default();
                        let position = start;
                        let seen = self.sink.received_again(start, again);
                        seen.map_err(|source| ReceiveError::Sink { position, source })?;
                    }
                    let new = bytes.get(accepted.skip..accepted.skip + accepted.take).unwrap_or_default();
                    self.write(accepted.at, new, segment_size)?;
                    progress.set_flushed(self.sink.flushed());
                    quiet = false;
                }
                Ok(WalEvent::Keepalive { server_end: end, reply_requested }) => {
                    server_end = end;
                    self.position.streamed = true;
                    progress.heard(begin.elapsed());
                    if reply_requested {
                        progress.asked();
                    }
                }
                Ok(WalEvent::Idle) => {
                    pause = true;
                    if !quiet {
                        let position = progress.written();
                        self.sink.idle().map_err(|source| ReceiveError::Sink { position, source })?;
                        quiet = true;
                    }
                    progress.set_flushed(self.sink.flushed());
                }
                Ok(WalEvent::EndOfTimeline(Some(next))) => return Ok(StreamEnd::Next(next)),
                Ok(WalEvent::EndOfTimeline(None)) => return Err(ReplicationError::Ended.into()),
                Err(ReplicationError::Connection(ConnectionError::Stopped)) => {
                    return self.finish(stream, progress, begin, EndReason::Stopped);
                }
                Err(error) => return Err(classify(error, attempt)),
            }
            if progress.is_complete() {
                return self.finish(stream, progress, begin, EndReason::EndPosition);
            }
            if self.stop.load(Ordering::Relaxed) {
                return self.finish(stream, progress, begin, EndReason::Stopped);
            }
            match progress.due(begin.elapsed(), pause) {
                Due::Nothing => {}
                Due::Silent => {
                    return Err(ReceiveError::Silent(self.options.server_timeout.unwrap_or_default()));
                }
                Due::Status { flush, ping } => {
                    if flush {
                        self.flush(&mut progress)?;
                    }
                    self.report(&mut stream, &mut progress, ping, begin.elapsed(), server_end)?;
                }
            }
        }
    }

    fn settings(&self, segment_size: SegmentSize) -> Settings {
        let mut settings = Settings::new(segment_size);
        settings.interval = self.options.status_interval;
        settings.synchronous = self.options.synchronous;
        settings.reports_flush = self.options.slot.is_some() || self.options.synchronous;
        settings.reports_apply = self.options.report_apply;
        settings.end = self.options.end_position;
        settings.silence = self.options.server_timeout;
        settings
    }

    fn write(&mut self, at: Lsn, bytes: &[u8], segment_size: SegmentSize) -> Result<(), ReceiveError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.position.streamed = true;
        self.sink.write(at, bytes).map_err(|source| ReceiveError::Sink { position: at, source })?;
        self.position.written = at.saturating_add(bytes.len() as u64);
        let mut end = at.segment(segment_size).end(segment_size);
        while end <= self.position.written {
            self.observer.event(&ReceiveEvent::Segment { timeline: self.position.timeline, end });
            match end.checked_add(segment_size.bytes()) {
                Some(next) => end = next,
                None => break,
            }
        }
        Ok(())
    }

    fn flush(&mut self, progress: &mut Progress) -> Result<(), ReceiveError> {
        let position = progress.written();
        let flushed = self.sink.flush().map_err(|source| ReceiveError::Sink { position, source })?;
        progress.set_flushed(flushed);
        self.position.flushed = progress.flushed();
        Ok(())
    }

    fn report(
        &mut self,
        stream: &mut WalStream<'_>,
        progress: &mut Progress,
        ping: bool,
        now: Duration,
        server_end: Lsn,
    ) -> Result<(), ReceiveError> {
        stream.send_status(&progress.report(ping, now))?;
        let (write, flush) = (progress.written(), progress.flushed());
        self.observer.event(&ReceiveEvent::Status { write, flush, server_end });
        Ok(())
    }

    /// A clean end: everything flushed, told to the server, and the stream closed in order.
    fn finish(
        &mut self,
        mut stream: WalStream<'_>,
        mut progress: Progress,
        begin: Instant,
        reason: EndReason,
    ) -> Result<StreamEnd, ReceiveError> {
        self.flush(&mut progress)?;
        // The WAL is safe; a server that is gone by now only has to keep it a little longer.
        let told = stream.send_status(&progress.report(false, begin.elapsed()));
        if let Err(error) = told.and_then(|()| stream.stop()) {
            tracing::debug!("the stream did not end in order: {error}");
        }
        Ok(StreamEnd::Done(reason))
    }

    /// From the end of one timeline to the beginning of the next.
    fn switch(
        &mut self,
        connection: &mut Connection,
        next: NextTimeline,
        segment_size: SegmentSize,
    ) -> Result<(), ReceiveError> {
        let from = self.position.timeline;
        let reached = self.position.written;
        let senseless =
            || ReceiveError::NextTimeline { timeline: from, reached, next: next.timeline, start: next.start };
        if next.timeline <= from || next.start > reached {
            return Err(senseless());
        }
        let file = connection.timeline_history(next.timeline)?;
        let history = file.parse()?;
        if history.switch_from(from) != Some(next.start) || history.begin() != next.start {
            return Err(senseless());
        }
        self.sink
            .switch_timeline(&history, &file.content)
            .map_err(|source| ReceiveError::Sink { position: next.start, source })?;
        self.position.timeline = next.timeline;
        self.position.written = next.start.segment_start(segment_size);
        self.position.flushed = self.sink.flushed().min(self.position.written);
        self.observer.event(&ReceiveEvent::TimelineSwitch { from, to: next.timeline, at: next.start });
        Ok(())
    }
}

/// Whether the server is a standby. A replication connection takes no query, but says so from PostgreSQL 14 on; what all
/// transactions of a standby are, they may be elsewhere too, but hardly those of a primary that is received from.
fn in_recovery(connection: &mut Connection) -> Result<bool, QueryError> {
    match connection.parameter("in_hot_standby") {
        Some(value) => Ok(value == "on"),
        None => Ok(connection.show("transaction_read_only")? == "on"),
    }
}
