//! The checksum of a record: CRC-32C over what follows the header, then over the header without its last field.
//!
//! Most records are short, and their checksum is a few instructions for eight bytes each. Page images are long; of these 256
//! bytes are folded at once where the processor can (Gopal and others, "Fast CRC Computation for Generic Polynomials
//! Using PCLMULQDQ Instruction", Intel 2009), and elsewhere three strands are taken side by side by the `crc32c` crate.
//!
//! `multiversion` makes the choice between processors: the one call that safe Rust cannot make is in its code, not here.

#[cfg(target_arch = "x86_64")]
mod fold;

use multiversion::multiversion;
use multiversion::target::match_target;

use crate::record::RecordHeader;

/// Below this length the processor's instruction alone is best everywhere; from it on folding pays.
pub(crate) const SHORT: usize = 512;

/// From this length on the `crc32c` crate takes three strands at once, which pays for its call. Below it, most of its
/// time is not spent on the bytes: of the records of a busy server half are shorter than 64 bytes.
const LONG: usize = 768;

/// The CRC-32C of a whole record, as its header should say.
#[inline]
pub(crate) fn checksum(record: &[u8]) -> u32 {
    let Some((header, rest)) = record.split_first_chunk() else { return 0 };
    checksum_of(header, rest)
}

/// The CRC-32C of a record with this header and this after it.
#[multiversion(targets("x86_64+avx512f+vpclmulqdq+pclmulqdq+sse4.2", "x86_64+sse4.2", "aarch64+crc"))]
pub(crate) fn checksum_of(header: &[u8; RecordHeader::LEN], rest: &[u8]) -> u32 {
    match_target! {
        "x86_64+avx512f+vpclmulqdq+pclmulqdq+sse4.2" => {
            let short = rest.len() < SHORT;
            let body = if short { x86_64::body(u32::MAX, rest) } else { fold::body(u32::MAX, rest) };
            x86_64::header(body, header)
        },
        "x86_64+sse4.2" => if rest.len() < LONG {
            x86_64::short(header, rest)
        } else {
            in_strands(header, rest)
        },
        "aarch64+crc" => if rest.len() < LONG {
            aarch64::short(header, rest)
        } else {
            in_strands(header, rest)
        },
        _ => in_strands(header, rest),
    }
}

fn in_strands(header: &[u8; RecordHeader::LEN], rest: &[u8]) -> u32 {
    finish(crc32c::crc32c(rest), header)
}

/// The checksum of what follows the header as far as it is there, which begins with zero, with `more` after it.
#[multiversion(targets("x86_64+avx512f+vpclmulqdq+pclmulqdq+sse4.2"))]
pub(crate) fn append(sum: u32, more: &[u8]) -> u32 {
    match_target! {
        "x86_64+avx512f+vpclmulqdq+pclmulqdq+sse4.2" => if more.len() < SHORT {
            crc32c::crc32c_append(sum, more)
        } else {
            !fold::body(!sum, more)
        },
        _ => crc32c::crc32c_append(sum, more),
    }
}

/// The checksum of a record, of which this is the header, and this the sum of what follows it.
pub(crate) fn finish(sum: u32, header: &[u8; RecordHeader::LEN]) -> u32 {
    let Some((covered, _)) = header.split_first_chunk::<20>() else { return 0 };
    crc32c::crc32c_append(sum, covered)
}

/// With the processor's instruction, and without a loop over single bytes, whose end no branch predictor foresees.
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86_64 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u16, _mm_crc32_u32, _mm_crc32_u64};

    use super::RecordHeader;

    /// The checksum of a short record.
    #[inline]
    #[target_feature(enable = "sse4.2")]
    pub(crate) fn short(record_header: &[u8; RecordHeader::LEN], rest: &[u8]) -> u32 {
        header(body(u32::MAX, rest), record_header)
    }

    #[inline]
    #[target_feature(enable = "sse4.2")]
    #[expect(clippy::cast_possible_truncation, reason = "the instruction leaves the upper half zero")]
    pub(super) fn body(state: u32, rest: &[u8]) -> u32 {
        let (words, mut tail) = rest.as_chunks();
        let mut wide = u64::from(state);
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
        crc
    }

    #[inline]
    #[target_feature(enable = "sse4.2")]
    #[expect(clippy::cast_possible_truncation, reason = "the instruction leaves the upper half zero")]
    pub(super) fn header(crc: u32, header: &[u8; RecordHeader::LEN]) -> u32 {
        let [a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7, c0, c1, c2, c3, ..] = *header;
        let wide = _mm_crc32_u64(crc.into(), u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]));
        let wide = _mm_crc32_u64(wide, u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]));
        !_mm_crc32_u32(wide as u32, u32::from_le_bytes([c0, c1, c2, c3]))
    }
}

/// As for x86-64.
#[cfg(target_arch = "aarch64")]
pub(crate) mod aarch64 {
    use std::arch::aarch64::{__crc32cb, __crc32cd, __crc32ch, __crc32cw};

    use super::RecordHeader;

    /// The checksum of a short record.
    #[inline]
    #[target_feature(enable = "crc")]
    pub(crate) fn short(record_header: &[u8; RecordHeader::LEN], rest: &[u8]) -> u32 {
        header(body(u32::MAX, rest), record_header)
    }

    #[inline]
    #[target_feature(enable = "crc")]
    pub(super) fn body(mut crc: u32, rest: &[u8]) -> u32 {
        let (words, mut tail) = rest.as_chunks();
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
        crc
    }

    #[inline]
    #[target_feature(enable = "crc")]
    pub(super) fn header(mut crc: u32, header: &[u8; RecordHeader::LEN]) -> u32 {
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
        let bytes: Vec<u8> = (0..2000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for start in 0..9 {
            for end in start + RecordHeader::LEN..bytes.len() {
                let record = &bytes[start..end];
                let expected =
                    crc32c::crc32c_append(crc32c::crc32c(&record[RecordHeader::LEN..]), &record[..20]);
                assert_eq!(checksum(record), expected, "{start}..{end}");
                let (header, body) = record.split_first_chunk().unwrap();
                let (first, second) = body.split_at(body.len() / 3);
                assert_eq!(finish(append(append(0, first), second), header), expected, "{start}..{end}");
            }
        }
        assert_eq!(checksum(&bytes[..RecordHeader::LEN - 1]), 0);
    }
}
