//! Building a summary of changed blocks from the recorded WAL of PostgreSQL 15 in the tests of `walfile`. `read` is what
//! finding and checking the records alone costs.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::hint::black_box;
use std::io::Read as _;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use walfile::RecordDecoder;
use walfile::changed_blocks::ChangedBlocks;
use walfile::codec::{self, Compression};

/// Segments one after the other.
fn log() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/walfile/tests/data/records/15.wal.xz");
    let file = std::fs::File::open(path).expect("the recorded WAL");
    let mut log = Vec::new();
    codec::decoder(file, Compression::Xz).expect("xz").read_to_end(&mut log).expect("the recorded WAL");
    log
}

fn changed_blocks(criterion: &mut Criterion) {
    let log = log();
    let mut blocks = ChangedBlocks::new();
    let walk = |see: &mut dyn FnMut(&walfile::Record<'_>)| {
        let mut decoder = RecordDecoder::new();
        for piece in log.chunks(256 * 1024) {
            decoder.feed(piece);
            while let Some(record) = decoder.poll() {
                see(&record);
            }
        }
        decoder.finish().at
    };
    let mut records = 0u64;
    let end = walk(&mut |record| {
        records += 1;
        blocks.apply(record).expect("a record of a server");
    });
    let mut decoder = RecordDecoder::new();
    decoder.feed(&log[..8192]);
    let _ = decoder.poll();
    let start = decoder.first_page().expect("a page").page.address;
    let bytes = end.saturating_bytes_since(start);
    let mut group = criterion.benchmark_group("changed_blocks");
    group.throughput(Throughput::Bytes(bytes)).sample_size(10);
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let mut count = 0;
            walk(&mut |record| {
                black_box(record.lsn);
                count += 1;
            });
            assert_eq!(count, records);
        });
    });
    group.bench_function("build", |bencher| {
        bencher.iter(|| {
            let mut found = ChangedBlocks::new();
            walk(&mut |record| found.apply(record).expect("a record of a server"));
            assert_eq!(found.len(), blocks.len());
        });
    });
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            let mut bytes = Vec::new();
            blocks.write_summary(&mut bytes).expect("a vector takes everything");
            bytes
        });
    });
    group.finish();
}

criterion_group!(benches, changed_blocks);
criterion_main!(benches);
