//! The summary of a segment from its bytes, as they pass by.

use std::io::{self, Read};
use std::path::Path;

use walfile::record::RecordHeader;
use walfile::{EndReason, LongPageHeader, Lsn, RecordDecoder, SegmentName};

use super::note::matters;
use super::summary::{Completeness, SegmentContent};
use crate::same_content::{decoded, read_up_to};
use crate::undo::Undo;

/// The longest piece of a record on either side of a segment's end that is kept. A commit has 34 bytes and more; with
/// both pieces at hand no segment must be read for it.
const PIECE: usize = 2048;

/// Sums up a segment that is fed in pieces. Memory: the decoder's, and a few kilobytes.
///
/// ```no_run
/// # fn next_piece() -> Option<Vec<u8>> { None }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let name = "000000010000001600000003".parse()?;
/// let mut scan = tapster_catalog::wal_index::SegmentScan::new(name);
/// while let Some(piece) = next_piece() {
///     scan.feed(&piece);
/// }
/// let content = scan.finish();
/// println!("{} commits between {:?}", content.commits, content.commit_times);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SegmentScan {
    name: SegmentName,
    decoder: RecordDecoder,
    content: SegmentContent,
    fed: u64,
    first: Vec<u8>,
}

impl SegmentScan {
    /// A scan at the start of a segment.
    pub fn new(name: SegmentName) -> Self {
        Self {
            name,
            decoder: RecordDecoder::new(),
            content: SegmentContent::default(),
            fed: 0,
            first: Vec::new(),
        }
    }

    /// Whether nothing that may still come would be read.
    const fn is_over(&self) -> bool {
        self.decoder.end().is_some()
    }

    /// The next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.fed += bytes.len() as u64;
        let room = (LongPageHeader::LEN + PIECE).saturating_sub(self.first.len());
        self.first.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.decoder.feed(bytes);
        while let Some(record) = self.decoder.poll() {
            self.content.note(record.lsn, &record.header, record.body(), record.major());
        }
    }

    /// The summary of what was fed.
    pub fn finish(mut self) -> SegmentContent {
        let end = self.decoder.finish().clone();
        let Some(header) = self.decoder.first_page().copied() else { return SegmentContent::default() };
        if self.name.start(header.segment_size) != Ok(header.page.address) {
            // WAL of another place: whatever it says, it is not replayed here.
            return SegmentContent::default();
        }
        let content = &mut self.content;
        content.major = header.page.magic.major();
        content.valid_to = end.at;
        content.completeness = Completeness::UpTo;
        let segment_end = header.page.address.saturating_add(header.segment_size.bytes());
        if matches!(end.reason, EndReason::Input { .. }) && self.fed == header.segment_size.bytes() {
            content.completeness = Completeness::Whole;
            content.valid_to = segment_end;
            if let Some((lsn, piece)) = self.decoder.unfinished() {
                content.set_tail(lsn, piece);
            }
        }
        if header.page.info.has_continued_record() {
            content.head_length = header.page.remaining;
            let length = header.page.remaining as usize;
            let fits = length <= PIECE && length + LongPageHeader::LEN <= header.block_size as usize;
            // Of a long one as much as may be missing of the record's header.
            let length = if fits { length } else { RecordHeader::LEN };
            let piece = self.first.get(LongPageHeader::LEN..).and_then(|rest| rest.get(..length));
            content.head = piece.unwrap_or(&[]).to_vec();
        }
        self.content
    }
}

impl SegmentContent {
    /// A record begins at `lsn` and goes on in the next segment; `piece` is what is here.
    fn set_tail(&mut self, lsn: Lsn, piece: &[u8]) {
        let header = piece.first_chunk().map(RecordHeader::read);
        // Of a header that is cut, nobody can tell.
        if header.is_none_or(|header| matters(&header)) {
            self.tail_lsn = Some(lsn);
            self.tail = if piece.len() <= PIECE { piece.to_vec() } else { Vec::new() };
        }
    }
}

/// Sums up the segment in a file, decompressing it. One that is damaged yields what could be read of it.
///
/// # Errors
/// When the file cannot be opened or read.
pub fn scan_file(path: &Path, name: SegmentName) -> io::Result<SegmentContent> {
    scan_with(path, name, Undo::default())
}

pub(super) fn scan_with(path: &Path, name: SegmentName, undo: Undo<'_>) -> io::Result<SegmentContent> {
    let mut input = match decoded(path, undo) {
        Ok(input) => input,
        Err(e) if is_content(&e) => return Ok(SegmentContent::default()),
        Err(e) => return Err(e),
    };
    let mut scan = SegmentScan::new(name);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match read_up_to(&mut input, &mut buffer) {
            Ok(got) => {
                scan.feed(buffer.get(..got).unwrap_or_default());
                if got < buffer.len() || scan.is_over() {
                    return Ok(scan.finish());
                }
            }
            // Of what a codec says, as opposed to the disk, the file is the cause.
            Err(e) if is_content(&e) => return Ok(scan.finish()),
            Err(e) => return Err(e),
        }
    }
}

fn is_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}

/// Passes on what is read, and sums it up.
#[derive(Debug)]
pub(crate) struct Scanning<'s, R> {
    pub(crate) input: R,
    pub(crate) scan: Option<&'s mut SegmentScan>,
}

impl<R: Read> Read for Scanning<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.input.read(buffer)?;
        if let Some(scan) = &mut self.scan {
            scan.feed(buffer.get(..got).unwrap_or_default());
        }
        Ok(got)
    }
}
