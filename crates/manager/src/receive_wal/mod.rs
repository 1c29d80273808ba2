//! Receiving the server's WAL into `streaming/`, and what belongs to it: the slot, the position, the running process.

mod beyond;
mod error;
mod reset;
mod resume;
mod slot;
mod synchronous;

pub(crate) use synchronous::names as standby_names;

pub use error::ReceiveWalError;
pub use reset::ReceiveReset;
pub use slot::{SlotCreated, SlotDropped};

pub(crate) use reset::newest_file;

use std::sync::Arc;

use tapster_catalog::Identity;
use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::segment_dir::{SegmentDir, SegmentDirOptions};
use tapster_protocol::receive::{
    ReceiveError, ReceiveEvent, ReceiveOptions, ReceiveReport, Receiver, StreamStart, ancestry,
    start_position,
};
use tapster_protocol::{SlotName, SystemIdentity};
use walfile::WalName;

use crate::event::Event;
use crate::fork::earlier_fork;
use crate::{Context, Server};

impl Server {
    /// Receives until the context's stop flag is set. Reconnects by itself; goes on where durable WAL ends. When the server
    /// no longer has what comes next, but the archive or `incoming/` has, it goes on behind that.
    ///
    /// # Errors
    /// What cannot be cured by trying again: see [`ReceiveWalError`].
    pub fn receive_wal(&self, context: &Context<'_>) -> Result<ReceiveReport, ReceiveWalError> {
        if !self.config.streaming_archiver {
            return Err(ReceiveWalError::Disabled);
        }
        self.create_directories()?;
        let _lock = self.receiver_lock()?;
        let slot = self.slot_name()?;
        let application = &self.config.streaming_archiver_name;
        let synchronous = self.prepare_server(slot.as_ref(), application, context)?;
        let connect = self.wal_streaming_options(application)?;
        let mut receive = ReceiveOptions::default();
        receive.slot = slot;
        receive.synchronous = synchronous;
        let receiver = Receiver::new(receive.clone());

        let mut beyond = None;
        loop {
            let (mut sink, start) = self.open_sink(beyond, receive.slot.as_ref(), context)?;
            let mut tell = |event: &ReceiveEvent<'_>| {
                if let Some(event) = translate(event) {
                    context.tell(event);
                }
            };
            let error = match receiver.run(&connect, &mut sink, start, &context.stop, &mut tell) {
                Ok(report) => {
                    sink.close()?;
                    context.tell(Event::ReceiveStopped { flushed: report.position });
                    return Ok(report);
                }
                Err(error) => error,
            };
            drop(sink);
            let ReceiveError::WalRemoved { position, timeline, .. } = &error else {
                return Err(error.into());
            };
            let missing = StreamStart::new(*timeline, *position);
            let Some(found) = self.find_beyond(missing, context)? else { return Err(error.into()) };
            context.tell(Event::Warning(found.to_string()));
            beyond = Some(found.next);
        }
    }

    /// Opens `streaming/` to go on at `beyond`, or where it ended, or when there is nothing yet where the slot begins.
    fn open_sink(
        &self,
        beyond: Option<StreamStart>,
        slot: Option<&SlotName>,
        context: &Context<'_>,
    ) -> Result<(SegmentDir, StreamStart), ReceiveWalError> {
        let application = &self.config.streaming_archiver_name;
        let mut connection = self.connect_wal_streaming(application, Arc::clone(&context.stop))?;
        let system = connection.identify_system()?;
        self.check_system(&system, context)?;
        let size = connection.wal_segment_size()?;
        let mut options = SegmentDirOptions::with_segment_size(size);
        options.begin_next = true;
        options.newest_timeline = true;
        options.system_id = Some(system.system_id.get());
        let (mut sink, resume) = SegmentDir::open(&self.layout().streaming, options)?;
        let known = match beyond {
            Some(beyond) => Some(beyond),
            None => self.resume_position(&resume, size)?,
        };
        let writer = known.and_then(|known| self.stored_system_id(known, size));
        if let Some(expected) = writer.filter(|writer| *writer != system.system_id) {
            return Err(ReceiveWalError::SystemId {
                server: self.name().to_owned(),
                expected: expected.to_string(),
                found: system.system_id.to_string(),
            });
        }
        let fork = match known.filter(|_| beyond.is_none()) {
            Some(known) => earlier_fork(&mut connection, &system, known, size)?,
            None => None,
        };
        let start = match (fork, known) {
            (Some(fork), _) => {
                context.tell(Event::Warning(fork.to_string()));
                self.refuse_other_history(&mut connection, fork.to)?;
                StreamStart::new(fork.to, fork.at.segment_start(size))
            }
            (None, Some(known)) => known,
            (None, None) => start_position(&mut connection, slot)?,
        };
        // No switch will bring the history of a timeline that we begin on, and recovery needs it.
        let stored =
            sink.has_history(start.timeline) || self.layout().wal(WalName::History(start.timeline)).exists();
        if (resume.from.is_none() || fork.is_some() || beyond.is_some()) && !stored {
            for file in ancestry(&mut connection, start.timeline)? {
                sink.store_history(file.timeline, &file.content)?;
            }
        }
        let begins = known.is_none() || fork.is_some() || beyond.is_some();
        if begins
            || sink.timeline() != Some(start.timeline)
            || sink.position().is_some_and(|at| at != start.position)
        {
            sink.begin(start.timeline);
        }
        Ok((sink, start.with_system_id(Some(system.system_id)).with_segment_size(size)))
    }

    /// The server WAL is to come from must be of the cluster the catalog belongs to, and of the one the other connection
    /// strings lead to.
    fn check_system(&self, system: &SystemIdentity, context: &Context<'_>) -> Result<(), ReceiveWalError> {
        let found = system.system_id.to_string();
        if let Some(identity) = Identity::load(&self.layout().identity())?
            && identity.system_id != found
        {
            return Err(ReceiveWalError::SystemId {
                server: self.name().to_owned(),
                expected: identity.system_id,
                found,
            });
        }
        let streaming = self.wal_streaming_key();
        let refuse = |normal: &'static str, other: Option<String>| match other {
            Some(expected) if expected != found => {
                Err(ReceiveWalError::TwoSystems { streaming, found: found.clone(), normal, expected })
            }
            _ => Ok(()),
        };
        let mut connection = self.connect_wal_host(Arc::clone(&context.stop))?;
        refuse(self.wal_key(), crate::Remote::new(&mut connection).system_id()?)?;
        if self.has_own_wal_host() {
            // WAL is received from the standby also while the primary is down.
            let other = self.connect(Arc::clone(&context.stop)).ok();
            refuse("conninfo", other.and_then(|mut other| crate::Remote::new(&mut other).system_id().ok()?))?;
        }
        Ok(())
    }

    fn receiver_lock(&self) -> Result<Lock, ReceiveWalError> {
        match Lock::try_acquire(&self.layout().lock(&LockName::ReceiveWal)) {
            Err(LockError::Busy { pid, .. }) => {
                Err(ReceiveWalError::Running { server: self.name().to_owned(), pid })
            }
            other => Ok(other?),
        }
    }
}

fn translate(event: &ReceiveEvent<'_>) -> Option<Event> {
    Some(match event {
        ReceiveEvent::Streaming { timeline, start } => {
            Event::StreamingStarted { start: *start, timeline: *timeline }
        }
        ReceiveEvent::Segment { timeline, end } => Event::SegmentFinished { end: *end, timeline: *timeline },
        ReceiveEvent::TimelineSwitch { to, at, .. } => Event::TimelineSwitched { at: *at, to: *to },
        ReceiveEvent::Disconnected { error, retry_in } => {
            Event::Disconnected { error: error.to_string(), retry_in: *retry_in }
        }
        _ => return None,
    })
}
