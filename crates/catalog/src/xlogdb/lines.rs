//! Reading the index a line at a time, whatever its length.

use std::io::{self, BufRead};

use super::XlogEntry;

/// Longer lines are not entries; this bounds the memory a damaged file can take.
const MAX_LINE: usize = 4096;

/// What stands on a line of the index.
#[derive(Clone, Debug, PartialEq)]
pub enum XlogLine {
    /// An entry.
    Entry(XlogEntry),
    /// Something else, without its newline and cut at 4 KiB. One bad line does not make the others unreadable.
    Unreadable(Vec<u8>),
    /// A last line without newline that is not whole: what a crash in the middle of an append leaves behind. It was
    /// never acknowledged.
    Torn(Vec<u8>),
}

/// The lines of an index; blank ones are left out.
#[derive(Debug)]
pub struct XlogLines<R> {
    input: R,
    line: Vec<u8>,
    failed: bool,
    /// Bytes read so far, and where the line began that was returned last.
    read: u64,
    start: u64,
}

impl<R: BufRead> XlogLines<R> {
    /// Reads `input` from its current position.
    pub fn new(input: R) -> Self {
        Self { input, line: Vec::with_capacity(128), failed: false, read: 0, start: 0 }
    }

    /// How many bytes stand before the line that was returned last.
    pub const fn line_start(&self) -> u64 {
        self.start
    }

    /// One line into `self.line`, without newline; `None` at the end of the input.
    fn read_line(&mut self) -> io::Result<Option<Terminated>> {
        self.line.clear();
        self.start = self.read;
        let mut any = false;
        loop {
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(any.then_some(Terminated::No));
            }
            any = true;
            let (part, used, end) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(at) => (buffer.get(..at).unwrap_or_default(), at + 1, true),
                None => (buffer, buffer.len(), false),
            };
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
            self.input.consume(used);
            self.read += used as u64;
            if end {
                return Ok(Some(Terminated::Yes));
            }
        }
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Terminated {
    Yes,
    No,
}

impl<R: BufRead> Iterator for XlogLines<R> {
    type Item = io::Result<XlogLine>;

    fn next(&mut self) -> Option<io::Result<XlogLine>> {
        while !self.failed {
            let terminated = match self.read_line() {
                Ok(terminated) => terminated?,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            };
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            return Some(Ok(classify(&self.line, terminated)));
        }
        None
    }
}

pub(super) fn classify(line: &[u8], terminated: Terminated) -> XlogLine {
    let entry = std::str::from_utf8(line).ok().and_then(|text| text.parse::<XlogEntry>().ok());
    match (entry, terminated) {
        (Some(entry), Terminated::Yes) => XlogLine::Entry(entry),
        (Some(entry), Terminated::No) if is_whole(line) => XlogLine::Entry(entry),
        (_, Terminated::No) => XlogLine::Torn(line.to_vec()),
        (None, Terminated::Yes) => XlogLine::Unreadable(line.to_vec()),
    }
}

/// Whether a line that lacks its newline (an editor's doing) surely lacks nothing else: its last column is one of the
/// known words, which a cut would have shortened.
pub(super) fn is_whole(line: &[u8]) -> bool {
    let mut columns = line.split(u8::is_ascii_whitespace).filter(|column| !column.is_empty());
    matches!(columns.nth(4), Some(b"None" | b"gpg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<XlogLine> {
        XlogLines::new(text).map(Result::unwrap).collect()
    }

    #[test]
    fn every_cut_of_a_line_is_torn() {
        let line = b"000000010000000000000005\t16522\t1795219542.4817226\tgzip\tNone";
        for length in 1..line.len() {
            assert!(matches!(read(&line[..length]).as_slice(), [XlogLine::Torn(_)]), "{length}");
        }
        assert!(matches!(read(line).as_slice(), [XlogLine::Entry(_)]));
    }

    #[test]
    fn a_bad_line_hides_no_other() {
        let mut text = b"000000010000000000000005\t1\t1.0\tNone\tNone\n\n\xFF\xFE\n".to_vec();
        text.extend(vec![b'x'; 100_000]);
        text.extend(b"\n00000002.history\t1\t1.0\n");
        let lines = read(&text);
        assert!(matches!(
            lines.as_slice(),
            [XlogLine::Entry(_), XlogLine::Unreadable(_), XlogLine::Unreadable(_), XlogLine::Entry(_)]
        ));
    }
}
