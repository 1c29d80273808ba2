//! One file of an archive, decompressed, and checked for its length.

use std::fmt;
use std::io::{self, Chain, Cursor, Read};

use crate::archive::{ArchiveStop, WalArchive};
use crate::codec::{self, DETECT_LEN, Decoder};
use crate::{Lsn, SegmentNo, SegmentSize, WalName};

type Stored = Box<dyn Read + Send>;

/// Opens a file and finds out what it is compressed with.
pub(super) fn open_decoded(archive: &impl WalArchive, name: WalName) -> io::Result<Option<Content>> {
    let Some(mut stored) = archive.open(name)? else { return Ok(None) };
    let mut start = Vec::with_capacity(DETECT_LEN);
    stored.by_ref().take(DETECT_LEN as u64).read_to_end(&mut start)?;
    let compression = codec::detect(&start);
    Ok(Some(codec::decoder(Cursor::new(start).chain(stored), compression)?))
}

pub(super) type Content = Decoder<Chain<Cursor<Vec<u8>>, Stored>>;

/// A segment, or the beginning of one, that is being read.
pub(super) struct OpenSegment {
    pub(super) name: WalName,
    content: Content,
    size: u64,
    read: u64,
    /// Bytes after which another timeline holds the log.
    limit: u64,
}

impl OpenSegment {
    pub(super) fn new(
        name: WalName,
        content: Content,
        number: SegmentNo,
        size: SegmentSize,
        left: Option<Lsn>,
    ) -> Self {
        let limit = left.map_or(size.bytes(), |left| left.saturating_bytes_since(number.start(size)));
        Self { name, content, size: size.bytes(), read: 0, limit: limit.min(size.bytes()) }
    }

    /// Whether the log goes on in the file of another timeline.
    pub(super) const fn is_left(&self) -> bool {
        self.limit < self.size
    }

    /// Whether the file may end before the segment does.
    pub(super) const fn is_partial(&self) -> bool {
        matches!(self.name, WalName::Partial(_))
    }

    /// Bytes that were read.
    pub(super) const fn position(&self) -> u64 {
        self.read
    }

    /// Passes over the bytes before this offset, as far as they are there.
    pub(super) fn skip_to(&mut self, offset: u64) -> Result<(), ArchiveStop> {
        let before = self.content.by_ref().take(offset.min(self.limit).saturating_sub(self.read));
        self.read += io::copy(&mut { before }, &mut io::sink()).map_err(ArchiveStop::Read)?;
        Ok(())
    }

    /// Reads on into `buffer`, which is not empty: 0 at the end of what is to be read of this file.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveStop> {
        let left = usize::try_from(self.limit - self.read).unwrap_or(usize::MAX);
        if left == 0 {
            return self.end();
        }
        let room = buffer.len().min(left);
        let room = buffer.get_mut(..room).unwrap_or_default();
        let got = read_some(&mut self.content, room)?;
        self.read += got as u64;
        if got == 0 && !self.is_partial() {
            return Err(ArchiveStop::Length { expected: self.size, found: self.read });
        }
        Ok(got)
    }

    /// At its end a codec checks its own checksum, and nothing may follow.
    fn end(&mut self) -> Result<usize, ArchiveStop> {
        if !self.is_left() && read_some(&mut self.content, &mut [0])? > 0 {
            return Err(ArchiveStop::Length { expected: self.size, found: self.size + 1 });
        }
        Ok(0)
    }
}

fn read_some(content: &mut Content, buffer: &mut [u8]) -> Result<usize, ArchiveStop> {
    loop {
        match content.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(ArchiveStop::Read),
        }
    }
}

impl fmt::Debug for OpenSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSegment")
            .field("name", &self.name)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}
