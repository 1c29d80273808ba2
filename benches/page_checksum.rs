//! Checksums of data pages: the sum alone, and pages checked out of a stream.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tapster_copy::pages::{FilePages, PAGE_SIZE, PageRules, page_checksum};
use walfile::Lsn;

const PAGES: u32 = 1024;

/// Pages with noise and right checksums.
fn segment() -> Vec<u8> {
    let mut segment = vec![0u8; PAGES as usize * PAGE_SIZE];
    let (pages, _) = segment.as_chunks_mut::<PAGE_SIZE>();
    for (block, page) in (0..PAGES).zip(pages) {
        for (byte, value) in page.iter_mut().zip((1u8..=251).cycle().skip(block as usize % 251)) {
            *byte = value;
        }
        page.first_chunk_mut::<8>().expect("a page").fill(0);
        let sum = page_checksum(page, block);
        page.get_mut(8..10).expect("a page").copy_from_slice(&sum.to_le_bytes());
    }
    segment
}

fn checksum(criterion: &mut Criterion) {
    let segment = segment();
    let rules = PageRules { segment_blocks: 131_072, start: Lsn::new(u64::MAX) };
    let mut group = criterion.benchmark_group("page_checksum");
    group.throughput(Throughput::Bytes(segment.len() as u64));
    group.bench_function("sum", |bencher| {
        let (pages, _) = segment.as_chunks::<PAGE_SIZE>();
        bencher.iter(|| {
            (0..PAGES).zip(pages).map(|(block, page)| u64::from(page_checksum(page, block))).sum::<u64>()
        });
    });
    for piece in [262_144, 131_072 - 512] {
        group.bench_function(format!("pieces of {piece}"), |bencher| {
            bencher.iter_batched(
                || FilePages::new(rules, 0),
                |mut pages| {
                    let mut at = 0;
                    for bytes in segment.chunks(piece) {
                        pages.feed(at, bytes, |suspect| assert_eq!(suspect.block, u32::MAX, "all are good"));
                        at += bytes.len() as u64;
                    }
                    assert_eq!(pages.finish().valid, u64::from(PAGES));
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, checksum);
criterion_main!(benches);
