//! Whether two files hold the same bytes, as stored or once decompressed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use walfile::SegmentSize;

use crate::undo::Undo;

/// Byte by byte, as stored.
pub(crate) fn files(a: &Path, b: &Path) -> io::Result<bool> {
    let (a, b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    Ok(readers(a, b)?)
}

/// Byte by byte, each decrypted and decompressed according to its first bytes.
pub(crate) fn segments(a: &Path, b: &Path, undo: Undo<'_>) -> io::Result<bool> {
    Ok(readers(decoded(a, undo)?, decoded(b, undo)?)?)
}

/// The content of an archived file, decrypted and decompressed; at most one byte more than the largest segment.
pub(crate) fn decoded(path: &Path, undo: Undo<'_>) -> io::Result<Box<dyn Read + Send>> {
    Ok(Box::new(undo.open(File::open(path)?)?.take(SegmentSize::MAX.bytes() + 1)))
}

/// Which of two readers failed.
#[derive(Debug)]
pub enum Unread {
    /// The first.
    First(io::Error),
    /// The second.
    Second(io::Error),
}

impl From<Unread> for io::Error {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::First(error) | Unread::Second(error) => error,
        }
    }
}

/// Compares what two readers yield from here on.
///
/// ```
/// use tapster_catalog::same_content::readers;
/// assert!(readers(&b"WAL"[..], &b"WAL"[..]).is_ok_and(|same| same));
/// assert!(readers(&b"WAL"[..], &b"WA"[..]).is_ok_and(|same| !same));
/// ```
///
/// # Errors
/// When one of them cannot be read.
pub fn readers(mut a: impl Read, mut b: impl Read) -> Result<bool, Unread> {
    let mut left = vec![0; 64 * 1024];
    let mut right = vec![0; 64 * 1024];
    loop {
        let got = read_up_to(&mut a, &mut left).map_err(Unread::First)?;
        let other = read_up_to(&mut b, &mut right).map_err(Unread::Second)?;
        if left.get(..got) != right.get(..other) {
            return Ok(false);
        }
        if got == 0 {
            return Ok(true);
        }
    }
}

/// Fills `buffer` as far as the input goes.
///
/// # Errors
/// When it cannot be read.
pub fn read_up_to(mut input: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
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
