//! A log as a server writes it: records over pages and segments, checksums and links right.

use tapster_catalog::wal_index::{Point, SegmentContent};
use walfile::record::{RelFile, Timestamp, Xid};
use walfile::rmgr::Payload;
use walfile::{Lsn, RecordDecoder, SegmentName};

use crate::wal_samples::{SIZE, SYSTEM};

const PAGE: u64 = 8192;

/// A growing log of 1 MiB segments from segment 1 of timeline 1.
pub struct Log {
    pub bytes: Vec<u8>,
    prev: u64,
}

impl Log {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), prev: 0 }
    }

    pub fn at(&self) -> u64 {
        SIZE.bytes() + self.bytes.len() as u64
    }

    /// Bytes until the segment ends.
    pub fn left(&self) -> u64 {
        SIZE.bytes() - self.at() % SIZE.bytes()
    }

    fn page_header(&mut self, remaining: usize) {
        let at = self.at();
        let long = at.is_multiple_of(SIZE.bytes());
        self.bytes.extend(0xD110_u16.to_le_bytes());
        let info = u16::from(remaining > 0) | if long { 2 } else { 0 };
        self.bytes.extend(info.to_le_bytes());
        self.bytes.extend(1_u32.to_le_bytes());
        self.bytes.extend(at.to_le_bytes());
        self.bytes.extend((remaining as u32).to_le_bytes());
        self.bytes.extend([0; 4]);
        if long {
            self.bytes.extend(SYSTEM.to_le_bytes());
            self.bytes.extend(SIZE.bytes_u32().to_le_bytes());
            self.bytes.extend((PAGE as u32).to_le_bytes());
        }
    }

    pub fn record(&mut self, rmgr: u8, info: u8, xid: u32, main: &[u8]) {
        let mut body = Vec::new();
        match u8::try_from(main.len()) {
            Ok(length) => body.extend([255, length]),
            Err(_) => {
                body.push(254);
                body.extend((main.len() as u32).to_le_bytes());
            }
        }
        body.extend(main);
        let mut record = Vec::new();
        record.extend((24 + body.len() as u32).to_le_bytes());
        record.extend(xid.to_le_bytes());
        record.extend(self.prev.to_le_bytes());
        record.extend([info, rmgr, 0, 0]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&body), &record);
        record.extend(crc.to_le_bytes());
        record.extend(body);
        if self.at().is_multiple_of(PAGE) {
            self.page_header(0);
        }
        self.prev = self.at();
        let mut rest = record.as_slice();
        loop {
            let room = (PAGE - self.at() % PAGE) as usize;
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.bytes.extend(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
            self.page_header(rest.len());
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    /// A change to a table of this many bytes.
    pub fn change(&mut self, length: usize) {
        self.record(10, 0, 700, &vec![7; length]);
    }

    /// A commit, with subtransactions and relation files that it removes.
    pub fn commit(&mut self, xid: u32, time: i64, subtransactions: &[u32], removed: &[u32]) {
        let mut main = time.to_le_bytes().to_vec();
        let bits = u32::from(!subtransactions.is_empty()) << 1 | u32::from(!removed.is_empty()) << 2;
        main.extend(bits.to_le_bytes());
        if !subtransactions.is_empty() {
            main.extend((subtransactions.len() as u32).to_le_bytes());
            subtransactions.iter().for_each(|xid| main.extend(xid.to_le_bytes()));
        }
        if !removed.is_empty() {
            main.extend((removed.len() as u32).to_le_bytes());
            for number in removed {
                [1663, 5, *number].iter().for_each(|part| main.extend(part.to_le_bytes()));
            }
        }
        self.record(1, 0x80, xid, &main);
    }

    pub fn restore_point(&mut self, name: &str, time: i64) {
        let mut main = time.to_le_bytes().to_vec();
        main.extend(name.bytes());
        main.resize(8 + 64, 0);
        self.record(0, 0x70, 0, &main);
    }

    /// Fills the last segment with changes.
    pub fn fill(&mut self) {
        while !self.bytes.len().is_multiple_of(SIZE.bytes() as usize) {
            let room = (PAGE - self.at() % PAGE).min(self.left()) as usize;
            // The rest of a page that has no room for a record of its own is taken by one that goes on.
            let length = if room >= 24 + 2 + 200 { 100 } else { 0 };
            if room < 48 && self.left() as usize == room {
                // Nothing shorter than a header: go on into the next segment.
                self.change(0);
                break;
            }
            self.change(length);
        }
    }

    /// The whole segments.
    pub fn segments(&self) -> Vec<(SegmentName, &[u8])> {
        let whole = self.bytes.chunks_exact(SIZE.bytes() as usize);
        whole
            .enumerate()
            .map(|(n, bytes)| (format!("00000001{:016X}", n + 1).parse().unwrap(), bytes))
            .collect()
    }
}

/// What a walk over all of the log finds in one segment.
#[derive(Debug, Default, PartialEq)]
pub struct Truth {
    pub records: u32,
    pub commits: u32,
    pub times: Option<(i64, i64)>,
    pub xids: Option<(u32, u32)>,
    pub removed: Vec<RelFile>,
    pub points: Vec<(Lsn, Vec<u8>)>,
}

impl Truth {
    /// For each whole segment, by a decoder that sees the whole log at once.
    pub fn of(log: &Log) -> Vec<Self> {
        let mut all: Vec<Self> = log.segments().iter().map(|_| Self::default()).collect();
        let mut decoder = RecordDecoder::new();
        decoder.feed(&log.bytes);
        while let Some(record) = decoder.poll() {
            let Some(truth) = all.get_mut(record.lsn.segment(SIZE).get() as usize - 1) else { break };
            truth.records += 1;
            match record.payload().unwrap() {
                Payload::Commit(end) => {
                    truth.commits += 1;
                    let time = end.time.micros();
                    let (low, high) = truth.times.unwrap_or((time, time));
                    truth.times = Some((low.min(time), high.max(time)));
                    for xid in [end.xid].into_iter().chain(end.subtransactions.iter()).map(Xid::get) {
                        let (low, high) = truth.xids.unwrap_or((xid, xid));
                        truth.xids = Some((low.min(xid), high.max(xid)));
                    }
                    truth.removed.extend(end.dropped.iter());
                }
                Payload::RestorePoint(point) => truth.points.push((record.lsn, point.name.to_vec())),
                _ => {}
            }
        }
        all.iter_mut().for_each(|truth| truth.removed.sort());
        all.iter_mut().for_each(|truth| truth.removed.dedup());
        all
    }

    /// What a summary says. Records are counted only where the last one is known.
    pub fn from_summary(content: &SegmentContent, like: &Self) -> Self {
        let micros = |(low, high): (Timestamp, Timestamp)| (low.micros(), high.micros());
        let mut removed = content.removed.files.clone();
        removed.sort();
        if let Some(range) = content.removed.range {
            // Too many to be listed.
            let numbers = || like.removed.iter().map(|file| file.number);
            assert!(like.removed.len() > 128 && removed.is_empty());
            assert_eq!((numbers().min(), numbers().max()), (Some(range.0), Some(range.1)));
            removed.clone_from(&like.removed);
        }
        assert!(like.records - content.records <= 1, "{content:?}");
        Self {
            records: like.records,
            commits: content.commits,
            times: content.commit_times.map(micros),
            xids: content.xids.map(|(low, high)| (low.get(), high.get())),
            removed,
            points: content
                .points
                .iter()
                .map(|point| match point {
                    Point::Restore { lsn, name, .. } => (*lsn, name.clone()),
                    other => panic!("{other:?}"),
                })
                .collect(),
        }
    }
}
