//! Receiving the server's WAL into `streaming/`, and what belongs to it: the slot, the position, the running process.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::segment_dir::{Resume, SegmentDir, SegmentDirError, SegmentDirOptions};
use tapster_catalog::{Identity, IdentityError, WalStore, WalStoreError, durable};
use tapster_protocol::receive::{
    ReceiveError, ReceiveEvent, ReceiveOptions, ReceiveReport, Receiver, StreamStart, ancestry,
    start_position,
};
use tapster_protocol::{CreateSlot, QueryError, SlotName, SlotNameError};
use thiserror::Error;
use walfile::{LongPageHeader, Lsn, SegmentName, SegmentSize, SystemId, WalName};

use crate::event::Event;
use crate::fork::earlier_fork;
use crate::remote::Remote;
use crate::server::ServerConnectError;
use crate::{Context, Server};

/// A receiver that could not start, or ended with an error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReceiveWalError {
    /// `streaming_archiver` is off.
    #[error(
        "Unable to start receive-wal process: streaming_archiver option set to 'off' in barman configuration file"
    )]
    Disabled,
    /// Another process receives for the same server.
    #[error("Another receive-wal process is already running for server {server}.")]
    Running {
        /// Server name.
        server: String,
        /// Its process id.
        pid: Option<u32>,
    },
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ServerConnectError),
    /// A query failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// `slot_name` is no name of a slot.
    #[error(transparent)]
    SlotName(#[from] SlotNameError),
    /// The slot is not there.
    #[error("replication slot '{slot}' does not exist on server '{server}'")]
    SlotMissing {
        /// The slot.
        slot: String,
        /// Server name.
        server: String,
    },
    /// Somebody else uses the slot.
    #[error("replication slot '{slot}' is already in use")]
    SlotActive {
        /// The slot.
        slot: String,
    },
    /// The server writes too little WAL.
    #[error("wal_level of server '{server}' is 'minimal', which is too little for an archive")]
    WalLevel {
        /// Server name.
        server: String,
    },
    /// Another cluster answers.
    #[error("system identifier of server '{server}' is {found}, the catalog holds WAL of {expected}")]
    SystemId {
        /// Server name.
        server: String,
        /// In `identity.json`.
        expected: String,
        /// The server's.
        found: String,
    },
    /// `streaming/` cannot be used.
    #[error(transparent)]
    Directory(#[from] SegmentDirError),
    /// The stream ended with an error.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// A directory of the catalog or a file in `streaming/` cannot be made.
    #[error(transparent)]
    Durable(#[from] durable::DurableError),
    /// The archive, which says where an empty `streaming/` goes on, cannot be read.
    #[error(transparent)]
    Archive(#[from] WalStoreError),
    /// `identity.json` cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The receiver's last file is ahead of the server.
    #[error("the receive-wal position is ahead of the server: {file} is beyond {server}")]
    Ahead {
        /// The newest file in `streaming/`.
        file: SegmentName,
        /// The server's position.
        server: Lsn,
    },
}

/// What [`Server::create_slot`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlotCreated {
    /// It is there now.
    Created,
    /// It was there before.
    Exists,
}

/// What [`Server::drop_slot`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlotDropped {
    /// It is gone.
    Dropped,
    /// There was none.
    Missing,
    /// Somebody uses it.
    InUse,
}

/// What [`Server::reset_receive_wal`] did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReceiveReset {
    /// The position was right.
    Aligned,
    /// The position was moved.
    Reset {
        /// A `.partial` that was removed.
        removed: Option<PathBuf>,
        /// The empty `.partial` that marks the new position.
        created: PathBuf,
    },
}

impl Server {
    /// The configured slot.
    ///
    /// # Errors
    /// When the configured name cannot be a slot's.
    pub fn slot_name(&self) -> Result<Option<SlotName>, SlotNameError> {
        self.config.slot_name.as_deref().map(SlotName::new).transpose()
    }

    /// Receives until the context's stop flag is set. Reconnects by itself; goes on where durable WAL ends.
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
        let identity = Identity::load(&self.layout().identity())?;
        let application = self.config.streaming_archiver_name.clone();
        let synchronous = self.prepare_server(slot.as_ref(), &application, context)?;

