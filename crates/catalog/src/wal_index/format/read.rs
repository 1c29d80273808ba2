//! Reading an index file: every length is one of what is there.

use walfile::record::{Oid, RelFile, Timestamp, Xid};
use walfile::{Lsn, Timeline};

use super::{HEADER_LEN, IndexContents, MAX_FRAME, SEAL, SEGMENT, header};
use crate::wal_index::HashDir;
use crate::wal_index::summary::{
    Completeness, Point, RemovedFiles, SegmentContent, SegmentSummary, StoredFile,
};

/// Reads as much as is in order. `None`: not an index of this version for this directory.
pub(super) fn parse(bytes: &[u8], dir: HashDir) -> Option<IndexContents> {
    let rest = bytes.strip_prefix(header(dir).as_slice())?;
    let mut contents = IndexContents { valid: HEADER_LEN, ..IndexContents::default() };
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
