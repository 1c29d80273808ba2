//! Cutting the server's byte stream into frames.

use std::ops::Range;

use thiserror::Error;

/// Bytes of a frame before its body: the tag and the length.
const HEADER: usize = 5;

/// How large a [`FrameBuffer`] starts and what it accepts.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FrameLimits {
    /// Bytes allocated at the start.
    pub initial: usize,
    /// The longest frame accepted, in bytes; the buffer never grows beyond this.
    pub max_frame: usize,
}

impl Default for FrameLimits {
    fn default() -> Self {
        // Four of the largest WAL messages (128 KiB) per read. The longest legitimate frame is a row holding a
        // large text, such as a backup label or a history file; a gigabyte of anything is an attack.
        Self { initial: 512 * 1024, max_frame: 64 * 1024 * 1024 }
    }
}

impl FrameLimits {
    /// The limits before authentication: nobody has proved anything yet.
    pub const fn unauthenticated(self) -> Self {
        Self { initial: self.initial, max_frame: 64 * 1024 }
    }
}

/// A frame no server of ours sends.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum FrameError {
    /// The length field is smaller than the field itself.
    #[error("message of type {tag:?} has length {length}, which is less than 4")]
    TooShort {
        /// The type byte.
        tag: char,
        /// The length field.
        length: u32,
    },
    /// The length field is beyond the limit.
    #[error("message of type {tag:?} has length {length}, more than the {limit} bytes accepted")]
    TooLong {
        /// The type byte.
        tag: char,
        /// The length field.
        length: u32,
        /// The limit in bytes.
        limit: usize,
    },
}

/// A complete frame, its body still in the [`FrameBuffer`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// The type byte.
    pub tag: u8,
    body: Range<usize>,
}

impl Frame {
    /// Bytes of the body.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether the body is empty.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }
}

/// One buffer into which the socket reads and from which frames are borrowed.
///
/// A frame's body stays valid until the next [`FrameBuffer::spare`]; the types keep a body from being read
/// after that only through the borrow, so look a frame up before reading on.
///
/// ```
/// use tapster_protocol::proto::FrameBuffer;
/// let mut frames = FrameBuffer::default();
/// let input = b"Z\0\0\0\x05I";
/// frames.spare()[..input.len()].copy_from_slice(input);
/// frames.filled(input.len());
/// let frame = frames.next()?.unwrap();
/// assert_eq!((frame.tag, frames.body(&frame)), (b'Z', &b"I"[..]));
/// # Ok::<(), tapster_protocol::proto::FrameError>(())
/// ```
#[derive(Debug)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes the frame at `start` needs in all, once its header is known.
    wanted: usize,
    limits: FrameLimits,
}

impl Default for FrameBuffer {
    fn default() -> Self {
        Self::new(FrameLimits::default())
    }
}

impl FrameBuffer {
    /// An empty buffer.
    pub fn new(limits: FrameLimits) -> Self {
        Self { bytes: vec![0; limits.initial.max(HEADER)], start: 0, end: 0, wanted: HEADER, limits }
    }

    /// Changes the longest frame accepted; done once authentication has succeeded.
    pub const fn set_max_frame(&mut self, bytes: usize) {
        self.limits.max_frame = bytes;
    }

    /// Room to read into; never empty. Frames handed out before are gone.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start + self.wanted > self.bytes.len() || self.end == self.bytes.len() {
            // Only the head of one unfinished frame moves: everything before it was handed out.
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.wanted > self.bytes.len() {
                // Bounded: `wanted` passed the limit check in `next`. Grown in steps, because the server has
                // not sent that much yet.
                let step = (self.bytes.len() * 2).min(self.wanted).max(self.end + 1);
                if self.end == self.bytes.len() || step == self.wanted {
                    self.bytes.resize(step, 0);
                }
            }
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that `count` bytes of [`FrameBuffer::spare`] were filled.
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// Takes the next complete frame, or `None` when more must be read.
    ///
    /// # Errors
    /// When the length is impossible or beyond the limit; the stream is lost then.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot be asked for the body")]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = self.bytes.get(self.start..self.end).unwrap_or_default();
        let Some(([tag, a, b, c, d], _)) = rest.split_first_chunk::<HEADER>() else {
            self.wanted = HEADER;
            return Ok(None);
        };
        let length = u32::from_be_bytes([*a, *b, *c, *d]);
        if length < 4 {
            return Err(FrameError::TooShort { tag: char::from(*tag), length });
        }
        let total = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(1);
        if total > self.limits.max_frame {
            let limit = self.limits.max_frame;
            return Err(FrameError::TooLong { tag: char::from(*tag), length, limit });
        }
        if rest.len() < total {
            self.wanted = total;
            return Ok(None);
        }
        let body = self.start + HEADER..self.start + total;
        self.start += total;
        self.wanted = HEADER;
        Ok(Some(Frame { tag: *tag, body }))
    }

    /// The body of a frame just taken.
    pub fn body(&self, frame: &Frame) -> &[u8] {
        self.bytes.get(frame.body.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(buffer: &mut FrameBuffer, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let spare = buffer.spare();
            let count = spare.len().min(bytes.len());
            spare[..count].copy_from_slice(&bytes[..count]);
            buffer.filled(count);
            bytes = &bytes[count..];
        }
    }

    #[test]
    fn impossible_lengths() {
        for (bytes, short) in [(&b"d\0\0\0\x03"[..], true), (b"d\xff\xff\xff\xff", false)] {
            let mut buffer = FrameBuffer::default();
            feed(&mut buffer, bytes);
            let error = buffer.next().unwrap_err();
            assert_eq!(matches!(error, FrameError::TooShort { .. }), short, "{error}");
            assert!(buffer.bytes.len() <= FrameLimits::default().initial);
        }
    }

    #[test]
    fn grows_only_as_bytes_arrive() {
        let mut buffer = FrameBuffer::new(FrameLimits { initial: 64, max_frame: 1 << 20 });
        feed(&mut buffer, b"d\0\x0f\0\0");
        assert_eq!(buffer.next(), Ok(None));
        assert!(!buffer.spare().is_empty());
        assert!(buffer.bytes.len() <= 128, "a header alone must not make it allocate");
        let mut left = 0xf_0000 - 4;
        while left > 0 {
            let spare = buffer.spare().len().min(left);
            buffer.filled(spare);
            left -= spare;
            if left > 0 {
                assert_eq!(buffer.next(), Ok(None));
            }
        }
        let frame = buffer.next().unwrap().unwrap();
        assert_eq!(frame.len(), 0xf_0000 - 4);
    }
}
