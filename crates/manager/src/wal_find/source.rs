//! The files that are searched.

use tapster_catalog::wal_store::Place;
use tapster_catalog::{ServerLayout, WalStore};
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, WalName};

use super::WalFindError;

/// A file, by name and place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Source {
    pub(super) name: WalName,
    pub(super) segment: SegmentName,
    pub(super) place: Place,
}

impl Source {
    pub(super) const fn archived(segment: SegmentName) -> Self {
        Self { name: WalName::Segment(segment), segment, place: Place::Archive }
    }
}

/// Segments that wait in `streaming/` or `incoming/`, whole or not, and are not in the archive.
pub(super) fn waiting(layout: &ServerLayout) -> Result<Vec<Source>, WalFindError> {
    let mut found: Vec<Source> = Vec::new();
    for (dir, place) in [(&layout.incoming, Place::Incoming), (&layout.streaming, Place::Streaming)] {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => {
                let path = dir.clone();
                return Err(tapster_catalog::WalStoreError::Read { path, source }.into());
            }
        };
        for entry in entries.flatten() {
            let Some(name) = entry.file_name().to_str().and_then(|name| name.parse::<WalName>().ok()) else {
                continue;
            };
            let (WalName::Segment(segment) | WalName::Partial(segment)) = name else { continue };
            if !layout.wal(WalName::Segment(segment)).exists() {
                found.push(Source { name, segment, place });
            }
        }
    }
    // Of one segment the whole one, which sorts first.
    found.sort_by_key(|source| source.name);
    found.dedup_by_key(|source| source.segment);
    Ok(found)
}

/// The file in which a record goes on that begins in `segment`: on the same timeline, or on one that left it there.
pub(super) fn following(
    store: &WalStore<'_>,
    segment: SegmentName,
    size: SegmentSize,
    timelines: &[Timeline],
) -> Vec<WalName> {
    let Ok(Some(next)) = segment.next(size) else { return Vec::new() };
    let later = timelines.iter().copied().filter(|timeline| *timeline > segment.timeline());
    [segment.timeline()]
        .into_iter()
        .chain(later)
        .map(|timeline| next.on_timeline(timeline))
        .filter_map(|name| store.find(name.into(), true).ok().flatten())
        .map(|found| found.name)
        .collect()
}

/// The end of a segment.
pub(super) fn end_of(segment: SegmentName, size: SegmentSize) -> Lsn {
    segment.end(size).unwrap_or(Lsn::MAX)
}
