//! The checksums a backup manifest may carry (PostgreSQL's `checksum_helper.c`).
//!
//! A checksum is compared as bytes. CRC-32C stands in the manifest as the four bytes of the server's
//! memory, which on every little-endian server is the number with its lowest byte first.

use std::fmt;
use std::str::FromStr;

use sha2::Digest;
use thiserror::Error;

/// How the files of a backup are checksummed; the manifest's `Checksum-Algorithm`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ChecksumAlgorithm {
    /// No checksum; sizes alone are compared.
    None,
    /// CRC-32C, the server's default.
    #[default]
    Crc32c,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl ChecksumAlgorithm {
    /// The name as the manifest and `MANIFEST_CHECKSUMS` spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Crc32c => "CRC32C",
            Self::Sha224 => "SHA224",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
        }
    }

    /// Bytes of a checksum of this kind.
    pub const fn length(self) -> usize {
        match self {
            Self::None => 0,
            Self::Crc32c => 4,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// A sum of nothing so far.
    pub fn hasher(self) -> Hasher {
        Hasher(match self {
            Self::None => State::None,
            Self::Crc32c => State::Crc32c(0),
            Self::Sha224 => State::Sha224(sha2::Sha224::new()),
            Self::Sha256 => State::Sha256(sha2::Sha256::new()),
            Self::Sha384 => State::Sha384(sha2::Sha384::new()),
            Self::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }
}

impl fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no checksum algorithm, or is no checksum.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ParseChecksumError {
    /// Not one of the algorithms.
    #[error("'{text}' is not a checksum algorithm: expected none, crc32c, sha224, sha256, sha384 or sha512")]
    Algorithm {
        /// What was given, shortened to 64 characters.
        text: String,
    },
    /// Not the hexadecimal digits of a checksum.
    #[error("'{text}' is not a checksum: expected up to 128 hexadecimal digits, an even number of them")]
    Digits {
        /// What was given, shortened to 64 characters.
        text: String,
    },
}

impl FromStr for ChecksumAlgorithm {
    type Err = ParseChecksumError;

    /// Letter case does not matter, as in PostgreSQL.
    fn from_str(text: &str) -> Result<Self, ParseChecksumError> {
        [Self::None, Self::Crc32c, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| ParseChecksumError::Algorithm { text: text.chars().take(64).collect() })
    }
}

/// A checksum: up to 64 bytes, none for [`ChecksumAlgorithm::None`]. `Display` is lower-case hexadecimal.
#[derive(Clone, Copy)]
pub struct Checksum {
    bytes: [u8; 64],
    length: u8,
}

impl Checksum {
    /// The checksum of an algorithm that computes none.
    pub const EMPTY: Self = Self { bytes: [0; 64], length: 0 };

    /// A checksum of these bytes, or `None` when there are more than 64.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut checksum = Self::EMPTY;
        checksum.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        checksum.length = u8::try_from(bytes.len()).ok()?;
        Some(checksum)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Reads hexadecimal digits of either case.
    ///
    /// # Errors
    /// When there is an odd number of digits, more than 128, or something else than digits.
    pub fn from_hex(text: &[u8]) -> Result<Self, ParseChecksumError> {
        let mut checksum = Self::EMPTY;
        let target = checksum.bytes.get_mut(..text.len().div_ceil(2));
        let fits = target.is_some_and(|target| decode_hex(text, target).is_some());
        match u8::try_from(text.len() / 2) {
            Ok(length) if fits => {
                checksum.length = length;
                Ok(checksum)
            }
            _ => Err(ParseChecksumError::Digits {
                text: String::from_utf8_lossy(text).chars().take(64).collect(),
            }),
        }
    }
}

/// Fills `target` with the bytes that `text` spells in hexadecimal; `None` unless it is exactly that long.
pub(crate) fn decode_hex(text: &[u8], target: &mut [u8]) -> Option<()> {
    let (pairs, rest) = text.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() != target.len() {
        return None;
    }
    for ([high, low], byte) in pairs.iter().zip(target) {
        *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
    }
    Some(())
}

const fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl PartialEq for Checksum {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Checksum {}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checksum({self})")
    }
}

/// A checksum in the making.
#[derive(Clone, Debug)]
pub struct Hasher(State);

#[derive(Clone, Debug)]
enum State {
    None,
    Crc32c(u32),
    Sha224(sha2::Sha224),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::None => {}
            State::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
            State::Sha224(hash) => hash.update(bytes),
            State::Sha256(hash) => hash.update(bytes),
            State::Sha384(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The checksum of everything added.
    pub fn finish(self) -> Checksum {
        match self.0 {
            State::None => Some(Checksum::EMPTY),
            State::Crc32c(crc) => Checksum::new(&crc.to_le_bytes()),
            State::Sha224(hash) => Checksum::new(hash.finalize().as_slice()),
            State::Sha256(hash) => Checksum::new(hash.finalize().as_slice()),
            State::Sha384(hash) => Checksum::new(hash.finalize().as_slice()),
            State::Sha512(hash) => Checksum::new(hash.finalize().as_slice()),
        }
        .unwrap_or(Checksum::EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bit-by-bit definition, for the tails that table-driven code gets wrong (lengths not a multiple of 8).
    fn crc32c_by_definition(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(
                crc ^ u32::from(*byte),
                |crc, _| {
                    if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 }
                },
            )
        })
    }

    #[test]
    fn crc32c_is_right_for_every_length_and_split() {
        let bytes: Vec<u8> = (0..600_u32).map(|n| (n * 7 % 251) as u8).collect();
        for length in 0..bytes.len() {
            let mut whole = ChecksumAlgorithm::Crc32c.hasher();
            whole.update(&bytes[..length]);
            let expected = crc32c_by_definition(&bytes[..length]).to_le_bytes();
            assert_eq!(whole.finish().as_bytes(), expected, "{length}");
            let mut split = ChecksumAlgorithm::Crc32c.hasher();
            split.update(&bytes[..length / 3]);
            split.update(&bytes[length / 3..length]);
            assert_eq!(split.finish().as_bytes(), expected, "{length}");
        }
    }

    #[test]
    fn known_sums() {
        for (algorithm, expected) in [
            (ChecksumAlgorithm::None, ""),
            (ChecksumAlgorithm::Crc32c, "839206e3"),
            (ChecksumAlgorithm::Sha224, "9b3e61bf29f17c75572fae2e86e17809a4513d07c8a18152acf34521"),
            (ChecksumAlgorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            let mut hasher = algorithm.hasher();
            hasher.update(b"123456789");
            assert_eq!(hasher.finish().to_string(), expected);
            assert_eq!(expected.len(), algorithm.length() * 2);
        }
    }

    #[test]
    fn hex_is_read_strictly() {
        assert_eq!(Checksum::from_hex(b"00fF").unwrap().as_bytes(), [0, 255]);
        assert_eq!(Checksum::from_hex(b"").unwrap(), Checksum::EMPTY);
        for bad in ["0", "0g", "+1", &"00".repeat(65), &"0".repeat(1 << 16)] {
            assert!(Checksum::from_hex(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
