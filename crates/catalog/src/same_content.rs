//! Whether two files hold the same bytes, as stored or once decompressed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use walfile::SegmentSize;

use crate::custom_filter::CustomFilter;

/// Byte by byte, as stored.
pub(crate) fn files(a: &Path, b: &Path) -> io::Result<bool> {
    let (a, b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    readers(a, b)
}

/// Byte by byte, each decompressed according to its first bytes.
pub(crate) fn segments(a: &Path, b: &Path, filter: Option<&CustomFilter>) -> io::Result<bool> {
    readers(decoded(a, filter)?, decoded(b, filter)?)
}

/// The content of an archived file, decompressed; at most one byte more than the largest segment.
pub(crate) fn decoded(path: &Path, filter: Option<&CustomFilter>) -> io::Result<Box<dyn Read + Send>> {
    let file = File::open(path)?;
    let mut first = [0; 16];
    let length = read_up_to(&file, &mut first)?;
    let first = first.get(..length).unwrap_or_default();
    let codec = walfile::codec::detect(first);
    io::Seek::rewind(&mut &file)?;
    let most = SegmentSize::MAX.bytes() + 1;
    match filter.filter(|filter| filter.wrote(first)) {
        Some(filter) => Ok(Box::new(filter.decompressor(&file)?.take(most))),
        None => {
            let file = io::BufReader::with_capacity(64 * 1024, file);
            Ok(Box::new(walfile::codec::decoder(file, codec)?.take(most)))
        }
    }
}

/// Compares what two readers yield from here on.
pub(crate) fn readers(mut a: impl Read, mut b: impl Read) -> io::Result<bool> {
    let mut left = vec![0; 64 * 1024];
    let mut right = vec![0; 64 * 1024];
    loop {
        let got = read_up_to(&mut a, &mut left)?;
        let other = read_up_to(&mut b, &mut right)?;
        if left.get(..got) != right.get(..other) {
            return Ok(false);
        }
        if got == 0 {
            return Ok(true);
        }
    }
}

/// Fills `buffer` as far as the input goes.
pub(crate) fn read_up_to(mut input: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match input.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
