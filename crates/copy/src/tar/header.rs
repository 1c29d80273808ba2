//! The 512-byte header: ustar, with GNU's base-256 numbers as PostgreSQL writes them (`tar.c`).

use super::BLOCK;
use super::error::{NameProblem, TarError, printable};

/// A header block whose checksum is right.
pub(super) struct RawHeader<'a> {
    block: &'a [u8; BLOCK],
    offset: u64,
}

impl<'a> RawHeader<'a> {
    pub(super) fn check(block: &'a [u8; BLOCK], offset: u64) -> Result<Self, TarError> {
        let header = Self { block, offset };
        let expected = header.number(148, 8, "checksum")?;
        let stored: u64 = header.field(148, 8).iter().map(|byte| u64::from(*byte)).sum();
        let total: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        // The sum is taken with the checksum field as eight blanks.
        let found = total - stored + 8 * u64::from(b' ');
        if found != expected {
            return Err(TarError::HeaderChecksum { offset, expected, found });
        }
        if header.field(257, 5) != b"ustar" {
            return Err(TarError::Field { offset, field: "magic" });
        }
        Ok(header)
    }

    fn field(&self, start: usize, length: usize) -> &'a [u8] {
        self.block.get(start..start.saturating_add(length)).unwrap_or_default()
    }

    /// A field that ends at its first zero byte.
    fn text(&self, start: usize, length: usize) -> &'a [u8] {
        let field = self.field(start, length);
        field.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn number(&self, start: usize, length: usize, field: &'static str) -> Result<u64, TarError> {
        let bytes = self.field(start, length);
        let bad = TarError::Field { offset: self.offset, field };
        if let Some((first, rest)) = bytes.split_first()
            && first & 0x80 != 0
        {
            // Base 256; the second-highest bit is the sign, and nothing here is negative.
            let high = u64::from(first & 0x7F);
            let value = rest
                .iter()
                .try_fold(high, |value, byte| value.checked_mul(256).map(|value| value | u64::from(*byte)));
            return match value {
                Some(value) if first & 0x40 == 0 => Ok(value),
                _ => Err(bad),
            };
        }
        let digits = bytes.trim_ascii_start();
        let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
        let (digits, _) = digits.split_at_checked(end).unwrap_or((digits, &[]));
        digits
            .iter()
            .try_fold(0_u64, |value, digit| match digit {
                b'0'..=b'7' => value.checked_mul(8).map(|value| value | u64::from(digit - b'0')),
                _ => None,
            })
            .ok_or(bad)
    }

    /// The name field, with ustar's prefix in front.
    pub(super) fn name(&self) -> Vec<u8> {
        let (name, prefix) = (self.text(0, 100), self.text(345, 155));
        // GNU's variant ("ustar  ") keeps other things where ustar has the prefix.
        if prefix.is_empty() || self.field(257, 6) != b"ustar\0" {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(super) fn link(&self) -> &'a [u8] {
        self.text(157, 100)
    }

    pub(super) fn kind(&self) -> u8 {
        self.field(156, 1).first().copied().unwrap_or(0)
    }

    pub(super) fn size(&self) -> Result<u64, TarError> {
        self.number(124, 12, "size")
    }

    pub(super) fn mode(&self) -> Result<u32, TarError> {
        let mode = self.number(100, 8, "mode")?;
        u32::try_from(mode).map_err(|_| TarError::Field { offset: self.offset, field: "mode" })
    }

    pub(super) fn mtime(&self) -> Result<u64, TarError> {
        self.number(136, 12, "modification time")
    }
}

