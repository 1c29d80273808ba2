//! Base-backup streams: parsing alone, and writing with a checksum of every file.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tapster_copy::tar::{Event, Parser, member_header};
use tapster_copy::{ChecksumAlgorithm, ExtractOptions, SyncMethod, TarExtractor};

/// `files` files of `size` bytes, in pieces as a server sends them.
fn stream(files: usize, size: usize) -> Vec<u8> {
    let mut bytes = member_header("global/", 0, 0o700, 0).unwrap().to_vec();
    for number in 0..files {
        bytes.extend_from_slice(&member_header(&format!("global/{number}"), size as u64, 0o600, 0).unwrap());
        bytes.extend((0..size).map(|at| at.to_le_bytes()[0]));
    }
    bytes.extend_from_slice(&member_header("global/pg_control", 512, 0o600, 0).unwrap());
    bytes.resize(bytes.len() + 512, 0);
    bytes
}

fn benches(criterion: &mut Criterion) {
    for (name, bytes) in [("8KiB_files", stream(1000, 8192)), ("16MiB_files", stream(4, 16 << 20))] {
        let mut group = criterion.benchmark_group(format!("tar/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(20);
        group.bench_function("parse", |bencher| {
            bencher.iter(|| {
                let mut parser = Parser::new();
                for mut input in bytes.chunks(32 * 1024) {
                    while let Some(event) = parser.next(&mut input).unwrap() {
                        if let Event::Data(data) = event {
                            black_box(data);
                        }
                    }
                }
            });
        });
        group.bench_function("extract_crc32c", |bencher| {
            bencher.iter_batched(
                || tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(),
                |dir| {
                    let mut options = ExtractOptions::default();
                    options.checksum = Some(ChecksumAlgorithm::Crc32c);
                    options.sync = SyncMethod::None;
                    let mut extractor = TarExtractor::create(dir.path(), options).unwrap();
                    extractor.start_archive(None).unwrap();
                    bytes.chunks(32 * 1024).for_each(|piece| extractor.feed(piece).unwrap());
                    extractor.finish().unwrap();
                    dir
                },
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group!(tar_extract, benches);
criterion_main!(tar_extract);
