//! Writing compressed content.

use std::fmt;
use std::io::{self, Write};

use crate::codec::{CodecError, Compression, Level};

/// Content in, compressed bytes out; made by [`encoder`]. Nothing is complete before [`Encoder::finish`].
///
/// The same content always gives the same bytes: no name and no time go into a gzip header. Formats that can
/// carry a checksum of the content do.
pub struct Encoder<W: Write>(Inner<W>);

enum Inner<W: Write> {
    Plain(W),
    #[cfg(feature = "gzip")]
    Gzip(Box<flate2::write::GzEncoder<W>>),
    #[cfg(feature = "bzip2")]
    Bzip2(bzip2::write::BzEncoder<W>),
    #[cfg(feature = "xz")]
    Xz(liblzma::write::XzEncoder<W>),
    #[cfg(feature = "zstd")]
    Zstd(zstd::stream::write::Encoder<'static, W>),
    #[cfg(feature = "lz4")]
    Lz4(Box<lz4_flex::frame::FrameEncoder<W>>),
    #[cfg(feature = "snappy")]
    Snappy(Box<snap::write::FrameEncoder<W>>),
}

/// A writer that compresses into `writer`.
///
/// # Errors
/// When the codec is not built in or does not start.
#[cfg_attr(
    not(any(feature = "gzip", feature = "bzip2", feature = "xz", feature = "zstd")),
    expect(unused_variables, reason = "levels belong to codecs")
)]
pub fn encoder<W: Write>(
    writer: W,
    compression: Compression,
    level: impl Into<Level>,
) -> Result<Encoder<W>, CodecError> {
    let number = level.into().number(compression);
    // The ranges of these three begin at 1.
    #[cfg(any(feature = "gzip", feature = "bzip2", feature = "xz"))]
    let positive = number.unsigned_abs();
    #[cfg(any(feature = "xz", feature = "zstd"))]
    let start = |source: io::Error| CodecError::Start { compression, source };
    Ok(Encoder(match compression {
        Compression::None => Inner::Plain(writer),
        #[cfg(feature = "gzip")]
        Compression::Gzip => {
            Inner::Gzip(Box::new(flate2::write::GzEncoder::new(writer, flate2::Compression::new(positive))))
        }
        #[cfg(feature = "bzip2")]
        Compression::Bzip2 => {
            Inner::Bzip2(bzip2::write::BzEncoder::new(writer, bzip2::Compression::new(positive)))
        }
        #[cfg(feature = "xz")]
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_easy_encoder(positive, liblzma::stream::Check::Crc64)
                .map_err(|error| start(error.into()))?;
            Inner::Xz(liblzma::write::XzEncoder::new_stream(writer, stream))
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(writer, number).map_err(start)?;
            encoder.include_checksum(true).map_err(start)?;
            Inner::Zstd(encoder)
        }
        #[cfg(feature = "lz4")]
        Compression::Lz4 => {
            let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
            Inner::Lz4(Box::new(lz4_flex::frame::FrameEncoder::with_frame_info(info, writer)))
        }
        #[cfg(feature = "snappy")]
        Compression::Snappy => Inner::Snappy(Box::new(snap::write::FrameEncoder::new(writer))),
        #[allow(unreachable_patterns, reason = "reached by the codecs that are not built in")]
        disabled => return Err(CodecError::Disabled(disabled)),
    }))
}

impl<W: Write> Encoder<W> {
    /// Writes what is still held back and the end of the stream, and gives the writer back, not flushed.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::Plain(inner) => Ok(inner),
            #[cfg(feature = "gzip")]
            Inner::Gzip(inner) => inner.finish(),
            #[cfg(feature = "bzip2")]
            Inner::Bzip2(inner) => inner.finish(),
            #[cfg(feature = "xz")]
            Inner::Xz(inner) => inner.finish(),
            #[cfg(feature = "zstd")]
            Inner::Zstd(inner) => inner.finish(),
            #[cfg(feature = "lz4")]
            Inner::Lz4(inner) => inner.finish().map_err(io::Error::from),
            #[cfg(feature = "snappy")]
            Inner::Snappy(inner) => inner.into_inner().map_err(|error| error.into_error()),
        }
    }

    fn inner(&mut self) -> &mut dyn Write {
        match &mut self.0 {
            Inner::Plain(inner) => inner,
            #[cfg(feature = "gzip")]
            Inner::Gzip(inner) => inner,
            #[cfg(feature = "bzip2")]
            Inner::Bzip2(inner) => inner,
            #[cfg(feature = "xz")]
            Inner::Xz(inner) => inner,
            #[cfg(feature = "zstd")]
            Inner::Zstd(inner) => inner,
            #[cfg(feature = "lz4")]
            Inner::Lz4(inner) => inner,
            #[cfg(feature = "snappy")]
            Inner::Snappy(inner) => inner,
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.inner().write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner().flush()
    }
}

impl<W: Write> fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}
