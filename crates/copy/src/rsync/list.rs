//! A line of `rsync --list-only`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// What the list says about one file or directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Listed {
    pub(super) kind: u8,
    pub(super) mode: u32,
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) mtime: i64,
    /// Relative; empty for the root.
    pub(super) path: PathBuf,
}

/// `-rw-------          8,192 2026/11/21 00:06:24 base/5/1255`, the time in UTC. `None` for what is no such line, or names a
/// path that leads out of the tree.
pub(super) fn parse(line: &[u8]) -> Option<Listed> {
    let mut rest = line;
    let mut field = || {
        let begin = rest.iter().position(|byte| *byte != b' ')?;
        rest = rest.get(begin..)?;
        let end = rest.iter().position(|byte| *byte == b' ')?;
        let (field, after) = rest.split_at_checked(end)?;
        rest = after;
        std::str::from_utf8(field).ok()
    };
    let (permissions, size, date, time) = (field()?, field()?, field()?, field()?);
    let name = rest.strip_prefix(b" ")?;
    let (kind, mode) = mode(permissions.as_bytes())?;
    let size = size.bytes().filter(|byte| *byte != b',').try_fold(0u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    let path = PathBuf::from(OsString::from_vec(unescape(name)));
    let path = if path == Path::new(".") { PathBuf::new() } else { path };
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    (inside && !name.is_empty() && !path.as_os_str().as_encoded_bytes().contains(&0)).then_some(Listed {
        kind,
        mode,
        size,
        mtime: seconds(date, time)?,
        path,
    })
}

fn mode(text: &[u8]) -> Option<(u8, u32)> {
    let (kind, bits) = text.split_first()?;
    let bits = bits.first_chunk::<9>()?;
    let mut mode = 0;
    for letter in bits {
        let set = match letter {
            b'-' | b'S' | b'T' => false,
            b'r' | b'w' | b'x' | b's' | b't' => true,
            _ => return None,
        };
        mode = mode << 1 | u32::from(set);
    }
    let special = [(2, 0o4000), (5, 0o2000), (8, 0o1000)];
    let mode = special.iter().fold(mode, |mode, (index, bit)| {
        let letter = bits.get(*index).copied().unwrap_or(b'-');
        if matches!(letter, b's' | b'S' | b't' | b'T') { mode | bit } else { mode }
    });
    Some((*kind, mode))
}

/// rsync writes what is not printable as `\#ooo`.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let octal =
            after.strip_prefix(b"#").and_then(|digits| digits.first_chunk::<3>()).and_then(|digits| {
                digits.iter().try_fold(0u32, |value, digit| {
                    (b'0'..=b'7').contains(digit).then(|| value * 8 + u32::from(digit - b'0'))
                })
            });
        match octal.and_then(|value| u8::try_from(value).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                plain.push(byte);
                rest = after.get(4..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

/// `2026/11/21` and `00:06:24`, as seconds since 1970.
fn seconds(date: &str, time: &str) -> Option<i64> {
    let mut parts = date.splitn(3, '/').chain(time.splitn(3, ':')).map(|part| part.parse::<i64>().ok());
    let mut next = || parts.next().flatten();
    let (year, month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?, next()?);
    let ranges =
        [(month, 1, 12), (day, 1, 31), (hour, 0, 23), (minute, 0, 59), (second, 0, 60), (year, 0, 9999)];
    if ranges.iter().any(|(value, low, high)| value < low || value > high) {
        return None;
    }
    // Days of the proleptic Gregorian calendar, years beginning in March so that leap days come last.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_list() {
        let file = parse(b"-rw-r-----          8,192 2026/11/21 00:06:24 base/5/12 55").unwrap();
        assert_eq!((file.kind, file.mode, file.size), (b'-', 0o640, 8192));
        assert_eq!((file.mtime, file.path.to_str().unwrap()), (1_795_219_584, "base/5/12 55"));
        let root = parse(b"drwxr-s--T              4 1970/01/01 00:00:00 .").unwrap();
        assert_eq!((root.kind, root.mode, root.mtime, root.path), (b'd', 0o3750, 0, PathBuf::new()));
        assert_eq!(seconds("2000/02/29", "23:59:59"), Some(951_868_799));
        assert_eq!(seconds("2100/03/01", "00:00:00"), Some(4_107_542_400));
        assert_eq!(
            parse(b"-rw------- 1 2026/11/21 00:06:24 a\\#012b\\#x").unwrap().path,
            Path::new("a\nb\\#x")
        );
        for bad in [
            "",
            "Welcome to this host",
            "-rw------- x 2026/11/21 00:06:24 a",
            "-rw------- 99999999999999999999999 2026/11/21 00:06:24 a",
            "-rw------- 1 2026/13/21 00:06:24 a",
            "-rw------- 1 2026/11/21 00:06:24 ../a",
            "-rw------- 1 2026/11/21 00:06:24 /a",
            "-rw------- 1 2026/11/21 00:06:24 a/../../b",
            "-rw------- 1 2026/11/21 00:06:24 ",
            "-rw?------ 1 2026/11/21 00:06:24 a",
            "-rw------- 1 2026/11/21 00:06:24 a\\#000b",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
