//! CRC-32C of long inputs by carry-less multiplication, 256 bytes at a time.
//!
//! A CRC is a remainder: what is `n` bits before the end can be replaced by its product with `x^n mod P`, which is shorter, added
//! to what is there. Four registers of 64 bytes are moved 256 bytes on in each round, and at the end into one of 16 bytes.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_clmulepi64_si128, _mm_crc32_u64, _mm_cvtsi128_si64, _mm_set_epi64x,
    _mm_unpackhi_epi64, _mm_xor_si128, _mm512_broadcast_i32x4, _mm512_clmulepi64_epi128,
    _mm512_extracti32x4_epi32, _mm512_set_epi64, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

/// Bytes of a register.
const LANE: usize = 64;

/// What moves the lower and the upper half of 16 bytes on by 256, 64 and 16 bytes: `x^(n+32)` and `x^(n-32)` modulo the
/// polynomial 1EDC6F41, for `n` bits, in reversed order of bits.
const BY_256: [i64; 2] = [0xDCB1_7AA4, 0xB9E0_2B86];
const BY_64: [i64; 2] = [0x740E_EF02, 0x9E4A_DDF8];
const BY_16: [i64; 2] = [0xF20C_0DFE, 0x493C_7D27];

/// Goes on from `state` over `bytes`, as the processor's instruction for eight bytes does. At least 256 bytes, or it is slow.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq,pclmulqdq,sse4.2")]
pub(super) fn body(state: u32, bytes: &[u8]) -> u32 {
    let (lanes, tail) = bytes.as_chunks::<LANE>();
    let (rounds, lanes) = lanes.as_chunks::<4>();
    let Some((first, rounds)) = rounds.split_first() else { return super::x86_64::body(state, bytes) };
    let [mut a, mut b, mut c, mut d] = first.each_ref().map(|lane| load(lane));
    a = _mm512_xor_si512(a, _mm512_set_epi64(0, 0, 0, 0, 0, 0, 0, state.into()));
    let by = both(BY_256);
    for round in rounds {
        let [e, f, g, h] = round.each_ref().map(|lane| load(lane));
        (a, b, c, d) = (moved(a, by, e), moved(b, by, f), moved(c, by, g), moved(d, by, h));
    }
    let by = both(BY_64);
    a = moved(moved(moved(a, by, b), by, c), by, d);
    for lane in lanes {
        a = moved(a, by, load(lane));
    }
    let by = _mm_set_epi64x(BY_16[1], BY_16[0]);
    let mut sum = _mm512_extracti32x4_epi32::<0>(a);
    sum = moved_16(sum, by, _mm512_extracti32x4_epi32::<1>(a));
    sum = moved_16(sum, by, _mm512_extracti32x4_epi32::<2>(a));
    sum = moved_16(sum, by, _mm512_extracti32x4_epi32::<3>(a));
    // What is left is a message of 16 bytes with the same remainder.
    let state = _mm_crc32_u64(0, _mm_cvtsi128_si64(sum).cast_unsigned());
    let high = _mm_cvtsi128_si64(_mm_unpackhi_epi64(sum, sum)).cast_unsigned();
    #[expect(clippy::cast_possible_truncation, reason = "the instruction leaves the upper half zero")]
    let state = _mm_crc32_u64(state, high) as u32;
    super::x86_64::body(state, tail)
}

/// The compiler makes one load of it.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(lane: &[u8; LANE]) -> __m512i {
    let (words, _) = lane.as_chunks::<8>();
    let [a, b, c, d, e, f, g, h] = words else { return _mm512_set_epi64(0, 0, 0, 0, 0, 0, 0, 0) };
    let word = |bytes: &[u8; 8]| i64::from_le_bytes(*bytes);
    _mm512_set_epi64(word(h), word(g), word(f), word(e), word(d), word(c), word(b), word(a))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn both([low, high]: [i64; 2]) -> __m512i {
    _mm512_broadcast_i32x4(_mm_set_epi64x(high, low))
}

/// What `x` is so many bytes further on, added to what is there.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn moved(x: __m512i, by: __m512i, there: __m512i) -> __m512i {
    const XOR_OF_THREE: i32 = 0x96;
    let (low, high) = (_mm512_clmulepi64_epi128::<0x00>(x, by), _mm512_clmulepi64_epi128::<0x11>(x, by));
    _mm512_ternarylogic_epi64::<XOR_OF_THREE>(low, high, there)
}

#[inline]
#[target_feature(enable = "pclmulqdq")]
fn moved_16(x: __m128i, by: __m128i, there: __m128i) -> __m128i {
    let (low, high) = (_mm_clmulepi64_si128::<0x00>(x, by), _mm_clmulepi64_si128::<0x11>(x, by));
    _mm_xor_si128(_mm_xor_si128(low, high), there)
}
