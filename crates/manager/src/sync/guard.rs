//! JSON from another host within bounds: its size, and the length of what stands between two of its marks.

use std::io::{self, Read};

/// Ten million archived files take two gigabytes.
pub(super) const MAX_ANSWER: u64 = 4 << 30;
/// Longer than any record, let alone a name.
const MAX_TOKEN: usize = 4 << 20;

/// Hands on what is within the bounds, and ends with an error at what is not.
pub(super) struct Guard<R> {
    inner: R,
    left: u64,
    token: usize,
    string: bool,
    escaped: bool,
}

impl<R: Read> Guard<R> {
    pub(super) const fn new(inner: R) -> Self {
        Self { inner, left: MAX_ANSWER, token: 0, string: false, escaped: false }
    }

    fn look(&mut self, byte: u8) {
        match (self.string, byte) {
            (true, _) if self.escaped => self.escaped = false,
            (true, b'\\') => self.escaped = true,
            (_, b'"') => {
                self.string = !self.string;
                self.token = 0;
                return;
            }
            (false, b' ' | b'\n' | b'\t' | b'\r' | b',' | b':' | b'[' | b']' | b'{' | b'}') => {
                self.token = 0;
                return;
            }
            _ => {}
        }
        self.token += 1;
    }
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        let too_large = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        self.left = self.left.checked_sub(got as u64).ok_or_else(|| too_large("longer than 4 GiB"))?;
        for byte in buffer.iter().take(got) {
            self.look(*byte);
            if self.token > MAX_TOKEN {
                return Err(too_large("a text in it is longer than 4 MiB"));
            }
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_end_it_and_many_short_ones_do_not() {
        let read = |text: String| io::copy(&mut Guard::new(text.as_bytes()), &mut io::sink());
        assert!(read(format!("[{}0]", "\"a\\\"b\", ".repeat(1 << 20))).is_ok());
        assert!(read(format!("[{}]", " ".repeat(MAX_TOKEN + 1))).is_ok());
        for long in
            [format!("\"{}", "a".repeat(MAX_TOKEN + 1)), "\\\"".repeat(MAX_TOKEN), "1".repeat(MAX_TOKEN + 1)]
        {
            assert!(read(long).is_err());
        }
    }
}
