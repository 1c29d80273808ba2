//! The index from its end: where it ends whole, and whether it lists a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::lines::is_whole;

/// No line of ours is longer.
const LONGEST: u64 = 4096;

/// Bytes read at once when searching.
const BLOCK: u64 = 64 * 1024;

/// How the file ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct End {
    /// Bytes up to the end of the last line that is whole.
    pub(super) whole: u64,
    /// There is more after that: a line torn by a crash.
    pub(super) is_torn: bool,
    /// The last line is whole and lacks nothing but its newline.
    pub(super) needs_newline: bool,
}

pub(super) fn end(file: &File) -> io::Result<End> {
    let length = file.metadata()?.len();
    let whole = End { whole: length, is_torn: false, needs_newline: false };
    let start = length.saturating_sub(LONGEST);
    let tail = read_at(file, start, length)?;
    if tail.last().is_none_or(|byte| *byte == b'\n') {
        return Ok(whole);
    }
    let (keep, line) = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => (start + at as u64 + 1, tail.get(at + 1..).unwrap_or_default()),
        None if start == 0 => (0, tail.as_slice()),
        // Longer than any line of ours: not ours to cut.
        None => return Ok(End { needs_newline: true, ..whole }),
    };
    if is_whole(line) {
        return Ok(End { needs_newline: true, ..whole });
    }
    Ok(End { whole: keep, is_torn: true, needs_newline: false })
}

pub(super) fn contains(file: &File, name: &str) -> io::Result<bool> {
    search(file, name, 0)
}

/// As [`contains`], in the last 256 KiB.
pub(super) fn recent_contains(file: &File, name: &str) -> io::Result<bool> {
    search(file, name, file.metadata()?.len().saturating_sub(4 * BLOCK))
}

/// From the end back to `least`, in whole blocks.
fn search(file: &File, name: &str, least: u64) -> io::Result<bool> {
    let mut stop = end(file)?.whole;
    let overlap = name.len() as u64 + 2;
    loop {
        let start = stop.saturating_sub(BLOCK);
        let block = read_at(file, start, stop)?;
        if start == 0 && is_line_of(&block, name) {
            return Ok(true);
        }
        let found = block
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .any(|(at, _)| block.get(at + 1..).is_some_and(|rest| is_line_of(rest, name)));
        if found {
            return Ok(true);
        }
        if start <= least {
            return Ok(false);
        }
        // A name that this block's start cuts is whole in the next.
        stop = start + overlap;
    }
}

fn is_line_of(line: &[u8], name: &str) -> bool {
    line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_whitespace))
}

fn read_at(file: &File, start: u64, stop: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(stop - start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn ends() {
        let line = "000000010000000000000005\t1\t1.5\tNone\tNone";
        for (text, whole, is_torn, needs_newline) in [
            (String::new(), 0, false, false),
            (format!("{line}\n"), 41, false, false),
            (line.to_owned(), 40, false, true),
            (format!("{line}\n{line}"), 81, false, true),
            (format!("{line}\n0000000100"), 41, true, false),
            ("0000000100".to_owned(), 0, true, false),
        ] {
            assert_eq!(end(&file(text.as_bytes())).unwrap(), End { whole, is_torn, needs_newline }, "{text}");
        }
    }

    #[test]
    fn finds_names_in_every_block() {
        let mut text = String::new();
        let mut names = Vec::new();
        for number in 0..10_000 {
            let name = format!("00000001{number:016X}");
            text.push_str(&format!("{name}\t16777216\t1795219542.{number}\tNone\tNone\n"));
            names.push(name);
        }
        let index = file(text.as_bytes());
        assert!(text.len() as u64 > 3 * BLOCK);
        for name in names.iter().step_by(17) {
            assert!(contains(&index, name).unwrap(), "{name}");
        }
        assert!(recent_contains(&index, &names[9999]).unwrap());
        assert!(!recent_contains(&index, &names[0]).unwrap());
        assert!(!contains(&index, "000000010000000000002710").unwrap());
        // The beginning of a name is not the name.
        assert!(!contains(&index, "00000001000000000000000").unwrap());
        assert!(!contains(&file(b"00000002.history\t12"), "00000002.history").unwrap());
    }
}
