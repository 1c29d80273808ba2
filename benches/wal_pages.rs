//! Walking over the pages of a 16 MiB segment: full, and empty after `XLOG_SWITCH` on the first page.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use walfile::{SegmentSize, WalMagic, pages};

const PAGE: usize = 8192;

/// A segment of PostgreSQL 18 whose first `written` pages have headers and noise.
fn segment(written: usize) -> Vec<u8> {
    let size = SegmentSize::DEFAULT;
    let mut segment = vec![0u8; usize::try_from(size.bytes()).expect("fits")];
    let magic = WalMagic::of_major(18).expect("known").value();
    let start = 5 * size.bytes();
    for (page, address) in segment.chunks_exact_mut(PAGE).zip((start..).step_by(PAGE)).take(written) {
        for (byte, value) in page.iter_mut().zip((1u8..=251).cycle()) {
            *byte = value;
        }
        let long = address == start;
        let mut header = Vec::new();
        header.extend(magic.to_le_bytes());
        header.extend(u16::from(long).wrapping_mul(2).to_le_bytes());
        header.extend(1u32.to_le_bytes());
        header.extend(address.to_le_bytes());
        header.extend([0; 8]);
        if long {
            header.extend(7_710_462_296_459_250_184u64.to_le_bytes());
            header.extend(size.bytes_u32().to_le_bytes());
            header.extend(8192u32.to_le_bytes());
        }
        for (byte, value) in page.iter_mut().zip(header) {
            *byte = value;
        }
    }
    segment
}

fn walk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wal_pages");
    group.throughput(Throughput::Bytes(SegmentSize::DEFAULT.bytes()));
    for (name, written) in [("full", 2048), ("switched", 1)] {
        let segment = segment(written);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let count = pages(&segment).expect("a segment").filter(Result::is_ok).count();
                assert_eq!(count, written);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, walk);
criterion_main!(benches);
