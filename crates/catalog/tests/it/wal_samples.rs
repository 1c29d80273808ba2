//! WAL segments with a real first page header, small enough for tests.

use std::path::Path;

use tapster_catalog::{ServerLayout, ServerName};
use walfile::{SegmentName, SegmentSize, WalName};

pub const SYSTEM: u64 = 7_710_408_692_298_386_193;
pub const SIZE: SegmentSize = SegmentSize::MIN;

pub fn name(text: &str) -> WalName {
    text.parse().unwrap()
}

pub fn segment_name(text: &str) -> SegmentName {
    text.parse().unwrap()
}

/// A segment of 1 MiB as PostgreSQL 15 would begin it; `seed` makes its content differ from others'.
pub fn segment(name: &str, seed: u8) -> Vec<u8> {
    segment_of(name, seed, SYSTEM)
}

pub fn segment_of(name: &str, seed: u8, system: u64) -> Vec<u8> {
    let name = segment_name(name);
    let length = usize::try_from(SIZE.bytes()).unwrap();
    let mut bytes = vec![seed; length];
    for (number, sector) in bytes.chunks_mut(512).enumerate() {
        sector[..4].copy_from_slice(&(number as u32).to_le_bytes());
    }
    bytes[0..2].copy_from_slice(&0xD110_u16.to_le_bytes());
    bytes[2..4].copy_from_slice(&0x0002_u16.to_le_bytes());
    bytes[4..8].copy_from_slice(&name.timeline().get().to_le_bytes());
    bytes[8..16].copy_from_slice(&name.start(SIZE).unwrap().get().to_le_bytes());
    bytes[16..24].fill(0);
    bytes[24..32].copy_from_slice(&system.to_le_bytes());
    bytes[32..36].copy_from_slice(&SIZE.bytes_u32().to_le_bytes());
    bytes[36..40].copy_from_slice(&8192_u32.to_le_bytes());
    bytes
}

/// A server's directories, all there.
pub fn server(home: &Path) -> ServerLayout {
    let layout = ServerLayout::standard(home, ServerName::new("main").unwrap());
    for dir in layout.directories() {
        std::fs::create_dir_all(dir).unwrap();
    }
    layout
}

/// The visible names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}
