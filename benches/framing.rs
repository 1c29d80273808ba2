//! Cutting a stream of CopyData into frames and reading the WAL messages in them: the hot path of both streams.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tapster_protocol::proto::{BackendMessage, FrameBuffer, WalMessage};

/// A stream of `w` messages with `payload` bytes of WAL each, about 16 MiB in all.
fn stream(payload: usize) -> Vec<u8> {
    let count = (16 * 1024 * 1024) / payload;
    let mut bytes = Vec::with_capacity(count * (payload + 30));
    let wal = vec![0x5a; payload];
    let mut at = 0x100_0000u64;
    for _ in 0..count {
        bytes.push(b'd');
        bytes.extend_from_slice(&u32::try_from(payload + 29).unwrap_or(u32::MAX).to_be_bytes());
        bytes.push(b'w');
        bytes.extend_from_slice(&at.to_be_bytes());
        bytes.extend_from_slice(&at.to_be_bytes());
        bytes.extend_from_slice(&0i64.to_be_bytes());
        bytes.extend_from_slice(&wal);
        at += payload as u64;
    }
    bytes
}

/// Feeds the stream as a socket would, at most 256 KiB at a time, and looks at every message.
fn walk(buffer: &mut FrameBuffer, mut rest: &[u8]) -> u64 {
    let mut total = 0;
    while !rest.is_empty() {
        let spare = buffer.spare();
        let count = spare.len().min(rest.len()).min(256 * 1024);
        let (now, later) = rest.split_at(count);
        if let Some(room) = spare.get_mut(..count) {
            room.copy_from_slice(now);
        }
        buffer.filled(count);
        rest = later;
        while let Ok(Some(frame)) = buffer.next() {
            let Ok(BackendMessage::CopyData(payload)) = BackendMessage::parse(frame.tag, buffer.body(&frame))
            else {
                continue;
            };
            if let Ok(WalMessage::Data { bytes, .. }) = WalMessage::parse(payload) {
                total += black_box(bytes).len() as u64;
            }
        }
    }
    total
}

fn framing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("framing");
    for payload in [200, 8 * 1024, 32 * 1024, 128 * 1024] {
        let input = stream(payload);
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_with_input(BenchmarkId::new("wal", payload), &input, |bencher, input| {
            let mut buffer = FrameBuffer::default();
            bencher.iter(|| walk(&mut buffer, black_box(input)));
        });
        // The floor: the same bytes through the same buffer size, unread.
        group.bench_with_input(BenchmarkId::new("copy_only", payload), &input, |bencher, input| {
            let mut buffer = vec![0u8; 256 * 1024];
            bencher.iter(|| {
                for piece in input.chunks(256 * 1024) {
                    if let Some(room) = buffer.get_mut(..piece.len()) {
                        room.copy_from_slice(piece);
                    }
                    black_box(&buffer);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, framing);
criterion_main!(benches);
