//! The whole index in one pass, without an allocation for each line.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;

use walfile::{SegmentName, WalName};

use super::lines::{Terminated, classify};
use super::{XlogDb, XlogDbError, XlogLine};

/// Bytes read at once. A longer line is no entry.
const BLOCK: usize = 256 * 1024;

/// What most readers want of an entry.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct XlogBrief {
    /// The file's name in the archive.
    pub name: WalName,
    /// Bytes as stored.
    pub size: u64,
    /// Modification time of the original file.
    pub mtime: XlogTime,
}

/// A time of the index, read only when somebody asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct XlogTime(Form);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Text { digits: [u8; LONGEST_TIME], length: u8 },
    Number(f64),
}

/// Longer than any time that Python or we write.
const LONGEST_TIME: usize = 23;

impl XlogTime {
    /// Seconds since 1970.
    pub fn seconds(&self) -> f64 {
        match &self.0 {
            Form::Number(seconds) => *seconds,
            Form::Text { digits, length } => {
                let text = digits.get(..usize::from(*length)).unwrap_or_default();
                // Digits with a point among them are a number.
                std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0)
            }
        }
    }
}

impl XlogDb<'_> {
    /// Hands every entry to `each`, in the order of archiving, until that breaks off. As [`XlogDb::entries`], and several times
    /// as fast; lines that are no entries are passed over with a warning in the log.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn scan(&self, mut each: impl FnMut(&XlogBrief) -> ControlFlow<()>) -> Result<(), XlogDbError> {
        let file = File::open(&self.path);
        file.and_then(|mut file| scan(&mut file, &mut each, &|line| self.note(line)))
            .map_err(|source| self.unreadable(source))
    }

    /// A line that is no entry, for the log.
    pub(super) fn note(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line.get(..line.len().min(200)).unwrap_or_default());
        tracing::warn!(index = %self.path.display(), %line, "not an index line");
    }
}

pub(super) fn scan(
    input: &mut impl io::Read,
    each: &mut impl FnMut(&XlogBrief) -> ControlFlow<()>,
    note: &impl Fn(&[u8]),
) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    // So many bytes of the block are a line whose end is not read yet.
    let mut filled = 0;
    // The length of the last line that was measured.
    let mut usual = 0;
    // The line at hand is longer than a block.
    let mut too_long = false;
    loop {
        let room = block.get_mut(filled..).unwrap_or_default();
        let got = match input.read(room) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            got => got?,
        };
        let Some(bytes) = block.get(..filled + got) else { return Ok(()) };
        if got == 0 {
            if !too_long && let Some(brief) = last(bytes, note) {
                let _ = each(&brief);
            }
            return Ok(());
        }
        let mut rest = bytes;
        loop {
            // Most lines are as long as the one before; what has the usual form has no newline in it, so none is looked for.
            if !too_long
                && let Some((line, next)) = rest.split_at_checked(usual)
                && let Some((b'\n', next)) = next.split_first()
                && let Some(brief) = brief(line)
            {
                rest = next;
                if each(&brief).is_break() {
                    return Ok(());
                }
                continue;
            }
            let Some(at) = rest.iter().position(|byte| *byte == b'\n') else { break };
            let (line, next) = (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default());
            rest = next;
            usual = at;
            if std::mem::take(&mut too_long) {
                continue;
            }
            if let Some(brief) = brief(line).or_else(|| whole(line, note))
                && each(&brief).is_break()
            {
                return Ok(());
            }
        }
        let left = rest.len();
        let from = bytes.len() - left;
        if left == BLOCK {
            note(rest);
            too_long = true;
            filled = 0;
        } else {
            block.copy_within(from..from + left, 0);
            filled = left;
        }
    }
}

/// A line of the usual form: a segment, and five columns with a tab between each.
fn brief(line: &[u8]) -> Option<XlogBrief> {
    let (name, rest) = line.split_at_checked(SegmentName::LEN)?;
    let mut columns = rest.strip_prefix(b"\t")?.split(|byte| *byte == b'\t');
    let size = columns.next().filter(|digits| (1..=18).contains(&digits.len()))?;
    let size = size
        .iter()
        .try_fold(0_u64, |size, digit| digit.is_ascii_digit().then(|| size * 10 + u64::from(digit - b'0')))?;
    let time = columns.next()?;
    let mut points = 0;
    let is_digit = |byte: &u8| {
        points += u32::from(*byte == b'.');
        byte.is_ascii_digit() || *byte == b'.'
    };
    let is_number = time.iter().all(is_digit)
        && points < 2
        && time.first().is_some_and(u8::is_ascii_digit)
        && time.last().is_some_and(u8::is_ascii_digit);
    let is_word = |column: &[u8]| !column.is_empty() && column.iter().all(u8::is_ascii_alphanumeric);
    let is_usual = is_number && is_word(columns.next()?) && is_word(columns.next()?);
    if !is_usual || columns.next().is_some() {
        return None;
    }
    let mut digits = [0; LONGEST_TIME];
    digits.get_mut(..time.len())?.copy_from_slice(time);
    let mtime = XlogTime(Form::Text { digits, length: u8::try_from(time.len()).ok()? });
    let name = std::str::from_utf8(name).ok()?.parse().map(WalName::Segment).ok()?;
    Some(XlogBrief { name, size, mtime })
}

