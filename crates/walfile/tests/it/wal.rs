//! The WAL under `tests/data/records`, made by `tests/data/make-records`.

use std::io::Read;

use walfile::{EndOfWal, Record, RecordDecoder};

/// Decompresses a file of that directory.
pub fn unpack(name: &str) -> Vec<u8> {
    let packed = read_record_file(name);
    let mut content = Vec::new();
    liblzma::read::XzDecoder::new(&packed[..]).read_to_end(&mut content).unwrap();
    content
}

pub fn text(name: &str) -> String {
    String::from_utf8(unpack(name)).unwrap()
}

fn read_record_file(name: &str) -> Vec<u8> {
    let path = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/records").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Lines of `MAJOR.facts`: the first word, and the rest.
pub fn facts(major: u16) -> Vec<(String, String)> {
    let text = String::from_utf8(read_record_file(&format!("{major}.facts"))).unwrap();
    text.lines().map(|line| line.split_once(' ').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
}

/// The timeline-1 segments of a major, one after the other.
pub fn log(major: u16) -> Vec<u8> {
    let mut segments = unpack(&format!("{major}.wal.xz"));
    segments.truncate(segments.len() - segment_size(major));
    segments
}

/// The segment in which timeline 2 begins.
pub fn second_timeline(major: u16) -> Vec<u8> {
    let mut segments = unpack(&format!("{major}.wal.xz"));
    segments.split_off(segments.len() - segment_size(major))
}

/// Size of a segment in the WAL of this major: 10 has no `--wal-segsize`.
pub fn segment_size(major: u16) -> usize {
    if major == 10 { 16 << 20 } else { 1 << 20 }
}

/// Shows every record to `see`; the end of the log.
pub fn walk(log: &[u8], see: &mut dyn FnMut(&Record<'_>)) -> EndOfWal {
    let mut decoder = RecordDecoder::new();
    for piece in log.chunks(1 << 20) {
        decoder.feed(piece);
        while let Some(record) = decoder.poll() {
            see(&record);
        }
    }
    decoder.finish().clone()
}