        let mut connection = self.connect_streaming(&application, context.stop.clone())?;
        let system = connection.identify_system()?;
        if let Some(identity) = identity
            && identity.system_id != system.system_id.to_string()
        {
            return Err(ReceiveWalError::SystemId {
                server: self.name().to_owned(),
                expected: identity.system_id,
                found: system.system_id.to_string(),
            });
        }
        let size = connection.wal_segment_size()?;
        let mut options = SegmentDirOptions::with_segment_size(size);
        options.begin_next = true;
        options.newest_timeline = true;
        options.system_id = Some(system.system_id.get());
        let (mut sink, resume) = SegmentDir::open(&self.layout().streaming, options)?;
        let known = self.resume_position(&resume, size)?;
        let writer = known.and_then(|known| self.stored_system_id(known, size));
        if let Some(expected) = writer.filter(|writer| *writer != system.system_id) {
            return Err(ReceiveWalError::SystemId {
                server: self.name().to_owned(),
                expected: expected.to_string(),
                found: system.system_id.to_string(),
            });
        }
        let fork = match known {
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
            (None, None) => start_position(&mut connection, slot.as_ref())?,
        };
        if known.is_none() || fork.is_some() {
            sink.begin(start.timeline);
        }
        let start = start.with_system_id(Some(system.system_id)).with_segment_size(size);
        // No switch will bring the history of a timeline that we begin on, and recovery needs it.
        let stored =
            sink.has_history(start.timeline) || self.layout().wal(WalName::History(start.timeline)).exists();
        if (resume.from.is_none() || fork.is_some()) && !stored {
            for file in ancestry(&mut connection, start.timeline)? {
                sink.store_history(file.timeline, &file.content)?;
            }
        }
        if sink.timeline() != Some(start.timeline) || sink.position().is_some_and(|at| at != start.position) {
            sink.begin(start.timeline);
        }
        drop(connection);

        let mut receive = ReceiveOptions::default();
        receive.slot = slot;
        receive.synchronous = synchronous;
        let connect = self.streaming_options(&application)?;
        let report = Receiver::new(receive).run(
            &connect,
            &mut sink,
            start,
            &context.stop,
            &mut |event: &ReceiveEvent<'_>| {
                if let Some(event) = translate(event) {
                    context.tell(event);
                }
            },
        )?;
        sink.close()?;
        context.tell(Event::ReceiveStopped { flushed: report.position });
        Ok(report)
    }

    /// `streaming/` says where to go on; when it is empty, what was archived from it does: WAL must not be skipped because the
    /// archiver was faster than the receiver's restart. `None` when there is no WAL at all, which an archive that cannot be
    /// read does not say.
    fn resume_position(
        &self,
        resume: &Resume,
        size: SegmentSize,
    ) -> Result<Option<StreamStart>, ReceiveWalError> {
        if let Some((timeline, position)) = resume.from {
            return Ok(Some(StreamStart::new(timeline, position)));
        }
        let newest = WalStore::new(self.layout()).newest_segments()?;
        let Some((timeline, last)) = newest.into_iter().next_back() else { return Ok(None) };
        Ok(last.end(size).ok().map(|end| StreamStart::new(timeline, end)))
    }

    /// The cluster that wrote what was received last. There is no `identity.json` before the first backup, and WAL of two
    /// clusters must not follow one another in one archive then either.
    fn stored_system_id(&self, known: StreamStart, size: SegmentSize) -> Option<SystemId> {
        let before = Lsn::new(known.position.get().saturating_sub(1));
        let store = WalStore::new(self.layout());
        // The segment that goes on, or when nothing of it has come yet the one before it, or after a reset what is archived.
        let near = [known.position, before].map(|at| SegmentName::containing(known.timeline, at, size));
        let archived = store.newest_segments().unwrap_or_default();
        near.into_iter().chain(archived.into_values().rev()).find_map(|name| {
            let mut first = Vec::with_capacity(64);
            store.open(name.into(), true).ok()?.take(64).read_to_end(&mut first).ok()?;
            Some(LongPageHeader::parse(&first).ok()?.system_id)
        })
    }

    fn receiver_lock(&self) -> Result<Lock, ReceiveWalError> {
        match Lock::try_acquire(&self.layout().lock(&LockName::ReceiveWal)) {
            Err(LockError::Busy { pid, .. }) => {
                Err(ReceiveWalError::Running { server: self.name().to_owned(), pid })
            }
            other => Ok(other?),
        }
    }

    /// Looks at the server over a normal connection; makes the slot when it is to be made. Returns whether the server
    /// waits for us as a synchronous standby.
    fn prepare_server(
        &self,
        slot: Option<&SlotName>,
        application: &str,
        context: &Context<'_>,
    ) -> Result<bool, ReceiveWalError> {
        let mut connection = self.connect(context.stop.clone())?;
        let mut remote = Remote::new(&mut connection);
        if remote.show("wal_level")? == "minimal" {
            return Err(ReceiveWalError::WalLevel { server: self.name().to_owned() });
        }
        let synchronous = names_standby(&remote.show("synchronous_standby_names")?, application);
        let Some(slot) = slot else { return Ok(synchronous) };
        match remote.slot(slot.as_str())? {
            Some(status) if status.active => {
                return Err(ReceiveWalError::SlotActive { slot: slot.to_string() });
            }
            Some(_) => {}
            None if self.config.create_slot_auto => {
                self.create_slot(context)?;
            }
            None => {
                return Err(ReceiveWalError::SlotMissing {
                    slot: slot.to_string(),
                    server: self.name().to_owned(),
                });
            }
        }
        Ok(synchronous)
    }

    /// Creates the configured slot; it keeps WAL from now on.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn create_slot(&self, context: &Context<'_>) -> Result<SlotCreated, ReceiveWalError> {
        let Some(slot) = self.slot_name()? else { return Err(self.no_slot()) };
        let mut connection =
            self.connect_streaming(&self.config.streaming_archiver_name, context.stop.clone())?;
        match connection.create_physical_slot(&slot, &CreateSlot::default().with_reserve_wal(true)) {
            Ok(()) => Ok(SlotCreated::Created),
            Err(error) if error.is_sqlstate("42710") => Ok(SlotCreated::Exists),
            Err(error) => Err(error.into()),
        }
    }

    /// Drops the configured slot.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn drop_slot(&self, context: &Context<'_>) -> Result<SlotDropped, ReceiveWalError> {
        let Some(slot) = self.slot_name()? else { return Err(self.no_slot()) };
        let mut connection =
            self.connect_streaming(&self.config.streaming_archiver_name, context.stop.clone())?;
        match connection.drop_slot(&slot) {
            Ok(()) => Ok(SlotDropped::Dropped),
            Err(error) if error.is_sqlstate("42704") => Ok(SlotDropped::Missing),
            Err(error) if error.is_sqlstate("55006") => Ok(SlotDropped::InUse),
            Err(error) => Err(error.into()),
        }
    }

    fn no_slot(&self) -> ReceiveWalError {
        ReceiveWalError::SlotMissing { slot: String::new(), server: self.name().to_owned() }
    }

    /// Moves the position of the receiver to where the slot (or, without one, the server) is now. WAL between the two is
    /// given up, so this is only for when the receiver cannot go on.
    ///
    /// # Errors
    /// When a receiver runs, the server cannot be reached, or our newest file is ahead of the server.
    pub fn reset_receive_wal(&self, context: &Context<'_>) -> Result<ReceiveReset, ReceiveWalError> {
        if !self.config.streaming_archiver {
            return Err(ReceiveWalError::Disabled);
        }
        self.create_directories()?;
        let _lock = self.receiver_lock()?;
        let slot = self.slot_name()?;
        let mut connection =
            self.connect_streaming(&self.config.streaming_archiver_name, context.stop.clone())?;
        let size = connection.wal_segment_size()?;
        let identity = connection.identify_system()?;
        let target = start_position(&mut connection, slot.as_ref())?;
        let wanted = SegmentName::containing(target.timeline, target.position, size);
        let streaming = &self.layout().streaming;
        let newest = newest_file(streaming);
        if let Some((name, _)) = newest {
            if name == wanted {
                return Ok(ReceiveReset::Aligned);
            }
            if name.timeline() >= target.timeline
                && name.start(size).is_ok_and(|start| start > identity.position)
            {
                return Err(ReceiveWalError::Ahead { file: name, server: identity.position });
            }
        }
        let disk = self.catalog.disk();
        let removed = match newest {
            // What is left of an older timeline is for the archive.
            Some((name, true)) if name.timeline() >= target.timeline => {
                let path = streaming.join(WalName::Partial(name).to_string());
                durable::remove_file(disk, &path)?;
                Some(path)
            }
            _ => None,
        };
        let created = streaming.join(WalName::Partial(wanted).to_string());
        durable::write_new(disk, &created, &[], Some(0o600))?;
        Ok(ReceiveReset::Reset { removed, created })
    }
}

