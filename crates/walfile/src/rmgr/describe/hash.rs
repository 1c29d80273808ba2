//! Hash indexes (`hash_xlog.h`).

use std::fmt::{self, Write as _};

use super::input::Result;
use super::{Description, truth};

pub(super) fn describe(record: &Description<'_>, f: &mut fmt::Formatter<'_>) -> Result {
    let mut main = record.main();
    match record.kind() {
        0x00 => {
            let tuples = General(main.f64()?);
            main.skip(4)?; // the hash function
            write!(f, "num_tuples {tuples}, fillfactor {}", main.u16()?)?;
        }
        0x10 => write!(f, "bmsize {}", main.u16()?)?,
        0x20 => write!(f, "off {}", main.u16()?)?,
        0x30 => {
            let (size, found) = (main.u16()?, main.bool()?);
            write!(f, "bmsize {size}, bmpage_found {}", truth(found))?;
        }
        0x40 => {
            let bucket = main.u32()?;
            main.skip(4)?;
            let flags = main.u8()?;
            write!(f, "new_bucket {bucket}, meta_page_masks_updated {}, ", truth(flags & 1 != 0))?;
            write!(f, "issplitpoint_changed {}", truth(flags & 2 != 0))?;
        }
        0x60 => {
            let (old, new) = (main.u16()?, main.u16()?);
            write!(f, "old_bucket_flag {old}, new_bucket_flag {new}")?;
        }
        0x70 => {
            let (count, primary) = (main.u16()?, main.bool()?);
            write!(f, "ntups {count}, is_primary {}", truth(primary))?;
        }
        0x80 => {
            let (before, next, count, primary) = (main.u32()?, main.u32()?, main.u16()?, main.bool()?);
            write!(f, "prevblkno {before}, nextblkno {next}, ntups {count}, is_primary {}", truth(primary))?;
        }
        0x90 => {
            let (dead, primary) = (main.bool()?, main.bool()?);
            write!(f, "clear_dead_marking {}, is_primary {}", truth(dead), truth(primary))?;
        }
        0xB0 => write!(f, "ntuples {}", General(main.f64()?))?,
        0xC0 if record.is_listed() => {
            let (horizon, count) = (main.u32()?, main.u16()?);
            write!(f, "ntuples {count}, snapshotConflictHorizon {horizon}")?;
            record.catalog(f, ", isCatalogRel ", &mut main)?;
        }
        0xC0 => {
            let (xid, count) = (main.u32()?, main.i32()?);
            write!(f, "ntuples {count}, latestRemovedXid {xid}")?;
        }
        _ => {}
    }
    Ok(())
}

/// A number as C's `%g` writes it.
struct General(f64);

impl fmt::Display for General {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Digits { bytes: [0; 32], length: 0 };
        write!(text, "{:.5e}", self.0)?;
        let text = text.bytes.get(..text.length).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let text = text.ok_or(fmt::Error)?;
        let Some((digits, exponent)) = text.split_once('e') else {
            return f.write_str(text); // not a number, or infinite
        };
        let digits = digits.trim_end_matches('0').trim_end_matches('.');
        match exponent.parse::<i32>().map_err(|_| fmt::Error)? {
            exponent @ -4..=5 => {
                let decimals = usize::try_from(5 - exponent).unwrap_or(0);
                let mut plain = Digits { bytes: [0; 32], length: 0 };
                write!(plain, "{:.decimals$}", self.0)?;
                let plain = plain.bytes.get(..plain.length).and_then(|bytes| std::str::from_utf8(bytes).ok());
                let plain = plain.ok_or(fmt::Error)?;
                let short = plain.trim_end_matches('0').trim_end_matches('.');
                f.write_str(if plain.contains('.') { short } else { plain })
            }
            exponent => {
                let sign = if exponent < 0 { '-' } else { '+' };
                write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs())
            }
        }
    }
}

struct Digits {
    bytes: [u8; 32],
    length: usize,
}

impl fmt::Write for Digits {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_printf_does() {
        for (value, expected) in [
            (0.0, "0"),
            (75.0, "75"),
            (100_000.0, "100000"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.23457e+06"),
            (0.5, "0.5"),
            (0.000_012, "1.2e-05"),
            (-3.25, "-3.25"),
        ] {
            assert_eq!(General(value).to_string(), expected);
        }
        General(f64::NAN).to_string();
        General(f64::MAX).to_string();
    }
}
