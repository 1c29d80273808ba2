//! Compression levels.

use crate::codec::Compression;

/// How hard to compress: Barman's `compression_level`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Level {
    /// Fast.
    Low,
    /// The usual.
    #[default]
    Medium,
    /// Small.
    High,
    /// A level of the format, clamped to its range.
    Exact(i32),
}

impl Level {
    /// The number that this level is for a format, as Barman 3.19 chooses it; 0 for formats without levels. The
    /// LZ4 encoder here has one speed whatever the number.
    pub fn number(self, compression: Compression) -> i32 {
        let (min, max, low, medium, high) = match compression {
            Compression::None | Compression::Snappy => return 0,
            Compression::Gzip => (1, 9, 1, 6, 9),
            Compression::Bzip2 => (1, 9, 1, 5, 9),
            Compression::Xz => (1, 9, 1, 3, 5),
            Compression::Zstd => (-22, 22, 1, 4, 9),
            Compression::Lz4 => (0, 16, 0, 6, 10),
        };
        match self {
            Self::Low => low,
            Self::Medium => medium,
            Self::High => high,
            Self::Exact(number) => number.clamp(min, max),
        }
    }
}

impl From<i32> for Level {
    fn from(number: i32) -> Self {
        Self::Exact(number)
    }
}
