//! Cutting the log into summaries as PostgreSQL's WAL summarizer does.

use crate::changed_blocks::{ChangedBlocks, SummaryName, announced_wal_level};
use crate::rmgr::{Payload, Rmgr};
use crate::{Lsn, Record, RecordError, Timeline, WalLevel};

/// What changed in a range of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// The timeline, its range on it, which is also the name of PostgreSQL's file.
    pub name: SummaryName,
    /// What changed.
    pub blocks: ChangedBlocks,
}

/// Cuts the log into ranges and sums up each, as the WAL summarizer of PostgreSQL 17 and later does: of the log of
/// such a server it makes the same summaries.
///
/// A summary ends where replay can begin: before the redo position of a checkpoint and before a shutdown checkpoint;
/// before the record of a change of parameters or of the end of recovery; and where the timeline does. PostgreSQL up
/// to 16 does not mark redo positions in the log, so there one ends before the record of an online checkpoint,
/// whose redo position lies in the summary before.
///
/// There is no summary of what was written with `wal_level = minimal`. PostgreSQL 17 and later say the level wherever
/// a summary begins, so there is none either of what comes before the first such place. Up to 16 only a change of
/// it is logged, and until then the log is taken for one that can be archived.
///
/// ```no_run
/// # fn records() -> walfile::RecordDecoder { unimplemented!() }
/// use walfile::changed_blocks::Summarizer;
///
/// let mut summarizer = Summarizer::new();
/// let mut decoder: walfile::RecordDecoder = records();
/// while let Some(record) = decoder.poll() {
///     if let Some(summary) = summarizer.push(&record)? {
///         println!("{}: {} forks", summary.name, summary.blocks.len());
///     }
/// }
/// # Ok::<(), walfile::RecordError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Summarizer {
    open: Option<Open>,
    /// What the latest record said that says it.
    minimal: bool,
}

#[derive(Clone, Debug)]
struct Open {
    timeline: Timeline,
    start: Lsn,
    end: Lsn,
    /// Not known, or not to be trusted.
    skip: bool,
    blocks: ChangedBlocks,
}

impl Summarizer {
    /// Before the first record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record of the log, and gives the summary that ended before it.
    ///
    /// # Errors
    /// When the record's inside is not what a server writes; it is not in the summary then.
    pub fn push(&mut self, record: &Record<'_>) -> Result<Option<Summary>, RecordError> {
        let boundary = is_boundary(record);
        let level = if boundary { announced_wal_level(record)? } else { None };
        let minimal = level.map_or(self.minimal, |level| level == WalLevel::Minimal);
        let timeline = self.timeline(record, boundary)?;
        if let Some(open) = &mut self.open
            && open.timeline == timeline
            && !(boundary && record.lsn > open.start)
        {
            if !open.skip {
                open.blocks.apply(record)?;
            }
            open.end = record.end;
            return Ok(None);
        }
        let known = boundary || record.major() < 17;
        let mut next = Open {
            timeline,
            start: record.lsn,
            end: record.end,
            skip: !known || minimal,
            blocks: ChangedBlocks::new(),
        };
        if !next.skip {
            next.blocks.apply(record)?;
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.timeline == timeline) {
            // Without the header of a page that begins between them.
            open.end = record.lsn;
        }
        let done = self.finish();
        (self.minimal, self.open) = (minimal, Some(next));
        Ok(done)
    }

    /// A timeline can begin in the middle of a page, whose header is still of the one before.
    fn timeline(&self, record: &Record<'_>, boundary: bool) -> Result<Timeline, RecordError> {
        let known = self.open.as_ref().map_or(record.timeline, |open| open.timeline.max(record.timeline));
        Ok(match if boundary { record.payload()? } else { Payload::Other } {
            Payload::EndOfRecovery(end) => end.timeline.max(known),
            Payload::CheckpointShutdown(checkpoint) => checkpoint.timeline.max(known),
            _ => known,
        })
    }

    /// Ends the summary that is being made where the latest record ends. PostgreSQL has no such summary.
    pub fn finish(&mut self) -> Option<Summary> {
        let Open { timeline, start, end, skip, blocks } = self.open.take()?;
        let name = SummaryName { timeline, start, end };
        (!skip && start < end).then_some(Summary { name, blocks })
    }
}

fn is_boundary(record: &Record<'_>) -> bool {
    record.header.rmgr == Rmgr::XLOG
        && match record.header.kind() {
            // A shutdown checkpoint, a change of parameters, the end of recovery.
            0x00 | 0x60 | 0x90 => true,
            // The redo position of a checkpoint; before there were such, the checkpoint.
            0xE0 => record.major() >= 17,
            0x10 => record.major() < 17,
            _ => false,
        }
}