/// A ustar header for a regular file of `size` bytes, or for a directory when `name` ends with a slash;
/// `mtime` in seconds since 1970.
///
/// # Errors
/// When `name` is empty or longer than 99 bytes, which is all this crate ever adds to an archive.
pub fn member_header(name: &str, size: u64, mode: u32, mtime: u64) -> Result<[u8; BLOCK], TarError> {
    let refuse = |problem| TarError::Name { name: printable(name.as_bytes()), problem };
    if name.is_empty() {
        return Err(refuse(NameProblem::Empty));
    }
    if name.len() > MAX_SHORT {
        return Err(refuse(NameProblem::TooLong));
    }
    let kind = if name.ends_with('/') { b'5' } else { b'0' };
    let mut block = header(name.as_bytes(), kind, b"", size, (mode, 0, 0), mtime);
    put(&mut block, 265, b"postgres");
    put(&mut block, 297, b"postgres");
    seal(&mut block);
    Ok(block)
}

/// Longest name that fits the header's own field.
pub(super) const MAX_SHORT: usize = 99;

/// A whole header; what does not fit is cut off, and stands in an extended header before it. The owner are two numbers.
pub(super) fn header(
    name: &[u8],
    kind: u8,
    link: &[u8],
    size: u64,
    (mode, user, group): (u32, u32, u32),
    mtime: u64,
) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block, 0, name.get(..name.len().min(MAX_SHORT)).unwrap_or_default());
    put(&mut block, 100, format!("{:07o}", mode & 0o7777).as_bytes());
    for (start, id) in [(108, user), (116, group)] {
        let id = if id < 1 << 21 { id } else { 0 };
        put(&mut block, start, format!("{id:07o}").as_bytes());
    }
    put_number(&mut block, 124, size);
    put_number(&mut block, 136, mtime);
    put(&mut block, 156, &[kind]);
    put(&mut block, 157, link.get(..link.len().min(MAX_SHORT)).unwrap_or_default());
    put(&mut block, 257, b"ustar\x0000");
    put(&mut block, 329, b"0000000");
    put(&mut block, 337, b"0000000");
    seal(&mut block);
    block
}

/// Puts in the checksum, which is taken with its own field as blanks.
fn seal(block: &mut [u8; BLOCK]) {
    put(block, 148, b"        ");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    put(block, 148, format!("{sum:06o}\0 ").as_bytes());
}

fn put(block: &mut [u8; BLOCK], start: usize, bytes: &[u8]) {
    block.iter_mut().skip(start).zip(bytes).for_each(|(target, byte)| *target = *byte);
}

/// Twelve bytes: octal as long as it fits, base 256 above (PostgreSQL's `print_tar_number`).
fn put_number(block: &mut [u8; BLOCK], start: usize, value: u64) {
    if value < 1 << 33 {
        put(block, start, format!("{value:011o}").as_bytes());
    } else {
        put(block, start, &[0x80, 0, 0, 0]);
        put(block, start + 4, &value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_both_notations() {
        for size in [0, 1, 511, (1 << 33) - 1, 1 << 33, u64::MAX] {
            let block = member_header("x", size, 0o600, 5).unwrap();
            let header = RawHeader::check(&block, 0).unwrap();
            assert_eq!(header.size().unwrap(), size);
            assert_eq!((header.mode().unwrap(), header.mtime().unwrap()), (0o600, 5));
        }
    }

    #[test]
    fn negative_and_huge_numbers_are_refused() {
        for first in [0xFF, 0xC0, 0x81] {
            let mut block = member_header("x", 0, 0o600, 0).unwrap();
            put(&mut block, 124, &[first, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            let header = RawHeader { block: &block, offset: 0 };
            assert!(header.size().is_err(), "{first:x}");
        }
        let mut block = member_header("x", 0, 0o600, 0).unwrap();
        put(&mut block, 124, b"0000000008\0 ");
        assert!(RawHeader { block: &block, offset: 0 }.size().is_err());
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let block = member_header("global/pg_control", 8192, 0o600, 1_700_000_000).unwrap();
        for bit in 0..BLOCK * 8 {
            let mut damaged = block;
            damaged[bit / 8] ^= 1 << (bit % 8);
            // The checksum's own field has blanks and leading zeros that carry nothing.
            if !(148..156).contains(&(bit / 8)) {
                assert!(RawHeader::check(&damaged, 0).is_err(), "bit {bit}");
            }
        }
    }
}
