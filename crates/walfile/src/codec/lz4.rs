//! LZ4 frames that must end.

use std::io::{self, BufRead, BufReader, Read};

use lz4_flex::frame::FrameDecoder;

/// Reads all the frames of a stream. `lz4_flex` takes the end of the input for the end of a frame and stops
/// after the first frame; here a cut-off frame is an error and the next frame follows.
pub(super) struct Lz4Decoder<R: Read> {
    frames: FrameDecoder<Watched<R>>,
    inside: bool,
}

/// Remembers that somebody wanted more than there was.
struct Watched<R> {
    inner: BufReader<R>,
    starved: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.starved |= read == 0 && !buf.is_empty();
        Ok(read)
    }
}

impl<R: Read> Lz4Decoder<R> {
    pub(super) fn new(reader: R) -> Self {
        let watched = Watched { inner: BufReader::with_capacity(64 * 1024, reader), starved: false };
        Self { frames: FrameDecoder::new(watched), inside: true }
    }
}

impl<R: Read> Read for Lz4Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.inside {
                if self.frames.get_mut().inner.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                self.inside = true;
            }
            let read = self.frames.read(buf)?;
            if read > 0 {
                return Ok(read);
            }
            if self.frames.get_ref().starved {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the LZ4 frame is cut off"));
            }
            self.inside = false;
        }
    }
}
