//! Segment sizes.

use std::fmt;

use thiserror::Error;

/// Size of a WAL segment: a power of two from 1 MiB to 1 GiB, fixed by `initdb --wal-segsize`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SegmentSize(u32);

impl SegmentSize {
    /// What `initdb` chooses unless told otherwise: 16 MiB.
    pub const DEFAULT: Self = Self(16 * 1024 * 1024);
    /// The smallest size PostgreSQL accepts: 1 MiB (`WalSegMinSize`).
    pub const MIN: Self = Self(1024 * 1024);
    /// The largest size PostgreSQL accepts: 1 GiB (`WalSegMaxSize`).
    pub const MAX: Self = Self(1024 * 1024 * 1024);

    /// A segment size of `bytes`.
    ///
    /// # Errors
    /// When `bytes` is not a power of two from 1 MiB to 1 GiB.
    pub fn new(bytes: u64) -> Result<Self, SegmentSizeError> {
        match u32::try_from(bytes) {
            Ok(small) if bytes.is_power_of_two() && (Self::MIN.0..=Self::MAX.0).contains(&small) => {
                Ok(Self(small))
            }
            _ => Err(SegmentSizeError { bytes }),
        }
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0 as u64
    }

    /// Bytes, as the 32-bit number the long page header stores.
    pub const fn bytes_u32(self) -> u32 {
        self.0
    }

    /// Segments in one log file of 4 GiB: 256 at 16 MiB.
    pub const fn per_log(self) -> u64 {
        0x1_0000_0000 / self.bytes()
    }
}

impl Default for SegmentSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for SegmentSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}MB", self.0 >> 20)
    }
}

/// A number of bytes no WAL segment can have.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{bytes} bytes is not a WAL segment size: expected a power of two from 1 MiB to 1 GiB")]
#[non_exhaustive]
pub struct SegmentSizeError {
    /// What was given, in bytes.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(SegmentSize::new(1 << 20).unwrap().per_log(), 4096);
        assert_eq!(SegmentSize::DEFAULT.per_log(), 256);
        assert_eq!(SegmentSize::new(1 << 30).unwrap().per_log(), 4);
        for bad in [0, 1, 1 << 19, (1 << 20) + 1, 3 << 20, 1 << 31, u64::MAX] {
            assert_eq!(SegmentSize::new(bad), Err(SegmentSizeError { bytes: bad }));
        }
    }
}
