//! One gzip member (RFC 1952) of pieces that were deflated by themselves, each ended at a byte boundary by an empty stored
//! block, as pigz does.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress};

use super::blocks::{Codec, Joiner};

const PIECE: usize = 512 * 1024;

pub(super) struct Gzip(Compression);

impl Gzip {
    pub(super) const fn new(level: u32) -> Self {
        Self(Compression::new(level))
    }
}

pub(super) struct Deflated {
    bytes: Vec<u8>,
    sum: Crc,
}

impl Codec for Gzip {
    type Packed = Deflated;

    fn piece(&self) -> usize {
        PIECE
    }

    fn pack(&self, content: &[u8]) -> io::Result<Deflated> {
        let mut sum = Crc::new();
        sum.update(content);
        let mut encoder = Compress::new(self.0, false);
        let mut bytes = Vec::with_capacity(content.len() / 2 + 1024);
        loop {
            let taken = usize::try_from(encoder.total_in()).unwrap_or(usize::MAX);
            let rest = content.get(taken..).unwrap_or_default();
            encoder.compress_vec(rest, &mut bytes, FlushCompress::Sync)?;
            // With room left over, everything has been flushed.
            if encoder.total_in() == content.len() as u64 && bytes.len() < bytes.capacity() {
                return Ok(Deflated { bytes, sum });
            }
            bytes.reserve(content.len() / 2 + 1024);
        }
    }
}

pub(super) struct GzipJoiner {
    level: u32,
    sum: Crc,
}

impl GzipJoiner {
    pub(super) fn new(level: u32) -> Self {
        Self { level, sum: Crc::new() }
    }
}

impl Joiner<Deflated> for GzipJoiner {
    fn start(&mut self, output: &mut dyn Write) -> io::Result<()> {
        // No name, no time; the extra flags say best or fastest; the system is Unix.
        let extra = match self.level {
            9 => 2,
            1 => 4,
            _ => 0,
        };
        output.write_all(&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, extra, 3])
    }

    fn add(&mut self, packed: Deflated, output: &mut dyn Write) -> io::Result<()> {
        self.sum.combine(&packed.sum);
        output.write_all(&packed.bytes)
    }

    fn end(&mut self, output: &mut dyn Write) -> io::Result<()> {
        // The last block: of fixed codes, empty.
        output.write_all(&[3, 0])?;
        output.write_all(&self.sum.sum().to_le_bytes())?;
        output.write_all(&self.sum.amount().to_le_bytes())
    }
}
