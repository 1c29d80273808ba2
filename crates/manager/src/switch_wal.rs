//! Closing the server's current WAL segment, so that it can be archived.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tapster_protocol::QueryError;
use thiserror::Error;
use walfile::{SegmentName, Timeline};

use crate::event::Event;
use crate::remote::Remote;
use crate::server::ServerConnectError;
use crate::{Context, Server};

/// What a switch did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Switched {
    /// This segment was closed.
    Closed(SegmentName),
    /// The current segment holds nothing yet.
    NotNeeded,
    /// The server is a standby, whose primary decides when to switch.
    Standby,
}

/// A switch that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SwitchError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ServerConnectError),
    /// The server refused.
    #[error(transparent)]
    Query(#[from] QueryError),
}

impl Server {
    /// Closes the current segment of the primary: `conninfo`, or when that leads to a standby `primary_conninfo`, as Barman
    /// does; never the server that only WAL comes from. `force` makes a checkpoint first, so that there is something to close.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn switch_wal(&self, force: bool, context: &Context<'_>) -> Result<Switched, SwitchError> {
        let mut connection = self.connect_primary(context.stop.clone())?;
        let mut remote = Remote::new(&mut connection);
        if remote.in_recovery()? {
            return Ok(Switched::Standby);
        }
        if force {
            remote.checkpoint()?;
        }
        let size = remote.segment_size()?;
        let (Some(before), Some(timeline)) = (remote.current_lsn()?, remote.timeline()?) else {
            return Ok(Switched::NotNeeded);
        };
        remote.switch_wal()?;
        let after = remote.current_lsn()?.unwrap_or(before);
        Ok(if after.segment(size) > before.segment(size) {
            Switched::Closed(SegmentName::containing(timeline, before, size))
        } else {
            Switched::NotNeeded
        })
    }

    /// Archives until `wal` (or, without one, any further segment) is in the archive, for `max` at most. Returns whether it is,
    /// whoever archived it.
    pub fn wait_for_archive(&self, wal: Option<SegmentName>, max: Duration, context: &Context<'_>) -> bool {
        if let Some(wal) = wal {
            context.tell(Event::WaitingForWal { wal, server: self.name().to_owned(), max: Some(max) });
        }
        if let Err(error) = self.create_directories() {
            context.tell(Event::Warning(error.to_string()));
            return false;
        }
        let before = self.newest_archived();
        let mut warned = None;
        let patience = Instant::now() + max;
        loop {
            let archived = match self.archive_wal(&crate::ArchiveOptions::default(), context) {
                Ok(report) => report.archived() > 0,
                Err(error) => {
                    let text = error.to_string();
                    // What is wrong is said once, not at every attempt.
                    if !error.is_busy() && warned.as_ref() != Some(&text) {
                        context.tell(Event::Warning(text.clone()));
                        warned = Some(text);
                    }
                    false
                }
            };
            let arrived = match wal {
                Some(wal) => self.is_archived(wal),
                None => archived || self.has_come_since(&before),
            };
            if arrived || Instant::now() >= patience || context.stopped() {
                return arrived;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn has_come_since(&self, before: &BTreeMap<Timeline, SegmentName>) -> bool {
        self.newest_archived()
            .iter()
            .any(|(timeline, name)| before.get(timeline).is_none_or(|before| name > before))
    }

    /// An archive that cannot be read holds nothing new; the archiving tells what is wrong with it.
    fn newest_archived(&self) -> BTreeMap<Timeline, SegmentName> {
        self.wal_store().newest_segments().unwrap_or_default()
    }
}
