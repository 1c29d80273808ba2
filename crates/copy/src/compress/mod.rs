//! Compression of one stream on all cores, into one stream as the codec's own program writes it.
//!
//! The pieces are compressed side by side, and joined into a single gzip member, bzip2 stream or xz stream: readers that
//! stop at the end of the first member (Python's `tarfile` in streaming mode, and so Barman) read all of it.

mod blocks;
mod bzip2;
mod gzip;

use std::fmt;
use std::io::{self, Write};
use std::num::NonZeroUsize;

use thiserror::Error;

use self::bzip2::{Bzip2, Bzip2Joiner};
use blocks::Blocks;
use gzip::{Gzip, GzipJoiner};

/// A codec.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StreamCodec {
    /// gzip, levels 1 to 9.
    Gzip,
    /// bzip2, levels 1 to 9.
    Bzip2,
    /// xz, levels 0 to 9.
    Xz,
}

/// A level that the codec does not have.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("Invalid compression level '{level}' for algorithm '{codec}'. Valid levels are: {}", valid(*codec))]
#[non_exhaustive]
pub struct StreamLevelError {
    /// The codec.
    pub codec: StreamCodec,
    /// The level.
    pub level: u32,
}

impl StreamCodec {
    /// Its name: `gzip`, `bzip2`, `xz`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        }
    }

    /// What is added to the name of a file, with its dot.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Bzip2 => ".bz2",
            Self::Xz => ".xz",
        }
    }

    /// Whether it has the level.
    ///
    /// # Errors
    /// When it has not.
    pub fn check_level(self, level: u32) -> Result<(), StreamLevelError> {
        let lowest = u32::from(self != Self::Xz);
        if (lowest..=9).contains(&level) { Ok(()) } else { Err(StreamLevelError { codec: self, level }) }
    }

    /// What is used when none is given: that of Python's `tarfile`, 9, and 6 for xz.
    pub const fn default_level(self) -> u32 {
        match self {
            Self::Gzip | Self::Bzip2 => 9,
            Self::Xz => 6,
        }
    }
}

impl fmt::Display for StreamCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn valid(codec: StreamCodec) -> String {
    let lowest = u32::from(codec != StreamCodec::Xz);
    (lowest..=9).map(|level| level.to_string()).collect::<Vec<_>>().join(", ")
}

/// Content in, one compressed stream out. Nothing is complete before [`StreamEncoder::finish`].
///
/// ```
/// use std::io::Write as _;
/// use tapster_copy::compress::{StreamCodec, StreamEncoder};
/// let mut encoder = StreamEncoder::new(Vec::new(), Some(StreamCodec::Gzip), 6, 2)?;
/// encoder.write_all(b"WAL")?;
/// assert!(encoder.finish()?.starts_with(b"\x1f\x8b\x08"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct StreamEncoder<W: Write + Send + 'static>(Inner<W>);

enum Inner<W: Write + Send + 'static> {
    Plain(W),
    Blocks(Blocks<W>),
    Xz(Box<liblzma::write::XzEncoder<W>>),
}

/// Content of one block of an xz stream.
const XZ_BLOCK: u64 = 12 * 1024 * 1024;

