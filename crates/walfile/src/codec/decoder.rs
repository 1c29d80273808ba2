//! Reading compressed content.

use std::fmt;
use std::io::{self, Read};

use crate::codec::{CodecError, Compression};

/// 128 MiB: the window of `zstd -22` and twice what `xz -9` needs.
#[cfg(feature = "zstd")]
const ZSTD_WINDOW_LOG: u32 = 27;
#[cfg(feature = "xz")]
const XZ_MEMORY: u64 = 128 * 1024 * 1024;

/// Compressed bytes in, content out; made by [`decoder`].
///
/// Several streams one after the other count as one, as for the command-line tools. A stream that is cut off
/// is an error, except with Snappy, whose frames have no end: check the length of what it held.
pub struct Decoder<R: Read>(Inner<R>);

enum Inner<R: Read> {
    Plain(R),
    #[cfg(feature = "gzip")]
    Gzip(Box<flate2::read::MultiGzDecoder<R>>),
    #[cfg(feature = "bzip2")]
    Bzip2(Box<bzip2::read::MultiBzDecoder<R>>),
    #[cfg(feature = "xz")]
    Xz(Box<liblzma::read::XzDecoder<R>>),
    #[cfg(feature = "zstd")]
    Zstd(Box<zstd::stream::read::Decoder<'static, io::BufReader<R>>>),
    #[cfg(feature = "lz4")]
    Lz4(Box<super::lz4::Lz4Decoder<R>>),
    #[cfg(feature = "snappy")]
    Snappy(Box<snap::read::FrameDecoder<R>>),
}

/// A reader of the content of `reader`, which is compressed as `compression` says. It does its own buffering.
///
/// # Errors
/// When the codec is not built in or does not start.
pub fn decoder<R: Read>(reader: R, compression: Compression) -> Result<Decoder<R>, CodecError> {
    #[cfg(any(feature = "xz", feature = "zstd"))]
    let start = |source: io::Error| CodecError::Start { compression, source };
    Ok(Decoder(match compression {
        Compression::None => Inner::Plain(reader),
        #[cfg(feature = "gzip")]
        Compression::Gzip => Inner::Gzip(Box::new(flate2::read::MultiGzDecoder::new(reader))),
        #[cfg(feature = "bzip2")]
        Compression::Bzip2 => Inner::Bzip2(Box::new(bzip2::read::MultiBzDecoder::new(reader))),
        #[cfg(feature = "xz")]
        Compression::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)
                    .map_err(|error| start(error.into()))?;
            Inner::Xz(Box::new(liblzma::read::XzDecoder::new_stream(reader, stream)))
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(reader).map_err(start)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(start)?;
            Inner::Zstd(Box::new(decoder))
        }
        #[cfg(feature = "lz4")]
        Compression::Lz4 => Inner::Lz4(Box::new(super::lz4::Lz4Decoder::new(reader))),
        #[cfg(feature = "snappy")]
        Compression::Snappy => Inner::Snappy(Box::new(snap::read::FrameDecoder::new(reader))),
        #[allow(unreachable_patterns, reason = "reached by the codecs that are not built in")]
        disabled => return Err(CodecError::Disabled(disabled)),
    }))
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(inner) => inner.read(buf),
            #[cfg(feature = "gzip")]
            Inner::Gzip(inner) => inner.read(buf),
            #[cfg(feature = "bzip2")]
            Inner::Bzip2(inner) => inner.read(buf),
            #[cfg(feature = "xz")]
            Inner::Xz(inner) => inner.read(buf),
            #[cfg(feature = "zstd")]
            Inner::Zstd(inner) => inner.read(buf),
            #[cfg(feature = "lz4")]
            Inner::Lz4(inner) => inner.read(buf),
            #[cfg(feature = "snappy")]
            Inner::Snappy(inner) => inner.read(buf),
        }
    }
}

impl<R: Read> fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}
