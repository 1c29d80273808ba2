//! Structure-aware properties of `walfile`: a valid log is built from what the fuzzer gives, must be read back as it was
//! built, and is then damaged, with and without right checksums.

use std::fmt::{self, Write};

use arbitrary::{Arbitrary, Result, Unstructured};
use walfile::changed_blocks::{ChangedBlocks, Summarizer};
use walfile::rmgr::Description;
use walfile::{EndOfWal, EndReason, Lsn, RecordDecoder, SegmentSize, WalMagic};

use crate::walfile::{decoder, page_walk};

const PAGE: usize = 8192;
const SEGMENT: usize = 1 << 20;
/// No description may be longer than this many times the record, with something for what is always said.
const WORDY: usize = 64;

/// A log of records, and where each of them is.
struct Log {
    bytes: Vec<u8>,
    /// Offsets of the first bytes, lengths.
    records: Vec<(usize, usize)>,
    start: u64,
    prev: u64,
    major: u16,
}

impl Log {
    fn new(major: u16) -> Self {
        Self { bytes: Vec::new(), records: Vec::new(), start: 7 * SEGMENT as u64, prev: 0, major }
    }

    fn page_header(&mut self, remaining: usize) {
        let long = self.bytes.len().is_multiple_of(SEGMENT);
        let address = self.start + self.bytes.len() as u64;
        let magic = WalMagic::of_major(self.major).expect("10 to 18");
        self.bytes.extend(magic.value().to_le_bytes());
        self.bytes.extend((u16::from(remaining > 0) | u16::from(long) << 1).to_le_bytes());
        self.bytes.extend(1u32.to_le_bytes());
        self.bytes.extend(address.to_le_bytes());
        self.bytes.extend(u32::try_from(remaining).expect("short").to_le_bytes());
        self.bytes.extend([0; 4]);
        if long {
            self.bytes.extend(99u64.to_le_bytes());
            self.bytes.extend(SegmentSize::new(SEGMENT as u64).expect("a size").bytes_u32().to_le_bytes());
            self.bytes.extend(u32::try_from(PAGE).expect("small").to_le_bytes());
        }
    }

    fn push(&mut self, xid: u32, rmgr: u8, info: u8, body: &[u8]) {
        if self.bytes.len().is_multiple_of(PAGE) {
            self.page_header(0);
        }
        let (at, length) = (self.bytes.len(), 24 + body.len());
        let mut record = u32::try_from(length).expect("short").to_le_bytes().to_vec();
        record.extend(xid.to_le_bytes());
        record.extend(self.prev.to_le_bytes());
        record.extend([info, rmgr, 0, 0]);
        record.extend(crc32c::crc32c_append(crc32c::crc32c(body), &record).to_le_bytes());
        record.extend(body);
        self.prev = self.start + at as u64;
        let mut rest = &record[..];
        while !rest.is_empty() {
            if self.bytes.len().is_multiple_of(PAGE) {
                self.page_header(rest.len());
            }
            let (now, later) = rest.split_at(rest.len().min(PAGE - self.bytes.len() % PAGE));
            self.bytes.extend(now);
            rest = later;
        }
        self.records.push((at, length));
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }

