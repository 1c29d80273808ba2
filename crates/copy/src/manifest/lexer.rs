//! A pull lexer for JSON that holds one 64 KiB buffer and bounds every value.

use std::io::Read;

use super::error::ManifestError;
use super::tail::AllButLastLine;
use crate::Checksum;

const BUFFER: usize = 64 * 1024;
/// Deepest nesting of values nobody asked for.
const MAX_DEPTH: u32 = 32;

pub(super) struct Lexer<R> {
    source: R,
    buffer: Box<[u8]>,
    position: usize,
    end: usize,
    /// Bytes before the buffer.
    before: u64,
    hash: AllButLastLine,
}

impl<R: Read> Lexer<R> {
    pub(super) fn new(source: R) -> Self {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { source, buffer, position: 0, end: 0, before: 0, hash: AllButLastLine::default() }
    }

    pub(super) fn offset(&self) -> u64 {
        self.before.saturating_add(self.position as u64)
    }

    pub(super) fn syntax(&self, expected: &'static str) -> ManifestError {
        ManifestError::Syntax { offset: self.offset(), expected }
    }

    /// The bytes at hand, read if there are none; empty at the end.
    fn available(&mut self) -> Result<&[u8], ManifestError> {
        if self.position >= self.end {
            self.before = self.before.saturating_add(self.end as u64);
            (self.position, self.end) = (0, 0);
            self.end = loop {
                match self.source.read(&mut self.buffer) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    result => break result?,
                }
            };
            self.hash.update(self.buffer.get(..self.end).unwrap_or_default());
        }
        Ok(self.buffer.get(self.position..self.end).unwrap_or_default())
    }

    fn peek(&mut self) -> Result<Option<u8>, ManifestError> {
        Ok(self.available()?.first().copied())
    }

    fn bump(&mut self) -> Result<Option<u8>, ManifestError> {
        let byte = self.peek()?;
        self.position = self.position.saturating_add(usize::from(byte.is_some()));
        Ok(byte)
    }

    /// The next byte that is not blank, not taken.
    pub(super) fn peek_token(&mut self) -> Result<Option<u8>, ManifestError> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.position = self.position.saturating_add(1),
                other => return Ok(other),
            }
        }
    }

    /// Takes `byte`, blanks before it passed over.
    pub(super) fn expect(&mut self, byte: u8, name: &'static str) -> Result<(), ManifestError> {
        if self.peek_token()? != Some(byte) {
            return Err(self.syntax(name));
        }
        self.bump().map(|_| ())
    }

    /// After a value: `true` for a comma, `false` for `close`.
    pub(super) fn more(&mut self, close: u8) -> Result<bool, ManifestError> {
        match self.peek_token()? {
            Some(b',') => self.bump().map(|_| true),
            Some(byte) if byte == close => self.bump().map(|_| false),
            _ => Err(self.syntax("a comma or the end of the list")),
        }
    }

    /// A string into `target` (replacing what it holds), at most `limit` bytes.
    pub(super) fn string(&mut self, target: &mut Vec<u8>, limit: usize) -> Result<(), ManifestError> {
        target.clear();
        self.expect(b'"', "a string")?;
        loop {
            let bytes = self.available()?;
            if bytes.is_empty() {
                return Err(self.syntax("the end of the string"));
            }
            let plain =
                bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)).unwrap_or(bytes.len());
            target.extend_from_slice(bytes.get(..plain).unwrap_or_default());
            let stop = bytes.get(plain).copied();
            if target.len() > limit {
                return Err(ManifestError::TooLong { offset: self.offset(), limit });
            }
            self.position = self.position.saturating_add(plain);
            match stop {
                None => {}
                Some(b'"') => {
                    self.position = self.position.saturating_add(1);
                    return Ok(());
                }
                Some(b'\\') => {
                    self.position = self.position.saturating_add(1);
                    self.escape(target)?;
                }
                Some(_) => return Err(self.syntax("a string without control characters")),
            }
        }
    }

    fn escape(&mut self, target: &mut Vec<u8>) -> Result<(), ManifestError> {
        let byte = match self.bump()? {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let unit = self.hex4()?;
                let code = if (0xD800..0xDC00).contains(&unit) {
                    let low = match (self.bump()?, self.bump()?) {
                        (Some(b'\\'), Some(b'u')) => self.hex4()?,
                        _ => return Err(self.syntax("the second half of a surrogate pair")),
                    };
                    let low = low.wrapping_sub(0xDC00);
                    if low >= 0x400 {
                        return Err(self.syntax("the second half of a surrogate pair"));
                    }
                    0x10000 + ((unit - 0xD800) << 10 | low)
                } else {
                    unit
                };
                let character = char::from_u32(code).ok_or_else(|| self.syntax("a character"))?;
                target.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.syntax("an escape sequence")),
        };
        target.push(byte);
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, ManifestError> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.bump()?.and_then(|byte| char::from(byte).to_digit(16));
            value = value << 4 | digit.ok_or_else(|| self.syntax("four hexadecimal digits"))?;
        }
        Ok(value)
    }

    /// A whole number from 0 to 2^64−1.
    pub(super) fn number(&mut self) -> Result<u64, ManifestError> {
        self.peek_token()?;
        let mut value: Option<u64> = None;
        while let Some(digit @ b'0'..=b'9') = self.peek()? {
            let next =
                value.unwrap_or(0).checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0')));
            value = Some(next.ok_or_else(|| self.syntax("a number below 2^64"))?);
            self.bump()?;
        }
        match self.peek()? {
            Some(b'.' | b'e' | b'E' | b'-' | b'+') => Err(self.syntax("a whole number")),
            _ => value.ok_or_else(|| self.syntax("a number")),
        }
    }

    /// Passes over a value of any kind.
    pub(super) fn skip(&mut self, scratch: &mut Vec<u8>, depth: u32) -> Result<(), ManifestError> {
        if depth > MAX_DEPTH {
            return Err(self.syntax("less nesting"));
        }
        match self.peek_token()? {
            Some(b'"') => self.string(scratch, 64 * 1024),
            Some(open @ (b'{' | b'[')) => {
                let close = if open == b'{' { b'}' } else { b']' };
                self.bump()?;
                if self.peek_token()? == Some(close) {
                    return self.bump().map(|_| ());
                }
                loop {
                    if open == b'{' {
                        self.string(scratch, 64 * 1024)?;
                        self.expect(b':', "a colon")?;
                    }
                    self.skip(scratch, depth.saturating_add(1))?;
                    if !self.more(close)? {
                        return Ok(());
                    }
                }
            }
            Some(b'0'..=b'9' | b'-' | b't' | b'f' | b'n') => {
                let mut length = 0;
                while let Some(b'0'..=b'9' | b'a'..=b'z' | b'E' | b'-' | b'+' | b'.') = self.peek()? {
                    self.bump()?;
                    length += 1;
                    if length > 64 {
                        return Err(self.syntax("a shorter value"));
                    }
                }
                Ok(())
            }
            _ => Err(self.syntax("a value")),
        }
    }

    /// Makes sure nothing but blanks follows; the checksum of all but the last line.
    pub(super) fn finish(mut self) -> Result<Checksum, ManifestError> {
        if self.peek_token()?.is_some() {
            return Err(self.syntax("the end of the manifest"));
        }
        let offset = self.offset();
        let unterminated =
            ManifestError::Syntax { offset, expected: "a newline at the end of the last line" };
        self.hash.finish().ok_or(unterminated)
    }
}
