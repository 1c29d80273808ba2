//! What the index of the archive knows about the segments of a plan: whether they can be read, and when transactions ended in
//! them. Segments of which it knows nothing are read, once.

use std::collections::{BTreeMap, BTreeSet};

use tapster_catalog::wal_index::{Completeness, HashDir, SegmentContent, WalIndex, WalIndexError, scan_file};
use tapster_catalog::wal_store::Place;
use walfile::record::Timestamp;
use walfile::{Lsn, SegmentName};

use super::{RestorePlanError, WalPlan};
use crate::{Context, Server};

/// What a plan needs to know about a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// How much of it can be read.
    pub(super) completeness: Completeness,
    /// Where that ends.
    pub(super) valid_to: Lsn,
    /// Where the last record begins; invalid without one.
    pub(super) last: Lsn,
    /// The earliest and the latest time of a commit.
    pub(super) commit_times: Option<(Timestamp, Timestamp)>,
    /// Whether there may be an end of a transaction that these times do not tell: a rollback, a record that goes on behind it.
    pub(super) has_others: bool,
}

impl From<&SegmentContent> for Facts {
    fn from(content: &SegmentContent) -> Self {
        Self {
            completeness: content.completeness,
            valid_to: content.valid_to,
            last: content.last,
            commit_times: content.commit_times,
            has_others: content.aborts > 0 || content.is_uncertain(),
        }
    }
}

/// By segment; one that vanished meanwhile is not in it.
pub(super) type SegmentFacts = BTreeMap<SegmentName, Facts>;

impl Server {
    /// Where the last record begins that a plan's whole segments hold to its end; `None` when nobody can tell.
    ///
    /// # Errors
    /// As [`Self::segment_facts`].
    pub(crate) fn last_record_of(
        &self,
        wal: &WalPlan,
        context: &Context<'_>,
    ) -> Result<Option<Lsn>, RestorePlanError> {
        let end = WalPlan { segments: wal.segments.iter().rev().take(2).copied().collect(), ..wal.clone() };
        let last = self.segment_facts(&end, context)?.values().map(|facts| facts.last).max();
        Ok(last.filter(|last| !last.is_invalid()))
    }

    /// The facts about the whole segments of a plan.
    ///
    /// # Errors
    /// When a segment cannot be read, or somebody asked to stop. One that is damaged is no error.
    pub(super) fn segment_facts(
        &self,
        wal: &WalPlan,
        context: &Context<'_>,
    ) -> Result<SegmentFacts, RestorePlanError> {
        let wanted: BTreeSet<SegmentName> = wal.segments.iter().copied().collect();
        let dirs: BTreeSet<HashDir> = wanted.iter().filter_map(|name| name.hash_dir().parse().ok()).collect();
        let stop = std::sync::Arc::clone(&context.stop);
        let index = WalIndex::new(self.catalog.disk(), self.layout(), context.now(), &stop)
            .with_workers(crate::processors())
            .with_custom_filter(self.custom.as_ref())
            .with_gpg(Some(&self.gpg));
        let mut facts = SegmentFacts::new();
        for dir in dirs {
            match index.load(dir) {
                Ok(found) => facts.extend(
                    found
                        .segments
                        .iter()
                        .filter(|summary| wanted.contains(&summary.name))
                        .map(|summary| (summary.name, Facts::from(&summary.content))),
                ),
                Err(WalIndexError::Stopped { .. }) => return Err(RestorePlanError::Stopped),
                // All of it waits in a queue.
                Err(WalIndexError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        let store = self.wal_store();
        for name in wanted {
            if facts.contains_key(&name) {
                continue;
            }
            if context.stopped() {
                return Err(RestorePlanError::Stopped);
            }
            let Some(found) = store.find(name.into(), false)?.filter(|found| found.place != Place::Archive)
            else {
                continue;
            };
            match scan_file(&found.path, name) {
                Ok(content) => drop(facts.insert(name, Facts::from(&content))),
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(RestorePlanError::Io { path: found.path, source }),
            }
        }
        Ok(facts)
    }
}
