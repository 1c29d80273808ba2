//! The bytes of an index file.

use walfile::record::{Oid, RelFile, Timestamp, Xid};
use walfile::{Lsn, Timeline};

use super::HashDir;
use super::summary::{Completeness, Point, RemovedFiles, SegmentContent, SegmentSummary, StoredFile};

const MAGIC: [u8; 8] = *b"TapWalIx";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 24;
/// No frame is longer.
const MAX_FRAME: usize = 64 * 1024;
/// No index file is longer: 4096 segments of 1 MiB, each with all it may have.
pub(super) const MAX_FILE: u64 = 128 << 20;

const SEGMENT: u8 = 1;
const SEAL: u8 = 2;

/// A moment as a directory's modification time has it: seconds and nanoseconds.
pub(super) type DirTime = (i64, i64);

/// What an index file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contents {
    /// In the order of the file; a later one replaces an earlier one of the same segment.
    pub(super) segments: Vec<SegmentSummary>,
    /// The mark of a whole directory, when it is the last frame.
    pub(super) seal: Option<DirTime>,
    /// Up to where the file is in order.
    pub(super) valid: usize,
}

pub(super) fn header(dir: HashDir) -> Vec<u8> {
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

/// Reads as much as is in order. `None`: not an index of this version for this directory.
pub(super) fn parse(bytes: &[u8], dir: HashDir) -> Option<Contents> {
    let rest = bytes.strip_prefix(header(dir).as_slice())?;
    let mut contents = Contents { valid: HEADER_LEN, ..Contents::default() };
    let mut input = Input(rest);
    while let Some((length, frame)) = input.frame() {
        let mut frame = Input(frame);
        match frame.u8() {
            Some(SEGMENT) => match frame.segment(dir) {
                Some(summary) => {
                    contents.segments.push(summary);
                    contents.seal = None;
                }
                None => break,
            },
            Some(SEAL) => match (frame.i64(), frame.i64()) {
                (Some(seconds), Some(nanoseconds)) => contents.seal = Some((seconds, nanoseconds)),
                _ => break,
            },
            _ => break,
        }
        contents.valid += length;
    }
    Some(contents)
}

pub(super) fn put_seal(out: &mut Vec<u8>, (seconds, nanoseconds): DirTime) {
    put_frame(out, |out| {
        out.push(SEAL);
        out.extend(seconds.to_le_bytes());
        out.extend(nanoseconds.to_le_bytes());
    });
}

pub(super) fn put_segment(out: &mut Vec<u8>, summary: &SegmentSummary) {
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

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn lsn(&mut self) -> Option<Lsn> {
        self.u64().map(Lsn::new)
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.i64().map(Timestamp::from_micros)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?.into();
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The next frame whose checksum is right, and its length with what is before it.
    fn frame(&mut self) -> Option<(usize, &'a [u8])> {
        let (length, crc) = (self.u32()? as usize, self.u32()?);
        if length > MAX_FRAME {
            return None;
        }
        let (frame, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        (crc32c::crc32c(frame) == crc).then_some((length + 8, frame))
    }

    fn segment(&mut self, dir: HashDir) -> Option<SegmentSummary> {
        let name = dir.segment(self.u32()?)?;
        let stored = StoredFile { size: self.u64()?, seconds: self.i64()?, nanoseconds: self.i64()? };
        let completeness = match self.u8()? {
            0 => Completeness::Nothing,
            1 => Completeness::Whole,
            2 => Completeness::UpTo,
            _ => return None,
        };
        let flags = self.u8()?;
        let mut content = SegmentContent {
            completeness,
            undecoded: flags & 1 != 0,
            more_points: flags & 2 != 0,
            major: self.u16()?,
            valid_to: self.lsn()?,
            first: self.lsn()?,
            last: self.lsn()?,
            tail_lsn: Some(self.lsn()?).filter(|lsn| !lsn.is_invalid()),
            records: self.u32()?,
            commits: self.u32()?,
            aborts: self.u32()?,
            prepares: self.u32()?,
            commit_times: Some((self.time()?, self.time()?)).filter(|(low, high)| low <= high),
            xids: Some((Xid::new(self.u32()?), Xid::new(self.u32()?))).filter(|(low, high)| low <= high),
            ..SegmentContent::default()
        };
        let range = (self.u32()?, self.u32()?);
        content.head_length = self.u32()?;
        content.head = self.bytes()?.to_vec();
        content.tail = self.bytes()?.to_vec();
        let mut files = Vec::new();
        for _ in 0..self.u16()? {
            let (tablespace, database) = (Oid::new(self.u32()?), Oid::new(self.u32()?));
            files.push(RelFile { tablespace, database, number: self.u32()? });
        }
        content.removed = RemovedFiles { files, range: (flags & 4 != 0).then_some(range) };
        for _ in 0..self.u16()? {
            content.points.push(self.point()?);
        }
        Some(SegmentSummary { name, stored, content })
    }

    fn point(&mut self) -> Option<Point> {
        let (kind, lsn, time) = (self.u8()?, self.lsn()?, self.time()?);
        Some(match kind {
            1 => Point::Restore { lsn, time, name: self.bytes()?.to_vec() },
            2 => Point::Checkpoint { lsn, time, redo: self.lsn()? },
            3 => {
                let (timeline, previous) = (Timeline::new(self.u32()?)?, Timeline::new(self.u32()?)?);
                Point::Timeline { lsn, time, timeline, previous }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dir() -> HashDir {
        "0000000100000016".parse().unwrap()
    }

    fn lsn() -> impl Strategy<Value = Lsn> {
        (1..u64::MAX).prop_map(Lsn::new)
    }

    fn time() -> impl Strategy<Value = Timestamp> {
        any::<i64>().prop_map(Timestamp::from_micros)
    }

    fn point() -> impl Strategy<Value = Point> {
        let bytes = prop::collection::vec(any::<u8>(), 0..64);
        let timeline = || (1..u32::MAX).prop_map(|number| Timeline::new(number).unwrap());
        prop_oneof![
            (lsn(), time(), bytes).prop_map(|(lsn, time, name)| Point::Restore { lsn, time, name }),
            (lsn(), time(), lsn()).prop_map(|(lsn, time, redo)| Point::Checkpoint { lsn, time, redo }),
            (lsn(), time(), timeline(), timeline()).prop_map(|(lsn, time, timeline, previous)| {
                Point::Timeline { lsn, time, timeline, previous }
            }),
        ]
    }

    fn summary() -> impl Strategy<Value = SegmentSummary> {
        let file = any::<[u32; 3]>().prop_map(|[tablespace, database, number]| RelFile {
            tablespace: Oid::new(tablespace),
            database: Oid::new(database),
            number,
        });
        let lists = (
            prop::collection::vec(file, 0..5),
            prop::collection::vec(point(), 0..5),
            prop::collection::vec(any::<u8>(), 0..100),
            prop::option::of(any::<(u32, u32)>()),
        );
        let ranges = (prop::option::of((time(), time())), prop::option::of(any::<(u32, u32)>()));
        let rest = (any::<[u32; 5]>(), any::<[bool; 2]>(), lsn(), prop::option::of(lsn()), 0..3_u8);
        ((0..256_u32), lists, ranges, rest).prop_map(|(number, lists, (times, xids), rest)| {
            let (files, points, piece, range) = lists;
            let (counts, [undecoded, more_points], at, tail_lsn, completeness) = rest;
            let content = SegmentContent {
                completeness: [Completeness::Nothing, Completeness::Whole, Completeness::UpTo]
                    [usize::from(completeness)],
                major: 17,
                valid_to: at,
                first: Lsn::INVALID,
                last: at,
                records: counts[0],
                commits: counts[1],
                aborts: counts[2],
                prepares: counts[3],
                commit_times: times.map(|(a, b)| (a.min(b), a.max(b))),
                xids: xids.map(|(a, b)| (Xid::new(a.min(b)), Xid::new(a.max(b)))),
                removed: RemovedFiles { files, range },
                points,
                more_points,
                undecoded,
                head_length: counts[4],
                head: piece.clone(),
                tail_lsn,
                tail: piece,
            };
            let stored = StoredFile { size: 16_522, seconds: -5, nanoseconds: 999 };
            SegmentSummary { name: dir().segment(number).unwrap(), stored, content }
        })
    }

    fn file(summaries: &[SegmentSummary], seal: Option<DirTime>) -> Vec<u8> {
        let mut bytes = header(dir());
        summaries.iter().for_each(|summary| put_segment(&mut bytes, summary));
        seal.into_iter().for_each(|seal| put_seal(&mut bytes, seal));
        bytes
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(summaries in prop::collection::vec(summary(), 0..4), seal: Option<DirTime>) {
            let bytes = file(&summaries, seal);
            let read = parse(&bytes, dir()).unwrap();
            prop_assert_eq!(read, Contents { segments: summaries, seal, valid: bytes.len() });
        }

        /// Cut anywhere, or with any bit flipped: what is read is a beginning of what was written.
        #[test]
        fn damage_is_never_believed(summaries in prop::collection::vec(summary(), 1..4), at: prop::sample::Index, bit in 0..8_u8, cut: bool) {
            let bytes = file(&summaries, Some((1, 2)));
            let at = at.index(bytes.len());
            let mut damaged = bytes;
            if cut { damaged.truncate(at) } else { damaged[at] ^= 1_u8 << bit }
            match parse(&damaged, dir()) {
                None => prop_assert!(at < HEADER_LEN),
                Some(read) => {
                    prop_assert!(summaries.starts_with(&read.segments));
                    prop_assert!(read.valid <= at && read.seal.is_none());
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(rest: Vec<u8>, length in 0..50_u32) {
            let mut bytes = header(dir());
            bytes.extend(length.to_le_bytes());
            bytes.extend(crc32c::crc32c(rest.get(..length as usize).unwrap_or(&[])).to_le_bytes());
            bytes.extend(rest);
            let read = parse(&bytes, dir()).unwrap();
            prop_assert!(read.valid <= bytes.len());
        }
    }

    #[test]
    fn another_directory_or_version_is_no_index() {
        let bytes = file(&[], None);
        assert!(parse(&bytes, "0000000200000016".parse().unwrap()).is_none());
        let mut newer = bytes.clone();
        newer[8] = 2;
        assert!(parse(&newer, dir()).is_none());
        assert!(parse(&[], dir()).is_none());
    }
}
