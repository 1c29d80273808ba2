//! Where receiving goes on.

use std::sync::Arc;

use tapster_catalog::SegmentDir;
use tapster_cloud::CloudError;
use tapster_protocol::receive::{ReceiveError, StreamStart, ancestry, start_position};
use tapster_protocol::{Connection, Mode, ServerVersion, SlotName, SystemIdentity};
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, WalName};

use super::super::CloudServer;
use super::{CloudReceiveError, CloudReceiveEvent, Run};
use crate::fork::earlier_fork;

impl CloudServer {
    /// The end of the newest segment that is archived.
    fn archived_end(&self, size: SegmentSize) -> Result<Option<(Timeline, Lsn)>, CloudError> {
        let newest = self.newest_segments()?.pop_last();
        Ok(newest.and_then(|(timeline, segment)| Some((timeline, segment.end(size).ok()?))))
    }

    /// The end of what is archived without a hole from `begin` on, the start of a segment.
    fn archived_through(&self, timeline: Timeline, begin: Lsn, size: SegmentSize) -> Result<Lsn, CloudError> {
        let mut end = begin;
        loop {
            let first = SegmentName::containing(timeline, end, size);
            let mut next = first;
            self.wals_from(first, |stored| {
                if stored.name == WalName::Segment(next) {
                    end = next.end(size).unwrap_or(end);
                    next = SegmentName::containing(timeline, end, size);
                }
                stored.name.segment().is_none_or(|segment| segment <= next)
            })?;
            // It goes on in the next directory.
            if next.hash_dir() == first.hash_dir() {
                return Ok(end);
            }
        }
    }
}

impl Run<'_> {
    /// Where the spool ends, of which `resume` says what is in it. With an empty one, where the archive ends, or where the slot
    /// begins if that is earlier: of segments that were on their way at the same time, a later one may have arrived alone.
    pub(super) fn start(
        &self,
        connection: &mut Connection,
        system: &SystemIdentity,
        resume: Option<(Timeline, Lsn)>,
        size: SegmentSize,
    ) -> Result<StreamStart, CloudReceiveError> {
        let here = match resume {
            None if self.options.from_slot => return self.slot_start(connection, system, size),
            None => match self.spool.position()? {
                Some((timeline, noted)) => {
                    Some((timeline, self.server.archived_through(timeline, noted, size)?))
                }
                None => None,
            },
            resume => resume.max(self.spool.position()?),
        };
        let known = match here {
            Some(here) => Some(here),
            None => self.server.archived_end(size)?,
        };
        let Some((timeline, position)) = known else { return self.slot_start(connection, system, size) };
        let known = StreamStart::new(timeline, position);
        let start = match earlier_fork(connection, system, known, size)? {
            Some(fork) => {
                (self.tell)(&CloudReceiveEvent::Warning(fork.to_string()));
                StreamStart::new(fork.to, fork.at.segment_start(size))
            }
            None => known,
        };
        if here.is_none() && self.options.slot.is_some() {
            let slot = self.slot_start(connection, system, size)?;
            if slot.timeline <= start.timeline && slot.position < start.position {
                return Ok(slot);
            }
        }
        Ok(start)
    }

    /// Where the slot begins; without one where the server is.
    fn slot_start(
        &self,
        connection: &mut Connection,
        system: &SystemIdentity,
        size: SegmentSize,
    ) -> Result<StreamStart, CloudReceiveError> {
        let Some(slot) = self.options.slot.as_ref().filter(|_| {
            // Its replication connection does not tell.
            connection.server_version() < ServerVersion::V15
        }) else {
            return Ok(start_position(connection, self.options.slot.as_ref())?);
        };
        let mut start = start_position(connection, None)?;
        match self.restart_by_sql(slot) {
            Ok(Some(restart)) => {
                start.position = restart.segment_start(size);
                if system.timeline != Timeline::FIRST {
                    let history = connection.timeline_history(system.timeline)?;
                    start.timeline = history.parse().map_err(ReceiveError::from)?.timeline_at(restart);
                }
                Ok(start)
            }
            Ok(None) => Ok(start),
            Err(error @ CloudReceiveError::Receive(ReceiveError::SlotMissing { .. })) => Err(error),
            Err(error) if self.options.from_slot => {
                Err(CloudReceiveError::SlotUnread { slot: slot.clone(), source: Box::new(error) })
            }
            Err(error) => {
                (self.tell)(&CloudReceiveEvent::Warning(format!(
                    "before PostgreSQL 15 only a connection to a database tells where the slot {slot} begins ({error}): what it \
                     keeps of an earlier time is not received"
                )));
                Ok(start)
            }
        }
    }

    fn restart_by_sql(&self, slot: &SlotName) -> Result<Option<Lsn>, CloudReceiveError> {
        let mut connection = Connection::connect_with_stop(&self.connect, Mode::Sql, Arc::clone(&self.stop))?;
        match connection.read_slot(slot)? {
            Some(state) => Ok(state.restart_lsn),
            None => Err(ReceiveError::SlotMissing { slot: slot.clone() }.into()),
        }
    }

    /// No switch will bring the history of a timeline that we begin on, and recovery needs it. One that is here must be the server's:
    /// two restores can each make a timeline of the same number.
    pub(super) fn store_ancestry(
        connection: &mut Connection,
        sink: &mut SegmentDir,
        timeline: Timeline,
    ) -> Result<(), CloudReceiveError> {
        if timeline == Timeline::FIRST {
            return Ok(());
        }
        let files = if sink.has_history(timeline) {
            match connection.timeline_history(timeline) {
                Ok(file) => vec![file],
                // The server has lost that of an ancestor.
                Err(error) if error.is_sqlstate("58P01") => Vec::new(),
                Err(error) => return Err(error.into()),
            }
        } else {
            ancestry(connection, timeline)?
        };
        for file in files {
            sink.store_history(file.timeline, &file.content)?;
        }
        Ok(())
    }
}
