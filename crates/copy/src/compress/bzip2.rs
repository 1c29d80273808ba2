//! One bzip2 stream of blocks that were compressed by themselves.
//!
//! A stream is `BZh`, the level, blocks, and an end mark with a sum over the blocks' sums. Nothing in a block depends on the
//! others, but blocks do not end at byte boundaries: so each is compressed as a stream of its own, cut out of it bit by bit,
//! and put behind the one before.

use std::io::{self, Write};

use bzip2::Compression;
use bzip2::write::BzEncoder;

use super::blocks::{Codec, Joiner};

/// The end of a stream, as its 48 bits.
const END: u64 = 0x1772_4538_5090;
/// Bits of `BZh` and the level.
const HEAD: usize = 32;
/// Bits of the end mark and the sum behind it.
const TAIL: usize = 80;

pub(super) struct Bzip2(u32);

impl Bzip2 {
    pub(super) const fn new(level: u32) -> Self {
        Self(level)
    }
}

/// A stream of one block; the block is the bits up to `end`, behind the head.
pub(super) struct Packed {
    stream: Vec<u8>,
    end: usize,
    sum: u32,
}

impl Codec for Bzip2 {
    type Packed = Packed;

    /// A block holds `level` times 100,000 bytes less 19, after a first stage that makes at most five bytes of four.
    fn piece(&self) -> usize {
        self.0 as usize * 79_900
    }

    fn pack(&self, content: &[u8]) -> io::Result<Packed> {
        let mut encoder =
            BzEncoder::new(Vec::with_capacity(content.len() / 2 + 1024), Compression::new(self.0));
        encoder.write_all(content)?;
        let stream = encoder.finish()?;
        let bits = stream.len() * 8;
        // The sum stands behind the block's mark of 48 bits.
        let sum = bits_at(&stream, HEAD + 48, 32);
        let end = (0..8)
            .filter_map(|padding| bits.checked_sub(padding + TAIL))
            .find(|end| bits_at(&stream, *end, 48) == END && bits_at(&stream, *end + 48, 32) == sum);
        let end = end
            .filter(|end| *end > HEAD)
            .ok_or_else(|| io::Error::other("bzip2 made more than one block"))?;
        Ok(Packed { stream, end, sum: u32::try_from(sum).unwrap_or_default() })
    }
}

/// Up to 56 bits from the bit `at` on.
fn bits_at(bytes: &[u8], at: usize, count: usize) -> u64 {
    let from = bytes.get(at / 8..).unwrap_or_default();
    let word = from.iter().take(8).fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    let missing = 8 - from.len().min(8);
    let word = word << (8 * missing).min(63);
    (word << (at % 8)) >> (64 - count)
}

pub(super) struct Bzip2Joiner {
    level: u32,
    sum: u32,
    /// Bits that fill no byte yet, in the low end, and how many.
    pending: u64,
    count: usize,
}

impl Bzip2Joiner {
    pub(super) const fn new(level: u32) -> Self {
        Self { level, sum: 0, pending: 0, count: 0 }
    }

    /// Appends `count` bits, at most 32.
    fn put(&mut self, bits: u64, count: usize, output: &mut Vec<u8>) {
        self.pending = self.pending << count | bits;
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            output.push((self.pending >> self.count).to_le_bytes()[0]);
        }
        self.pending &= (1 << self.count) - 1;
    }
}

impl Joiner<Packed> for Bzip2Joiner {
    fn start(&mut self, output: &mut dyn Write) -> io::Result<()> {
        write!(output, "BZh{}", self.level)
    }

    fn add(&mut self, packed: Packed, output: &mut dyn Write) -> io::Result<()> {
        self.sum = self.sum.rotate_left(1) ^ packed.sum;
        let mut joined = Vec::with_capacity(packed.stream.len() + 8);
        let whole = packed.end / 8;
        for byte in packed.stream.get(HEAD / 8..whole).unwrap_or_default() {
            self.put(u64::from(*byte), 8, &mut joined);
        }
        let rest = packed.end % 8;
        if rest > 0 {
            self.put(bits_at(&packed.stream, whole * 8, rest), rest, &mut joined);
        }
        output.write_all(&joined)
    }

    fn end(&mut self, output: &mut dyn Write) -> io::Result<()> {
        let mut joined = Vec::new();
        self.put(END >> 24, 24, &mut joined);
        self.put(END & 0xFF_FFFF, 24, &mut joined);
        self.put(u64::from(self.sum), 32, &mut joined);
        let padding = (8 - self.count % 8) % 8;
        self.put(0, padding, &mut joined);
        output.write_all(&joined)
    }
}
