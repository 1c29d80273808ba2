//! The formats in which Barman archives WAL, each behind a feature: reading, writing, and telling them apart.
//!
//! A codec whose feature is off is still recognised and named; asking for it is [`CodecError::Disabled`].
//! Decoders stream, use at most 128 MiB of window whatever the file asks for, and bound nothing else: a caller
//! that knows how long the content may be puts `Read::take` around them.
//!
//! ```
//! use walfile::codec::{self, Compression};
//! let plain = codec::detect(b"\x1f\x8b\x08\x00");
//! assert_eq!(plain, Compression::Gzip);
//! assert_eq!(plain.name(), "gzip");
//! ```

mod compression;
mod decoder;
mod encoder;
mod level;
#[cfg(feature = "lz4")]
mod lz4;

use std::io;

use thiserror::Error;

pub use compression::{Compression, DETECT_LEN, ParseCompressionError, detect};
pub use decoder::{Decoder, decoder};
pub use encoder::{Encoder, encoder};
pub use level::Level;

/// A codec that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The crate was built without this codec.
    #[error("{0} is not built in (feature {0} of walfile)")]
    Disabled(Compression),
    /// The codec would not start, or reading or writing failed.
    #[error("{compression}: {source}")]
    Start {
        /// The codec.
        compression: Compression,
        /// What it said.
        source: io::Error,
    },
}

impl From<CodecError> for io::Error {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::Disabled(_) => Self::new(io::ErrorKind::Unsupported, error),
            CodecError::Start { ref source, .. } => Self::new(source.kind(), error),
        }
    }
}
