//! Names and magics.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// How the content of an archived WAL file is compressed.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz, not bare LZMA.
    Xz,
    /// Zstandard (RFC 8878).
    Zstd,
    /// The LZ4 frame format.
    Lz4,
    /// The Snappy framing format.
    Snappy,
}

/// How many bytes from the start of a file [`detect`] looks at, at most.
pub const DETECT_LEN: usize = 10;

impl Compression {
    /// Every format, in the order of their names.
    pub const ALL: [Self; 7] =
        [Self::Bzip2, Self::Gzip, Self::Lz4, Self::None, Self::Snappy, Self::Xz, Self::Zstd];

    /// The name in Barman's configuration and index: `gzip`, `bzip2`, `xz`, `zstd`, `lz4`, `snappy`; `none` for
    /// [`Compression::None`], which Barman's index writes as `None`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
        }
    }

    /// The bytes every file of this format begins with; empty for [`Compression::None`].
    pub const fn magic(self) -> &'static [u8] {
        match self {
            Self::None => b"",
            Self::Gzip => b"\x1f\x8b\x08",
            Self::Bzip2 => b"BZh",
            Self::Xz => b"\xfd7zXZ\0",
            Self::Zstd => b"\x28\xb5\x2f\xfd",
            Self::Lz4 => b"\x04\x22\x4d\x18",
            Self::Snappy => b"\xff\x06\0\0sNaPpY",
        }
    }

    /// Whether this build can read and write the format.
    pub const fn is_enabled(self) -> bool {
        match self {
            Self::None => true,
            Self::Gzip => cfg!(feature = "gzip"),
            Self::Bzip2 => cfg!(feature = "bzip2"),
            Self::Xz => cfg!(feature = "xz"),
            Self::Zstd => cfg!(feature = "zstd"),
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Snappy => cfg!(feature = "snappy"),
        }
    }
}

/// The format of a file that begins with `start`, by its magic; no WAL page and no history or label file begins
/// with one of them. [`DETECT_LEN`] bytes are enough.
pub fn detect(start: &[u8]) -> Compression {
    let found = |compression: &Compression| {
        *compression != Compression::None && start.starts_with(compression.magic())
    };
    Compression::ALL.into_iter().find(found).unwrap_or(Compression::None)
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no compression.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("'{text}' is not a compression: expected gzip, bzip2, xz, zstd, lz4, snappy or none")]
#[non_exhaustive]
pub struct ParseCompressionError {
    /// What was given, shortened to 64 characters.
    pub text: String,
}

impl FromStr for Compression {
    type Err = ParseCompressionError;

    fn from_str(text: &str) -> Result<Self, ParseCompressionError> {
        let found = Self::ALL.into_iter().find(|compression| compression.name() == text);
        found.ok_or_else(|| ParseCompressionError { text: text.chars().take(64).collect() })
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Compression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Compression {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