/// Any other line.
fn whole(line: &[u8], note: &impl Fn(&[u8])) -> Option<XlogBrief> {
    if line.trim_ascii().is_empty() {
        return None;
    }
    settle(classify(line, Terminated::Yes), note)
}

/// What stands behind the last newline.
fn last(line: &[u8], note: &impl Fn(&[u8])) -> Option<XlogBrief> {
    if line.trim_ascii().is_empty() {
        return None;
    }
    settle(classify(line, Terminated::No), note)
}

fn settle(line: XlogLine, note: &impl Fn(&[u8])) -> Option<XlogBrief> {
    match line {
        XlogLine::Entry(entry) => {
            let mtime = XlogTime(Form::Number(entry.mtime));
            Some(XlogBrief { name: entry.name, size: entry.size, mtime })
        }
        XlogLine::Unreadable(line) | XlogLine::Torn(line) => {
            note(&line);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{XlogEntry, XlogLines};
    use super::*;

    /// A few bytes at a time, so that lines are cut everywhere.
    struct Drops<'a>(&'a [u8], usize);

    impl io::Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let take = self.0.len().min(buffer.len()).min(self.1);
            let (now, later) = self.0.split_at(take);
            buffer[..take].copy_from_slice(now);
            self.0 = later;
            Ok(take)
        }
    }

    /// Whatever stands in an index, the scan sees what a reading line by line sees.
    #[test]
    fn a_scan_sees_what_a_reader_of_lines_sees() {
        let text = b"000000010000000000000005\t16522\t1795219542.4817226\tgzip\tNone\n\
            000000010000000000000005.00000028.backup\t248\t1795219542.4692855\tgzip\tNone\n\
            00000002.history\t90\t1795220498.843594\tgzip\tNone\n\n\
            000000010000000000000020.partial\t19867\t1795220498.8617575\tgzip\tNone\n\
            000000010000000000000006\t16777216\t1406019022\n\
            000000010000000000000007 16777216 1406019022.5 gzip\n\
            000000010000000000000008\t1\t1.5e9\tNone\tNone\n\
            000000010000000000000009\t1\t1.2.3\tNone\tNone\n\
            00000001000000000000000a\t1\t1.0\tNone\tNone\n\
            00000001000000000000000A\t-1\t1.0\tNone\tNone\n\
            00000001000000000000000A\t1\t.5\tNone\tNone\n\
            00000001000000000000000B\t99999999999999999999\t1.0\tNone\tNone\n\
            00000001000000000000000C\t1\t1.0\tNone\tNone\tNone\n\
            00000001000000000000000D\t1\t12345678901234567890123456.0\tNone\tNone\n\
            000000000000000000000001\t1\t1.0\tNone\tNone\n\xFF\xFE\n"
            .to_vec();
        let mut long = text.clone();
        long.extend(vec![b'x'; 3 * BLOCK]);
        long.extend(b"\n00000003.history\t1\t1.0\n");
        let ends = ["", "00000001000000000000000E\t1\t1.0\tNone\tNone", "00000001000000000000000F\t1\t1."];
        for (end, text, bytes) in ends.into_iter().flat_map(|end| [(end, &text, 7), (end, &long, 65_537)]) {
            let text = [text, end.as_bytes()].concat();
            let expected: Vec<_> = XlogLines::new(&text[..])
                .filter_map(|line| match line.unwrap() {
                    XlogLine::Entry(XlogEntry { name, size, mtime, .. }) => Some((name, size, mtime)),
                    _ => None,
                })
                .collect();
            assert!(expected.len() >= 9, "{expected:?}");
            let mut got = Vec::new();
            let mut each = |brief: &XlogBrief| {
                got.push((brief.name, brief.size, brief.mtime.seconds()));
                ControlFlow::Continue(())
            };
            scan(&mut Drops(&text, bytes), &mut each, &|_| {}).unwrap();
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_scan_ends_where_it_is_told_to() {
        let text = "000000010000000000000005\t1\t1.0\tNone\tNone\n".repeat(3);
        let mut count = 0;
        let mut each = |_: &XlogBrief| {
            count += 1;
            if count == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        scan(&mut text.as_bytes(), &mut each, &|_| {}).unwrap();
        assert_eq!(count, 2);
    }
}
