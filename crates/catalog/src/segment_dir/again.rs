//! WAL that comes a second time must be the WAL that came the first time.
//!
//! A receiver begins the segment in hand again after every start, and a server that lost WAL (a disk that lied, a snapshot put
//! back) writes other records under the same positions. What was acknowledged must not be replaced by them without a word.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::same_content::read_up_to;

/// Where `fresh` contradicts `stored`, both read from `offset` of the file. Zeros contradict nothing: they were never received,
/// or a crash took them before they were acknowledged, whatever of what came later the disk has kept. Records that differ do
/// not differ in zeros alone: their checksums do.
fn contradiction(stored: &[u8], fresh: &[u8], offset: u64) -> Option<u64> {
    let at = stored.iter().zip(fresh).position(|(old, new)| old != new && *old != 0)?;
    Some(offset + at as u64)
}

/// A `.partial` that was there before, while it is written again.
#[derive(Debug)]
pub(super) struct Received {
    file: File,
    length: u64,
    buffer: Vec<u8>,
}

impl Received {
    /// The first `length` bytes of the file count.
    pub(super) fn open(path: &Path, length: u64) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, length, buffer: Vec::new() })
    }

    /// Where `fresh`, which belongs at `offset`, contradicts it.
    pub(super) fn contradiction(&mut self, offset: u64, fresh: &[u8]) -> io::Result<Option<u64>> {
        let known = self.length.saturating_sub(offset).min(fresh.len() as u64);
        let Some(fresh) = usize::try_from(known).ok().and_then(|known| fresh.get(..known)) else {
            return Ok(None);
        };
        self.buffer.resize(fresh.len(), 0);
        self.file.read_exact_at(&mut self.buffer, offset)?;
        Ok(contradiction(&self.buffer, fresh, offset))
    }
}

/// Whether nothing in the file at `path`, a `.partial`, contradicts `whole`, the segment from elsewhere.
///
/// # Errors
/// When one of them cannot be read.
pub fn partial_agrees(path: &Path, mut whole: impl Read) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let (mut ours, mut theirs) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut offset = 0;
    loop {
        let got = read_up_to(&mut file, &mut ours)?;
        let there = read_up_to(&mut whole, theirs.get_mut(..got).unwrap_or_default())?;
        if got == 0 {
            return Ok(true);
        }
        let (ours, theirs) = (ours.get(..got).unwrap_or_default(), theirs.get(..there).unwrap_or_default());
        if there < got || contradiction(ours, theirs, offset).is_some() {
            return Ok(false);
        }
        offset += got as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_were_never_received() {
        let fresh: Vec<u8> = (0..2048_u32).map(|i| (i % 251) as u8 + 1).collect();
        let mut stored = fresh.clone();
        assert_eq!(contradiction(&stored, &fresh, 0), None);
        stored[700..1000].fill(0);
        assert_eq!(contradiction(&stored, &fresh, 0), None, "a hole, and more after it");
        stored[1500..].fill(0);
        assert_eq!(contradiction(&stored, &fresh, 0), None, "the end");
        stored[1030] ^= 1;
        assert_eq!(contradiction(&stored, &fresh, 0), Some(1030));
        assert_eq!(contradiction(&stored[900..], &fresh[900..], 900), Some(1030), "a piece from anywhere");
    }
}
