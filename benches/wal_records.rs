//! Records of a 16 MiB segment: dense (115-byte records) and heavy with page images; finding and checking them, and
//! taking them apart. `crc` is what the checksum alone costs, the bound of the others.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use walfile::{RecordDecoder, Segment, SegmentSize, WalMagic};

const PAGE: usize = 8192;

/// CRC-32C, a byte at a time: it makes the input, the crate under test checks it.
fn crc32c(pieces: &[&[u8]]) -> u32 {
    let mut table = [0u32; 256];
    for (index, entry) in (0u32..).zip(&mut table) {
        *entry = (0..8).fold(index, |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()));
    }
    let bytes = pieces.iter().flat_map(|piece| piece.iter());
    !bytes.fold(u32::MAX, |crc, byte| (crc >> 8) ^ table[(crc as u8 ^ byte) as usize])
}

/// A heap record on one block, with the page's image or with row data.
fn body(number: u32, image: bool) -> Vec<u8> {
    let mut body = vec![0, if image { 0x10 } else { 0x20 }];
    body.extend(if image { 0u16 } else { 64 }.to_le_bytes());
    if image {
        body.extend(7000u16.to_le_bytes());
        body.extend(400u16.to_le_bytes());
        body.push(0x03);
    }
    for word in [1663u32, 5, 16384, number] {
        body.extend(word.to_le_bytes());
    }
    body.extend([255, 3]);
    body.extend((0..if image { 7000 } else { 64 }).map(|at: u32| (at ^ number) as u8));
    body.extend([1, 0, 2]);
    body
}

/// A full segment of PostgreSQL 15, and how many records are whole in it.
fn segment(image: bool) -> (Vec<u8>, usize) {
    let size = SegmentSize::DEFAULT;
    let start = 5 * size.bytes();
    let (mut log, mut page_left, mut count, mut prev) = (Vec::new(), 0usize, 0, 0u64);
    let mut number = 0;
    loop {
        let body = body(number, image);
        number += 1;
        let at =
            log.len() as u64 + start + if page_left == 0 { if log.is_empty() { 40 } else { 24 } } else { 0 };
        let mut header = Vec::new();
        header.extend((24 + body.len() as u32).to_le_bytes());
        header.extend(700u32.to_le_bytes());
        header.extend(prev.to_le_bytes());
        header.extend([0, 10, 0, 0]);
        let crc = crc32c(&[&body, &header]);
        header.extend(crc.to_le_bytes());
        prev = at;
        let mut record = [header, body].concat();
        let whole = record.len();
        record.resize(record.len().next_multiple_of(8), 0);
        let mut rest = &record[..];
        while !rest.is_empty() {
            if log.len() as u64 == size.bytes() {
                return (log, count);
            }
            if page_left == 0 {
                let long = log.is_empty();
                let done = record.len() - rest.len();
                let missing = if done > 0 { whole - done } else { 0 };
                let address = start + log.len() as u64;
                log.extend(WalMagic::of_major(15).expect("known").value().to_le_bytes());
                log.extend((u16::from(long) * 2 + u16::from(missing > 0)).to_le_bytes());
                log.extend(1u32.to_le_bytes());
                log.extend(address.to_le_bytes());
                log.extend((missing as u32).to_le_bytes());
                log.extend([0; 4]);
                page_left = PAGE - 24;
                if long {
                    log.extend(7_710_462_296_459_250_184u64.to_le_bytes());
                    log.extend(size.bytes_u32().to_le_bytes());
                    log.extend(8192u32.to_le_bytes());
                    page_left -= 16;
                }
            }
            let (now, later) = rest.split_at(rest.len().min(page_left));
            log.extend_from_slice(now);
            page_left -= now.len();
            rest = later;
        }
        count += 1;
    }
}

fn records(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wal_records");
    group.throughput(Throughput::Bytes(SegmentSize::DEFAULT.bytes()));
    for (name, image) in [("dense", false), ("images", true)] {
        let (log, expected) = segment(image);
        group.bench_function(format!("crc/{name}"), |bencher| {
            bencher.iter(|| crc32c::crc32c(black_box(&log)))
        });
        group.bench_function(format!("verify/{name}"), |bencher| {
            bencher.iter(|| {
                let summary = Segment::new(black_box(&log)).expect("a segment").scan();
                assert_eq!(summary.records as usize, expected, "{}", summary.end);
            });
        });
        group.bench_function(format!("decode/{name}"), |bencher| {
            bencher.iter(|| {
                let mut records = Segment::new(black_box(&log)).expect("a segment").records();
                let mut blocks = 0;
                while let Some(record) = records.next_record() {
                    blocks += record
                        .parts()
                        .expect("parts")
                        .blocks()
                        .map(|block| block.id as usize + 1)
                        .sum::<usize>();
                    black_box(record.type_name());
                }
                assert_eq!(blocks, expected);
            });
        });
        group.bench_function(format!("stream/{name}"), |bencher| {
            bencher.iter(|| {
                let (mut decoder, mut count) = (RecordDecoder::new(), 0);
                for piece in black_box(&log).chunks(128 * 1024) {
                    decoder.feed(piece);
                    while decoder.poll().is_some() {
                        count += 1;
                    }
                }
                assert_eq!(count, expected);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, records);
criterion_main!(benches);
