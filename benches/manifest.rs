//! The backup manifest: read and written.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tapster_copy::manifest::{ManifestFile, ManifestReader, ManifestWriter};
use tapster_copy::{Checksum, ChecksumAlgorithm};

const FILES: u64 = 20_000;

fn write() -> Vec<u8> {
    let mut writer = ManifestWriter::new(Vec::new(), 2, Some(7_420_000_000_000_000_123)).unwrap();
    let sum = Checksum::new(&[1, 2, 3, 4]);
    for number in 0..FILES {
        let path = format!("base/16384/{number}");
        writer.file(path.as_bytes(), 8192, 1_795_230_920, ChecksumAlgorithm::Crc32c, sum).unwrap();
    }
    writer.finish(&[]).unwrap()
}

fn benches(criterion: &mut Criterion) {
    let text = write();
    let mut group = criterion.benchmark_group("manifest");
    group.throughput(Throughput::Bytes(text.len() as u64)).sample_size(30);
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let mut reader = ManifestReader::new(text.as_slice()).unwrap();
            let mut file = ManifestFile::default();
            while reader.next_file(&mut file).unwrap() {}
            reader.finish().unwrap()
        });
    });
    group.bench_function("write", |bencher| bencher.iter(write));
    group.finish();
}

criterion_group!(manifest, benches);
criterion_main!(manifest);
