//! A server that no longer has the WAL that comes next, where somebody else had it archived.
//!
//! The slot was lost (`max_slot_wal_keep_size`), or dropped, or the new primary of a failover never had it. When every
//! segment from our position on is in the archive or in `incoming/`, on the server's own line of timelines, nothing is
//! missing, and receiving goes on behind them. One that is not there ends this: a hole must be somebody's decision.

use std::fmt;
use std::io::Read as _;

use tapster_catalog::WalStore;
use tapster_catalog::durable;
use tapster_catalog::segment_dir::partial_agrees;
use tapster_catalog::wal_store::Place;
use tapster_protocol::receive::{ReceiveError, StreamStart};
use walfile::{LongPageHeader, Lsn, SegmentName, SegmentNo, SegmentSize, SystemId, TimelineHistory, WalName};

use super::ReceiveWalError;
use crate::{Context, Server};

/// Where receiving goes on, and what bridges the way there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beyond {
    missing: StreamStart,
    pub(super) next: StreamStart,
    segments: u64,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (StreamStart { timeline, position, .. }, next) = (self.missing, self.next);
        write!(f, "the server no longer has the WAL from {position} on timeline {timeline}; ")?;
        match self.segments {
            0 => write!(f, "timeline {}, which begins in the same segment, holds it too", next.timeline)?,
            1 => write!(f, "the segment has been archived already")?,
            count => write!(f, "{count} segments from there on have been archived already")?,
        }
        write!(f, ": receiving goes on at {} on timeline {}", next.position, next.timeline)
    }
}

/// The timeline whose segment recovery reads: that at the segment's end, for it repeats what its ancestors wrote before.
fn owner(history: &TimelineHistory, number: SegmentNo, size: SegmentSize) -> walfile::Timeline {
    history.timeline_at(Lsn::new(number.end(size).get().saturating_sub(1)))
}

impl Server {
    /// Where receiving can go on without a gap although the server has not got `missing`; `None` when WAL is missing.
    pub(super) fn find_beyond(
        &self,
        missing: StreamStart,
        context: &Context<'_>,
    ) -> Result<Option<Beyond>, ReceiveWalError> {
        let application = &self.config.streaming_archiver_name;
        let mut connection = self.connect_wal_streaming(application, context.stop.clone())?;
        let system = connection.identify_system()?;
        let size = connection.wal_segment_size()?;
        let history = match system.timeline.get() {
            1 => TimelineHistory::root(system.timeline),
            _ => connection.timeline_history(system.timeline)?.parse().map_err(ReceiveError::from)?,
        };
        // What was received must be of the line that goes on.
        let left = history.switch_from(missing.timeline);
        if !history.contains(missing.timeline) || left.is_some_and(|left| left < missing.position) {
            return Ok(None);
        }
        let first = missing.position.segment(size);
        let store = self.wal_store().with_segment_size(size);
        let mut number = first;
        while number <= system.position.segment(size)
            && self.is_whole(
                &store,
                number.name(owner(&history, number, size), size),
                size,
                system.system_id,
            )?
        {
            let Some(next) = number.next() else { break };
            number = next;
        }
        let segments = number.get().saturating_sub(first.get());
        let timeline = match segments {
            0 => owner(&history, number, size),
            _ => history.timeline_at(number.start(size)),
        };
        if segments == 0 && timeline == missing.timeline {
            return Ok(None);
        }
        if segments > 0 {
            let name = first.name(owner(&history, first, size), size);
            if !self.settle_partial(&store, first.name(missing.timeline, size), name)? {
                return Ok(None);
            }
        }
        let next = StreamStart::new(timeline, number.start(size));
        Ok(Some(Beyond { missing, next, segments }))
    }

    /// Whether the segment lies, whole and of this cluster, where the archiver takes it from or has put it.
    fn is_whole(
        &self,
        store: &WalStore<'_>,
        name: SegmentName,
        size: SegmentSize,
        system: SystemId,
    ) -> Result<bool, ReceiveWalError> {
        if store.find(name.into(), false)?.is_none() {
            return Ok(false);
        }
        let mut reader = store.open(name.into(), false)?;
        let mut first = [0; LongPageHeader::LEN];
        if reader.read_exact(&mut first).is_err() {
            return Ok(false);
        }
        let header = LongPageHeader::parse(&first);
        Ok(header.is_ok_and(|header| {
            header.system_id == system
                && header.segment_size == size
                && name.start(size).is_ok_and(|start| start == header.page.address)
        }))
    }

    /// Whether the beginning of a segment that we have received agrees with the `whole` one. When that one is archived, the
    /// beginning is of no more use.
    fn settle_partial(
        &self,
        store: &WalStore<'_>,
        ours: SegmentName,
        whole: SegmentName,
    ) -> Result<bool, ReceiveWalError> {
        let partial = self.layout().streaming.join(WalName::Partial(ours).to_string());
        if ours != whole || !partial.exists() {
            // Of another timeline, it is a past of its own.
            return Ok(true);
        }
        let read = |source| tapster_catalog::WalStoreError::Read { path: partial.clone(), source };
        if !partial_agrees(&partial, store.open(whole.into(), false)?).map_err(read)? {
            return Ok(false);
        }
        if store.find(whole.into(), false)?.is_some_and(|found| found.place == Place::Archive) {
            durable::remove_file(self.catalog.disk(), &partial)?;
        }
        Ok(true)
    }
}
