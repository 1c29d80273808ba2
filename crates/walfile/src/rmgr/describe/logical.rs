//! Logical replication and decoding (`message.h`, `origin.h`), and the records of extensions (`generic_xlog.h`).

use std::fmt;

use super::Description;
use super::input::{Fault, Input, Result};
use super::xact::Text;

pub(super) fn origin(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match record.kind() {
        0x00 => {
            let (lsn, node, force) = (main.lsn()?, main.u16()?, main.u8()?);
            write!(f, "set {node}; lsn {lsn}; force: {force}")?;
        }
        0x10 => write!(f, "drop {}", main.u16()?)?,
        _ => {}
    }
    Ok(())
}

pub(super) fn generic(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    while main.len() > 0 {
        let (offset, length) = (main.u16()?, main.u16()?);
        main.skip(length.into())?;
        write!(f, "offset {offset}, length {length}{}", if main.len() > 0 { "; " } else { "" })?;
    }
    Ok(())
}

pub(super) fn message(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    main.skip(4)?;
    let transactional = main.bool()?;
    main.skip(3)?;
    let size = |size: u64| usize::try_from(size).map_err(|_| Fault::Damaged);
    let (prefix, content) = (size(main.u64()?)?, size(main.u64()?)?);
    let prefix = Input::new(main.bytes(prefix)?).text();
    let content = main.bytes(content)?;
    f.write_str(if transactional { "transactional" } else { "non-transactional" })?;
    write!(f, ", prefix \"{}\"; payload ({} bytes): ", Text(prefix), content.len())?;
    hexadecimal(f, content)
}

/// `61 62 63`.
fn hexadecimal(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> Result {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    const GROUP: usize = 256;
    let digit = |value: u8| DIGITS.get(usize::from(value & 15)).copied().unwrap_or(b'?');
    let mut text = [b' '; 3 * GROUP];
    let mut left = bytes.len();
    for group in bytes.chunks(GROUP) {
        for (byte, place) in group.iter().zip(text.as_chunks_mut::<3>().0) {
            *place = [digit(byte >> 4), digit(*byte), b' '];
        }
        left -= group.len();
        // No space after the last of all.
        let length = if left == 0 { group.len() * 3 - 1 } else { group.len() * 3 };
        let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok());
        f.write_str(text.unwrap_or_default())?;
    }
    Ok(())
}
