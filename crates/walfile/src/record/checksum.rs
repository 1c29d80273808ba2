//! The checksum of a record: CRC-32C over what follows the header, then over the header without its last field.

use multiversion::multiversion;
use multiversion::target::match_target;

use crate::record::RecordHeader;

/// From this length on the `crc32c` crate takes three strands at once, which pays for its call. Below it, most of its
/// time is not spent on the bytes: of the records of a busy server half are shorter than 64 bytes.
const LONG: usize = 768;

/// The CRC-32C of a whole record, as its header should say.
///
/// `multiversion` makes the choice between processors: the one call that safe Rust cannot make is in its code, not here.
#[multiversion(targets("x86_64+sse4.2", "aarch64+crc"))]
pub(crate) fn checksum(record: &[u8]) -> u32 {
    let Some((header, rest)) = record.split_first_chunk::<{ RecordHeader::LEN }>() else { return 0 };
    match_target! {
        "x86_64+sse4.2" => if rest.len() < LONG { return x86_64::short(header, rest); },
        "aarch64+crc" => if rest.len() < LONG { return aarch64::short(header, rest); },
        _ => {},
    }
    let Some((covered, _)) = header.split_first_chunk::<20>() else { return 0 };
    crc32c::crc32c_append(crc32c::crc32c(rest), covered)
}

/// With the processor's instruction, and without a loop over single bytes, whose end no branch predictor foresees.
#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u16, _mm_crc32_u32, _mm_crc32_u64};

    use super::RecordHeader;

    #[inline]
    #[target_feature(enable = "sse4.2")]
    #[expect(clippy::cast_possible_truncation, reason = "the instruction leaves the upper half zero")]
    pub(super) fn short(header: &[u8; RecordHeader::LEN], rest: &[u8]) -> u32 {
        let (words, mut tail) = rest.as_chunks();
        let mut wide = u64::from(u32::MAX);
        for word in words {
            wide = _mm_crc32_u64(wide, u64::from_le_bytes(*word));
        }
        let mut crc = wide as u32;
        if let Some((word, rest)) = tail.split_first_chunk() {
            crc = _mm_crc32_u32(crc, u32::from_le_bytes(*word));
            tail = rest;
        }
        if let Some((word, rest)) = tail.split_first_chunk() {
            crc = _mm_crc32_u16(crc, u16::from_le_bytes(*word));
            tail = rest;
        }
        if let Some(byte) = tail.first() {
            crc = _mm_crc32_u8(crc, *byte);
        }
        let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7, c0, c1, c2, c3, ..] = *header;
        let wide = _mm_crc32_u64(crc.into(), u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]));
        let wide = _mm_crc32_u64(wide, u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]));
        !_mm_crc32_u32(wide as u32, u32::from_le_bytes([c0, c1, c2, c3]))
    }
}

/// As for x86-64.
#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use std::arch::aarch64::{__crc32cb, __crc32cd, __crc32ch, __crc32cw};

    use super::RecordHeader;

    #[inline]
    #[target_feature(enable = "crc")]
    pub(super) fn short(header: &[u8; RecordHeader::LEN], rest: &[u8]) -> u32 {
        let (words, mut tail) = rest.as_chunks();
        let mut crc = u32::MAX;
        for word in words {
            crc = __crc32cd(crc, u64::from_le_bytes(*word));
        }
        if let Some((word, rest)) = tail.split_first_chunk() {
            crc = __crc32cw(crc, u32::from_le_bytes(*word));
            tail = rest;
        }
        if let Some((word, rest)) = tail.split_first_chunk() {
            crc = __crc32ch(crc, u16::from_le_bytes(*word));
            tail = rest;
        }
        if let Some(byte) = tail.first() {
            crc = __crc32cb(crc, *byte);
        }
        let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7, c0, c1, c2, c3, ..] = *header;
        crc = __crc32cd(crc, u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]));
        crc = __crc32cd(crc, u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]));
        !__crc32cw(crc, u32::from_le_bytes([c0, c1, c2, c3]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_what_the_crate_says() {
        let bytes: Vec<u8> = (0..1000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for start in 0..9 {
            for end in start + RecordHeader::LEN..bytes.len() {
                let record = &bytes[start..end];
                let expected =
                    crc32c::crc32c_append(crc32c::crc32c(&record[RecordHeader::LEN..]), &record[..20]);
                assert_eq!(checksum(record), expected, "{start}..{end}");
            }
        }
        assert_eq!(checksum(&bytes[..RecordHeader::LEN - 1]), 0);
    }
}
