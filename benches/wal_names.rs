//! Reading, writing and stepping segment names: a catalog of a million segments does each of them once per segment.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use walfile::{SegmentName, SegmentSize, WalName};

const COUNT: u64 = 1024;

fn names(criterion: &mut Criterion) {
    let size = SegmentSize::DEFAULT;
    let first: SegmentName = "0000000100000016000000B3".parse().expect("a name");
    let names: Vec<SegmentName> =
        std::iter::successors(Some(first), |name| name.next(size).expect("fits")).take(1024).collect();
    let texts: Vec<String> = names.iter().map(ToString::to_string).collect();

    let mut group = criterion.benchmark_group("wal_names");
    group.throughput(Throughput::Elements(COUNT));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            for text in &texts {
                black_box(black_box(text.as_str()).parse::<WalName>().is_ok());
            }
        });
    });
    group.bench_function("format", |bencher| {
        let mut text = String::with_capacity(64);
        bencher.iter(|| {
            for name in &names {
                text.clear();
                write!(text, "{}", black_box(name)).expect("a string takes everything");
                black_box(&text);
            }
        });
    });
    group.bench_function("successor", |bencher| {
        bencher.iter(|| {
            let mut name = black_box(first);
            for _ in 0..COUNT {
                name = name.next(size).expect("fits").expect("not the last");
            }
            name
        });
    });
    group.finish();
}

criterion_group!(benches, names);
criterion_main!(benches);
