//! Records from a stream of bytes.

use crate::Lsn;
use crate::page::LongPageHeader;
use crate::reader::assembler::{Assembler, Step};
use crate::reader::{EndOfWal, Record};

/// Finds the records in WAL that arrives in pieces of any size, such as a replication stream or a decompressor's
/// output. The stream begins with a segment and may go on over any number of them, without gaps.
///
/// It checks what PostgreSQL checks before it replays a record: page headers, the link back, the checksum.
/// A record that was begun before the first segment is passed over; one that crosses pages or segments is put together.
///
/// Memory: what was fed and not yet polled, and one unfinished record, which grows only with bytes that came.
///
/// ```no_run
/// # fn next_piece() -> Option<Vec<u8>> { None }
/// let mut decoder = walfile::RecordDecoder::new();
/// while let Some(piece) = next_piece() {
///     decoder.feed(&piece);
///     while let Some(record) = decoder.poll() {
///         println!("{} {} {}", record.lsn, record.header.rmgr, record.type_name().unwrap_or("UNKNOWN"));
///     }
/// }
/// println!("{}", decoder.finish());
/// ```
#[derive(Clone, Debug, Default)]
pub struct RecordDecoder {
    state: Assembler,
    input: Vec<u8>,
    used: usize,
}

impl RecordDecoder {
    /// A decoder at the start of a segment.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) const fn with_state(state: Assembler) -> Self {
        Self { state, input: Vec::new(), used: 0 }
    }

    /// Adds the next bytes. After the end they are ignored.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.state.end.is_some() {
            return;
        }
        self.input.drain(..self.used.min(self.input.len()));
        self.used = 0;
        self.input.extend_from_slice(bytes);
    }

    /// The next record. `None`: feed more, unless [`RecordDecoder::end`] says that nothing more can come.
    pub fn poll(&mut self) -> Option<Record<'_>> {
        match self.state.step(&self.input, &mut self.used) {
            Step::Record(found) => self.state.record(&found, &self.input),
            Step::NeedMore | Step::End => None,
        }
    }

    /// Why there are no more records, once there are none whatever is fed.
    pub const fn end(&self) -> Option<&EndOfWal> {
        self.state.end.as_ref()
    }

    /// Ends the stream, and says up to where it was valid.
    pub fn finish(&mut self) -> &EndOfWal {
        let rest = self.input.len().saturating_sub(self.used);
        self.state.finish(rest)
    }

    /// The header of the first page, once it has come.
    pub fn first_page(&self) -> Option<&LongPageHeader> {
        self.state.pages.as_ref().map(|pages| &pages.first)
    }

    /// Position of the first byte that was not consumed: everything before it was part of a record that was
    /// returned or is unfinished, of a page header, or of padding.
    pub const fn position(&self) -> Lsn {
        Lsn::new(self.state.at)
    }

    /// Bytes held in memory.
    pub const fn buffered(&self) -> usize {
        self.input.len() - self.used + self.state.gathered()
    }
}
