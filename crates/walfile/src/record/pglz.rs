//! PostgreSQL's own compression (`pg_lzcompress.c`).
//!
//! Groups of up to eight items after a control byte, lowest bit first. Bit 0: one byte as it is. Bit 1: a copy of what
//! came out before, `oooollll oooooooo`: length `llll` + 3 and, when `llll` is 15, the next byte on top; offset back
//! in twelve bits.

/// Fills `out` from `data`. `None` unless `data` gives exactly these bytes and has none left.
pub(super) fn decompress(data: &[u8], out: &mut [u8]) -> Option<()> {
    let mut input = data.iter().copied();
    let mut at = 0;
    while at < out.len() {
        let mut control = input.next()?;
        for _ in 0..8 {
            if at == out.len() {
                break;
            }
            if control & 1 == 0 {
                *out.get_mut(at)? = input.next()?;
                at += 1;
            } else {
                let (low, high) = (usize::from(input.next()?), usize::from(input.next()?));
                let mut length = (low & 0x0F) + 3;
                let offset = (low & 0xF0) << 4 | high;
                if length == 18 {
                    length += usize::from(input.next()?);
                }
                let from = at.checked_sub(offset).filter(|_| offset > 0)?;
                // The last copy may be longer than what is left.
                let length = length.min(out.len() - at);
                copy_forward(out, from, at, length)?;
                at += length;
            }
            control >>= 1;
        }
    }
    input.next().is_none().then_some(())
}

/// Copies byte by byte where source and target overlap, so that the source's beginning repeats.
fn copy_forward(out: &mut [u8], from: usize, at: usize, length: usize) -> Option<()> {
    if from + length <= at {
        out.get(at..at + length)?;
        out.copy_within(from..from + length, at);
        return Some(());
    }
    for step in 0..length {
        *out.get_mut(at + step)? = *out.get(from + step)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(data: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut out = vec![0; length];
        decompress(data, &mut out).map(|()| out)
    }

    #[test]
    fn literals_and_copies() {
        assert_eq!(unpack(&[0, b'a', b'b'], 2).unwrap(), b"ab");
        // One literal, then a copy of 8 from one byte back.
        assert_eq!(unpack(&[0b10, b'x', 0x05, 1], 9).unwrap(), b"xxxxxxxxx");
        // Length 15 + 3 and 4 more from the third byte.
        assert_eq!(unpack(&[0b100, b'p', b'q', 0x0F, 2, 4], 24).unwrap(), b"pqpqpqpqpqpqpqpqpqpqpqpq");
        assert_eq!(unpack(&[], 0).unwrap(), b"");
    }

    #[test]
    fn damage() {
        assert_eq!(unpack(&[0b1, 0, 1], 3), None, "a copy of nothing");
        assert_eq!(unpack(&[0b10, b'x', 0, 0], 4), None, "offset zero");
        assert_eq!(unpack(&[0, b'a'], 2), None, "too short");
        assert_eq!(unpack(&[0, b'a', b'b'], 1), None, "too long");
        assert_eq!(unpack(&[0b10, b'x', 0x0F, 1], 30), None, "no length byte");
    }
}
