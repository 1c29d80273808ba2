//! gzip for files that are compressed as a whole: twice as fast as a streaming encoder at the same level and ratio.
//!
//! The encoder wants its input at once, so that it gets a block at a time; each becomes a member of its own, which every
//! reader of gzip files reads as one content (RFC 1952, section 2.2).

use std::io::{self, Read, Write};

use libdeflater::{CompressionLvl, Compressor};

use crate::same_content::read_up_to;

/// Content of one member. Larger ones save nothing, smaller ones cost ratio.
const BLOCK: usize = 1024 * 1024;

/// Compresses everything; an empty input becomes one empty member.
pub(crate) fn copy(mut input: impl Read, output: &mut impl Write, level: i32) -> io::Result<()> {
    let level = CompressionLvl::new(level).map_err(|e| io::Error::other(format!("gzip level: {e:?}")))?;
    let mut encoder = Compressor::new(level);
    let mut block = vec![0; BLOCK];
    let mut packed = vec![0; encoder.gzip_compress_bound(BLOCK)];
    let mut is_first = true;
    loop {
        let got = read_up_to(&mut input, &mut block)?;
        if got > 0 || is_first {
            let content = block.get(..got).unwrap_or_default();
            let length = encoder
                .gzip_compress(content, &mut packed)
                .map_err(|e| io::Error::other(format!("gzip: {e}")))?;
            output.write_all(packed.get(..length).unwrap_or_default())?;
        }
        is_first = false;
        if got < BLOCK {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use walfile::codec::{Compression, decoder};

    use super::*;

    #[test]
    fn reads_back_at_every_block_boundary() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let content: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[1]).collect();
            let mut packed = Vec::new();
            copy(&content[..], &mut packed, 6).unwrap();
            assert!(packed.starts_with(Compression::Gzip.magic()));
            let mut back = Vec::new();
            decoder(&packed[..], Compression::Gzip).unwrap().read_to_end(&mut back).unwrap();
            assert!(back == content, "{length}");
        }
    }
}
