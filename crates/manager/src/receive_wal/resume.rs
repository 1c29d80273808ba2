//! Where receiving goes on.

use std::io::Read as _;

use tapster_catalog::segment_dir::Resume;
use tapster_protocol::receive::StreamStart;
use walfile::{LongPageHeader, Lsn, SegmentName, SegmentSize, SystemId};

use super::ReceiveWalError;
use crate::Server;

impl Server {
    /// `streaming/` says where to go on; when it is empty, what was archived from it does: WAL must not be skipped because the
    /// archiver was faster than the receiver's restart. `None` when there is no WAL at all, which an archive that cannot be
    /// read does not say.
    pub(super) fn resume_position(
        &self,
        resume: &Resume,
        size: SegmentSize,
    ) -> Result<Option<StreamStart>, ReceiveWalError> {
        if let Some((timeline, position)) = resume.from {
            return Ok(Some(StreamStart::new(timeline, position)));
        }
        let newest = self.wal_store().newest_segments()?;
        let Some((timeline, last)) = newest.into_iter().next_back() else { return Ok(None) };
        Ok(last.end(size).ok().map(|end| StreamStart::new(timeline, end)))
    }

    /// The cluster that wrote what was received last. There is no `identity.json` before the first backup, and WAL of two
    /// clusters must not follow one another in one archive then either.
    pub(super) fn stored_system_id(&self, known: StreamStart, size: SegmentSize) -> Option<SystemId> {
        let before = Lsn::new(known.position.get().saturating_sub(1));
        let store = self.wal_store();
        // The segment that goes on, or when nothing of it has come yet the one before it, or after a reset what is archived.
        let near = [known.position, before].map(|at| SegmentName::containing(known.timeline, at, size));
        let archived = store.newest_segments().unwrap_or_default();
        near.into_iter().chain(archived.into_values().rev()).find_map(|name| {
            let mut first = Vec::with_capacity(64);
            store.open(name.into(), true).ok()?.take(64).read_to_end(&mut first).ok()?;
            Some(LongPageHeader::parse(&first).ok()?.system_id)
        })
    }
}