/// The newest segment in a directory and whether only its beginning is there.
fn newest_file(dir: &Path) -> Option<(SegmentName, bool)> {
    let names = std::fs::read_dir(dir).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| match name.parse() {
            Ok(WalName::Segment(segment)) => Some((segment, false)),
            Ok(WalName::Partial(segment)) => Some((segment, true)),
            _ => None,
        })
        .max()
}

/// Whether `synchronous_standby_names` names `application`: `*`, `a, b`, `2 (a, b)`, `FIRST 1 (a)`, `ANY 1 ("A b", c)`.
fn names_standby(setting: &str, application: &str) -> bool {
    let list = setting.split_once('(').map_or(setting, |(_, rest)| rest.trim_end().trim_end_matches(')'));
    list.split(',').map(str::trim).any(|name| {
        match name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\"") == application,
            None => name == "*" || name.eq_ignore_ascii_case(application),
        }
    })
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

#[cfg(test)]
mod tests {
    use super::names_standby;

    #[test]
    fn synchronous_names() {
        for setting in ["*", "barman", "a, barman", "2 (a, BARMAN)", "ANY 1 (\"barman\")", "FIRST 1 (x, *)"] {
            assert!(names_standby(setting, "barman"), "{setting}");
        }
        for setting in ["", "a", "\"Barman\"", "2 (a, b)", "barman2"] {
            assert!(!names_standby(setting, "barman"), "{setting}");
        }
    }
}
