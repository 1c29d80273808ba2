//! Writing an index file.

use walfile::Lsn;

use super::{DirTime, HEADER_LEN, MAGIC, SEAL, SEGMENT, VERSION};
use crate::wal_index::HashDir;
use crate::wal_index::summary::{Completeness, Point, SegmentSummary};

pub(in crate::wal_index) fn header(dir: HashDir) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN);
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend([0; 2]);
    out.extend(dir.timeline.get().to_le_bytes());
    out.extend(dir.log.to_le_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend(crc.to_le_bytes());
    out
}

pub(in crate::wal_index) fn put_seal(out: &mut Vec<u8>, (seconds, nanoseconds): DirTime) {
    put_frame(out, |out| {
        out.push(SEAL);
        out.extend(seconds.to_le_bytes());
        out.extend(nanoseconds.to_le_bytes());
    });
}

pub(in crate::wal_index) fn put_segment(out: &mut Vec<u8>, summary: &SegmentSummary) {
    let SegmentSummary { name, stored, content: c } = summary;
    put_frame(out, |out| {
        out.push(SEGMENT);
        out.extend(name.segment().to_le_bytes());
        out.extend(stored.size.to_le_bytes());
        out.extend(stored.seconds.to_le_bytes());
        out.extend(stored.nanoseconds.to_le_bytes());
        out.push(match c.completeness {
            Completeness::Nothing => 0,
            Completeness::Whole => 1,
            Completeness::UpTo => 2,
        });
        out.push(
            u8::from(c.undecoded) | u8::from(c.more_points) << 1 | u8::from(c.removed.range.is_some()) << 2,
        );
        out.extend(c.major.to_le_bytes());
        for lsn in [c.valid_to, c.first, c.last, c.tail_lsn.unwrap_or(Lsn::INVALID)] {
            out.extend(lsn.get().to_le_bytes());
        }
        for count in [c.records, c.commits, c.aborts, c.prepares] {
            out.extend(count.to_le_bytes());
        }
        // No range is one whose end is before its start.
        let (low, high) = c.commit_times.map_or((0, -1), |(low, high)| (low.micros(), high.micros()));
        out.extend(low.to_le_bytes());
        out.extend(high.to_le_bytes());
        let (low, high) = c.xids.map_or((1, 0), |(low, high)| (low.get(), high.get()));
        out.extend(low.to_le_bytes());
        out.extend(high.to_le_bytes());
        let (low, high) = c.removed.range.unwrap_or_default();
        out.extend(low.to_le_bytes());
        out.extend(high.to_le_bytes());
        out.extend(c.head_length.to_le_bytes());
        put_bytes(out, &c.head);
        put_bytes(out, &c.tail);
        put_count(out, c.removed.files.len());
        for file in &c.removed.files {
            for number in [file.tablespace.get(), file.database.get(), file.number] {
                out.extend(number.to_le_bytes());
            }
        }
        put_count(out, c.points.len());
        c.points.iter().for_each(|point| put_point(out, point));
    });
}

fn put_point(out: &mut Vec<u8>, point: &Point) {
    let (kind, lsn, time) = match point {
        Point::Restore { lsn, time, .. } => (1, lsn, time),
        Point::Checkpoint { lsn, time, .. } => (2, lsn, time),
        Point::Timeline { lsn, time, .. } => (3, lsn, time),
    };
    out.push(kind);
    out.extend(lsn.get().to_le_bytes());
    out.extend(time.micros().to_le_bytes());
    match point {
        Point::Restore { name, .. } => put_bytes(out, name),
        Point::Checkpoint { redo, .. } => out.extend(redo.get().to_le_bytes()),
        Point::Timeline { timeline, previous, .. } => {
            out.extend(timeline.get().to_le_bytes());
            out.extend(previous.get().to_le_bytes());
        }
    }
}

fn put_frame(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 8]);
    content(out);
    let Some((frame_header, frame)) = out.get_mut(start..).and_then(|new| new.split_first_chunk_mut::<8>())
    else {
        return;
    };
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes();
    let crc = crc32c::crc32c(frame).to_le_bytes();
    for (to, from) in frame_header.iter_mut().zip(length.into_iter().chain(crc)) {
        *to = from;
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend(bytes);
}
