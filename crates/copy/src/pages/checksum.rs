//! The checksum itself: 32 FNV-1a sums side by side, folded into 16 bits (PostgreSQL's `checksum_impl.h`).

use multiversion::multiversion;

/// Bytes in a page; clusters built with another block size are not looked at.
pub const PAGE_SIZE: usize = 8192;

const SUMS: usize = 32;
const ROW: usize = SUMS * 4;
const FNV_PRIME: u32 = 16_777_619;

/// Where the sums begin: fixed random numbers, part of the on-disk format.
const BASE: [u32; SUMS] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

#[inline(always)]
fn mix(sum: u32, value: u32) -> u32 {
    let mixed = sum ^ value;
    mixed.wrapping_mul(FNV_PRIME) ^ (mixed >> 17)
}

#[inline(always)]
fn row(sums: &mut [u32; SUMS], bytes: &[u8; ROW]) {
    let (words, _) = bytes.as_chunks();
    for (sum, word) in sums.iter_mut().zip(words) {
        *sum = mix(*sum, u32::from_le_bytes(*word));
    }
}

/// All sums over the page, its checksum field taken as zero. Written so that the compiler makes vectors of it, and compiled
/// for several processors, since the multiplication it needs is not in the oldest one's set.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2", "x86_64+sse4.1"))]
fn fold(page: &[u8; PAGE_SIZE]) -> u32 {
    let (rows, _) = page.as_chunks::<ROW>();
    let mut sums = BASE;
    if let Some((first, rest)) = rows.split_first() {
        let mut first = *first;
        if let Some(field) = first.get_mut(8..10) {
            field.fill(0);
        }
        row(&mut sums, &first);
        for bytes in rest {
            row(&mut sums, bytes);
        }
    }
    for _ in 0..2 {
        row(&mut sums, &[0; ROW]);
    }
    sums.iter().fold(0, |folded, sum| folded ^ sum)
}

/// The checksum a page should carry at block `block` of its relation's fork, counted from the first file of it: the number
/// is part of the sum, so that a page at a wrong place is found.
pub fn page_checksum(page: &[u8; PAGE_SIZE], block: u32) -> u16 {
    let folded = (fold(page) ^ block) % 65_535;
    // Never zero: below 65535, and one more.
    u16::try_from(folded + 1).unwrap_or(u16::MAX)
}