impl<W: Write + Send + 'static> StreamEncoder<W> {
    /// An encoder into `output`, with up to `workers` threads; without a codec everything passes as it is.
    ///
    /// Memory: with gzip and bzip2 about 2 MiB a thread, with xz about 130 MiB a thread at level 6 (at most four are
    /// used, and one above that level).
    ///
    /// # Errors
    /// When the codec has no such level, or does not start.
    pub fn new(output: W, codec: Option<StreamCodec>, level: u32, workers: usize) -> io::Result<Self> {
        if let Some(codec) = codec {
            codec.check_level(level).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        }
        Ok(Self(match codec {
            None => Inner::Plain(output),
            Some(StreamCodec::Gzip) => {
                Inner::Blocks(Blocks::start(output, Gzip::new(level), GzipJoiner::new(level), workers))
            }
            Some(StreamCodec::Bzip2) => {
                Inner::Blocks(Blocks::start(output, Bzip2::new(level), Bzip2Joiner::new(level), workers))
            }
            Some(StreamCodec::Xz) => {
                let threads = if level > 6 { 1 } else { workers.clamp(1, 4) };
                let stream = liblzma::stream::MtStreamBuilder::new()
                    .threads(u32::try_from(threads).unwrap_or(1))
                    .preset(level)
                    .block_size(XZ_BLOCK)
                    .check(liblzma::stream::Check::Crc64)
                    .encoder()?;
                Inner::Xz(Box::new(liblzma::write::XzEncoder::new_stream(output, stream)))
            }
        }))
    }

    /// Ends the stream and gives the writer back, not flushed.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::Plain(output) => Ok(output),
            Inner::Blocks(blocks) => blocks.finish(),
            Inner::Xz(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write + Send + 'static> Write for StreamEncoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(output) => output.write(bytes),
            Inner::Blocks(blocks) => blocks.write_all(bytes).map(|()| bytes.len()),
            Inner::Xz(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write + Send + 'static> fmt::Debug for StreamEncoder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamEncoder").finish_non_exhaustive()
    }
}

/// As many threads as the machine has cores.
pub fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// The first stream alone, as Barman's reader takes it.
    fn first_stream(codec: StreamCodec, packed: &[u8]) -> Vec<u8> {
        let mut back = Vec::new();
        match codec {
            StreamCodec::Gzip => flate2::read::GzDecoder::new(packed).read_to_end(&mut back),
            StreamCodec::Bzip2 => ::bzip2::read::BzDecoder::new(packed).read_to_end(&mut back),
            StreamCodec::Xz => liblzma::read::XzDecoder::new(packed).read_to_end(&mut back),
        }
        .unwrap();
        back
    }

    #[test]
    fn one_stream_reads_back_whole() {
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        };
        let content: Vec<u8> =
            (0..1_200_000).map(|n: u32| if n % 7 < 3 { noise() } else { n.to_le_bytes()[1] }).collect();
        // Runs are what bzip2's first stage makes longer.
        let runs: Vec<u8> = (0..900_000_u32).map(|n| (n / 4).to_le_bytes()[0]).collect();
        for codec in [StreamCodec::Gzip, StreamCodec::Bzip2, StreamCodec::Xz] {
            for level in [1, codec.default_level()] {
                for input in [&content[..], &runs, &content[..1], &[]] {
                    {
                        let mut encoder = StreamEncoder::new(Vec::new(), Some(codec), level, 3).unwrap();
                        for piece in input.chunks(100_003) {
                            encoder.write_all(piece).unwrap();
                        }
                        let packed = encoder.finish().unwrap();
                        assert!(first_stream(codec, &packed) == input, "{codec} {level} {}", input.len());
                    }
                }
            }
        }
    }

    #[test]
    fn a_writer_that_fails_ends_it() {
        #[derive(Debug)]
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for codec in [StreamCodec::Gzip, StreamCodec::Bzip2, StreamCodec::Xz] {
            let mut encoder = StreamEncoder::new(Full(20), Some(codec), 1, 2).unwrap();
            let mut result = Ok(());
            for n in 0..40_u8 {
                result = result.and_then(|()| encoder.write_all(&[n; 300_000]));
            }
            let result = result.and_then(|()| encoder.finish().map(|_| ()));
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull, "{codec}");
        }
    }

    #[test]
    fn levels() {
        assert!(StreamCodec::Xz.check_level(0).is_ok());
        assert_eq!(
            StreamCodec::Gzip.check_level(0).unwrap_err().to_string(),
            "Invalid compression level '0' for algorithm 'gzip'. Valid levels are: 1, 2, 3, 4, 5, 6, 7, 8, 9"
        );
    }
}
