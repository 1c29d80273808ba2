//! The checksum of the `cksum` program, as POSIX has it: the one that every other host can make.

use std::io::{self, Read};

/// CRC-32 with the polynomial 0x04C11DB7, the highest bit first: what each value of a byte makes of zero.
fn table() -> [u32; 256] {
    let mut value = 0_u32;
    std::array::from_fn(|_| {
        let entry = (0..8).fold(
            value,
            |value, _| {
                if value >> 31 == 1 { value << 1 ^ 0x04C1_1DB7 } else { value << 1 }
            },
        );
        value = value.wrapping_add(1 << 24);
        entry
    })
}

fn step(table: &[u32; 256], value: u32, byte: u8) -> u32 {
    let [high, ..] = value.to_be_bytes();
    value << 8 ^ table.get(usize::from(high ^ byte)).copied().unwrap_or_default()
}

/// Checksum and length.
pub(super) fn cksum(source: &mut impl Read) -> io::Result<(u32, u64)> {
    let table = table();
    let (mut value, mut length, mut buffer) = (0, 0_u64, vec![0; 64 * 1024]);
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        value = buffer.iter().take(count).fold(value, |value, byte| step(&table, value, *byte));
        length += count as u64;
    }
    let mut rest = length;
    while rest > 0 {
        let [low, ..] = rest.to_le_bytes();
        value = step(&table, value, low);
        rest >>= 8;
    }
    Ok((!value, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_program() {
        // As `cksum` of GNU coreutils says.
        for (content, expected) in
            [(&b""[..], 4_294_967_295), (b"1", 433_426_081), (b"123456789", 930_766_865)]
        {
            assert_eq!(cksum(&mut &*content).unwrap(), (expected, content.len() as u64));
        }
    }
}
