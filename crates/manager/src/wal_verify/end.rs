//! How a log ends: because it still grows, or because something is wrong with it.

use walfile::{ArchiveEnd, ArchiveStop, EndReason, SegmentNo, WalName};

use super::chunk::{Chunk, Stretch};
use super::report::{LineEnd, WalProblem};

/// Whether this is how a log that still grows ends: no further segment, or the end of an unfinished one.
pub(super) fn ends_the_log(
    end: &ArchiveEnd,
    number: Option<SegmentNo>,
    chunk: Chunk,
    read: &Stretch,
) -> bool {
    match (end.file, &end.stop) {
        // Of a timeline that has just begun, nothing may have been archived yet.
        (Some(WalName::Segment(file)), ArchiveStop::Missing { name, .. })
            if number == Some(chunk.last) && file.timeline() < name.timeline() =>
        {
            chunk.ends_line && read.end.is_some()
        }
        (_, ArchiveStop::Missing { .. }) => number.is_some_and(|number| number > chunk.last),
        (Some(WalName::Partial(_)), stop) => may_end_a_partial(stop),
        _ => false,
    }
}

/// Whether an unfinished segment may end so: cut off anywhere, and with anything older after it. What is of another cluster
/// or of another timeline was not left there by a server that wrote on.
fn may_end_a_partial(stop: &ArchiveStop) -> bool {
    match stop {
        ArchiveStop::Log(reason) => !matches!(
            reason,
            EndReason::SystemId { .. }
                | EndReason::Geometry { .. }
                | EndReason::PageMagic { .. }
                | EndReason::PageTimeline { .. }
                | EndReason::PageHistory { .. }
        ),
        ArchiveStop::Read(error) => error.kind() == std::io::ErrorKind::UnexpectedEof,
        ArchiveStop::Mismatch(_) => false,
        _ => true,
    }
}

pub(super) fn line_end(end: &ArchiveEnd) -> LineEnd {
    let partial = match end.file {
        Some(WalName::Partial(name)) => Some(name),
        _ => None,
    };
    LineEnd { partial, reason: end.stop.to_string() }
}

pub(super) fn problem(end: &ArchiveEnd) -> WalProblem {
    match &end.stop {
        ArchiveStop::Missing { name, .. } => WalProblem::Missing { first: *name, last: *name, count: 1 },
        stop => WalProblem::Damaged {
            at: end.at,
            timeline: end.timeline,
            file: end.file,
            reason: stop.to_string(),
        },
    }
}