    /// Gives a record a right checksum again, when it lies in one page.
    fn seal(&mut self, (at, length): (usize, usize)) {
        if at / PAGE == (at + length - 1) / PAGE
            && let Some(record) = self.bytes.get_mut(at..at + length)
        {
            let crc = crc32c::crc32c_append(crc32c::crc32c(&record[24..]), &record[..20]);
            record[20..24].copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// Offset in the log of a byte of a record.
    fn offset(&self, (mut at, _): (usize, usize), mut byte: usize) -> usize {
        while byte >= PAGE - at % PAGE {
            byte -= PAGE - at % PAGE;
            at = at - at % PAGE + PAGE;
            at += if at.is_multiple_of(SEGMENT) { 40 } else { 24 };
        }
        at + byte
    }
}

/// The inside of a record whose parts fit together, for the most part.
fn body(u: &mut Unstructured<'_>, major: u16) -> Result<Vec<u8>> {
    let (mut headers, mut payloads) = (Vec::new(), Vec::new());
    let blocks = u.int_in_range(0..=4u8)?;
    for id in 0..blocks {
        let (image, repeat) = (u.ratio(1, 4)?, id > 0 && u.arbitrary()?);
        let data = u.int_in_range(0..=80u16)?;
        let fork: u8 = u.int_in_range(0..=3)?;
        headers.push(id);
        headers.push(
            fork | u8::from(image) << 4
                | u8::from(data > 0) << 5
                | u8::from(u.arbitrary::<bool>()?) << 6
                | u8::from(repeat) << 7,
        );
        headers.extend(data.to_le_bytes());
        if image {
            // Packed by some method, whatever the bytes: restoring them must fail without harm.
            let packed = u.arbitrary::<bool>()?;
            let length = u.int_in_range(1..=if packed { 600 } else { 8000u16 })?;
            headers.extend(length.to_le_bytes());
            headers.extend(if packed { [0; 2] } else { 100u16.to_le_bytes() });
            let method = if major >= 15 { *u.choose(&[0x04u8, 0x08, 0x10])? } else { 0x02 };
            headers.push(if packed { method } else { 0x01 });
            payloads.extend((0..length).map(|at| (at % 251) as u8));
            let at = payloads.len() - usize::from(length);
            let noise = u.bytes(u.len().min(40).min(length.into()))?;
            payloads[at..at + noise.len()].copy_from_slice(noise);
        }
        if !repeat {
            headers.extend([0x7F, 6, 0, 0, 5, 0, 0, 0]);
            headers.extend(u.arbitrary::<u32>()?.to_le_bytes());
        }
        headers.extend(u32::from(u.arbitrary::<u16>()?).to_le_bytes());
        let length = usize::from(data).min(u.len());
        payloads.extend(u.bytes(length)?);
        payloads.resize(payloads.len() + usize::from(data) - length, 1);
    }
    if u.ratio(1, 8)? {
        headers.extend([253, 1, 0]);
    }
    if major >= 14 && u.ratio(1, 8)? {
        headers.extend([252, 9, 0, 0, 0]);
    }
    let main = match u.int_in_range(0..=9u8)? {
        0 => 0,
        1 => u.int_in_range(256..=20_000usize)?,
        _ => u.int_in_range(1..=200usize)?,
    };
    match u8::try_from(main) {
        Ok(0) => {}
        Ok(short) => headers.extend([255, short]),
        Err(_) => {
            headers.push(254);
            headers.extend(u32::try_from(main).expect("short").to_le_bytes());
        }
    }
    let given = u.bytes(main.min(u.len()))?;
    payloads.extend(given);
    payloads.resize(payloads.len() + main - given.len(), 0);
    headers.extend(payloads);
    Ok(headers)
}

#[derive(Arbitrary)]
enum Damage {
    Flip { at: u32, bit: u8 },
    Put { at: u32, bytes: [u8; 4] },
    Copy { from: u32, to: u32, length: u16 },
    Zero { at: u32, length: u16 },
    Cut { at: u32 },
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>) {
        let place = |at: u32| at as usize % bytes.len();
        let room = |at: usize, length: u16| usize::from(length).min(bytes.len() - at);
        match self {
            Self::Flip { at, bit } => {
                let at = place(at);
                bytes[at] ^= 1 << (bit % 8);
            }
            Self::Put { at, bytes: new } => {
                let at = place(at);
                let length = room(at, 4);
                bytes[at..at + length].copy_from_slice(&new[..length]);
            }
            Self::Copy { from, to, length } => {
                let (from, to) = (place(from), place(to));
                let length = room(from, length).min(room(to, length));
                bytes.copy_within(from..from + length, to);
            }
            Self::Zero { at, length } => {
                let at = place(at);
                let length = room(at, length);
                bytes[at..at + length].fill(0);
            }
            Self::Cut { at } => {
                let at = place(at).max(1);
                bytes.truncate(at);
            }
        }
    }
}

/// Records found, and the end.
fn read(bytes: &[u8]) -> (Vec<(u64, usize)>, EndOfWal) {
    let mut decoder = RecordDecoder::new();
    decoder.feed(bytes);
    let (mut found, mut changed, mut summarizer) = (Vec::new(), ChangedBlocks::new(), Summarizer::new());
    while let Some(record) = decoder.poll() {
        found.push((record.lsn.get(), record.bytes.len()));
        let _ = changed.apply(&record);
        let _ = summarizer.push(&record);
        if let Ok(parts) = record.parts() {
            let mut words = Count(0);
            write!(words, "{}", Description::new(&record, &parts)).expect("a description is written");
            assert!(words.0 <= 512 + WORDY * record.bytes.len(), "{} {:?}", words.0, record.header);
        }
    }
    (found, decoder.finish().clone())
}

struct Count(usize);

impl Write for Count {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// Built, read back, and damaged.
pub fn built_log(data: &[u8]) {
    let _ = build_and_damage(&mut Unstructured::new(data));
}

fn build_and_damage(u: &mut Unstructured<'_>) -> Result<()> {
    let mut log = Log::new(u.int_in_range(10..=18)?);
    for _ in 0..u.int_in_range(1..=60u8)? {
        let (xid, rmgr, info) = (u.arbitrary()?, u.int_in_range(0..=21)?, u.arbitrary::<u8>()?);
        // A switch ends the segment, and what was lost is named by nothing here.
        let info = if rmgr == 0 && matches!(info & 0xF0, 0x40 | 0xD0) { 0x20 } else { info };
        let body = body(u, log.major)?;
        log.push(xid, rmgr, info, &body);
    }
    let base = log.start;
    let expected: Vec<_> = log.records.iter().map(|(at, length)| (base + *at as u64, *length)).collect();
    let (found, end) = read(&log.bytes);
    assert_eq!(found, expected, "{end}");
    assert!(matches!(end.reason, EndReason::Input { unfinished: 0 }), "{end}");

    // One bit of one record: everything before it is read, nothing from it on.
    let which = u.choose_index(log.records.len())?;
    let record = log.records[which];
    let at = log.offset(record, u.choose_index(record.1)?);
    let bit = 1 << u.int_in_range(0..=7u8)?;
    log.bytes[at] ^= bit;
    let (found, end) = read(&log.bytes);
    assert_eq!((&found[..], end.at), (&expected[..which], Lsn::new(expected[which].0)), "{end}");
    // With a right checksum again the damage is inside, where it may be anything.
    log.seal(record);
    let _ = read(&log.bytes);
    log.bytes[at] ^= bit;
    log.seal(record);

    // Cut anywhere: valid up to the last record that is whole.
    let cut = u.int_in_range(40..=log.bytes.len())?;
    let (found, end) = read(&log.bytes[..cut]);
    let whole = log.records.iter().filter(|record| log.offset(**record, record.1 - 1) < cut).count();
    assert_eq!(found, &expected[..whole], "{cut} {end}");
    let next = expected.get(whole).map_or(base + cut as u64, |record| record.0);
    assert!(matches!(end.reason, EndReason::Input { .. }), "{end}");
    assert!(end.at.get() <= next && end.at.get() <= base + cut as u64, "{cut} {end}");
    assert!(end.at.get() == next || next >= base + cut as u64 || next - end.at.get() < 48, "{cut} {end}");

    for _ in 0..u.int_in_range(1..=6u8)? {
        Damage::arbitrary(u)?.apply(&mut log.bytes);
        if u.arbitrary()? {
            let record = log.records[u.choose_index(log.records.len())?];
            log.seal(record);
        }
    }
    let _ = read(&log.bytes);
    decoder(&log.bytes);
    page_walk(&log.bytes);
    Ok(())
}
