//! Records from a stream of bytes.

use std::io::{self, Read};

use crate::Lsn;
use crate::page::LongPageHeader;
use crate::reader::assembler::{Assembler, Pass, Passed, Step};
use crate::reader::{EndOfWal, Record};
use crate::rmgr::RmgrSet;

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
    /// Longer than what is there, so that reading need not clear it each time: see `filled`.
    input: Vec<u8>,
    used: usize,
    filled: usize,
}

impl RecordDecoder {
    /// A decoder at the start of a segment.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) const fn with_state(state: Assembler) -> Self {
        Self { state, input: Vec::new(), used: 0, filled: 0 }
    }

    /// Adds the next bytes. After the end they are ignored.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.state.end.is_some() {
            return;
        }
        self.move_down();
        self.input.truncate(self.filled);
        self.input.extend_from_slice(bytes);
        self.filled = self.input.len();
    }

    /// Adds what one `read` gives, at most `most` bytes, without the copy that [`RecordDecoder::feed`] makes. Returns how
    /// many came: 0 at the end of the reader, and after the end of the log, when nothing is read.
    ///
    /// Pieces that fit into the processor's second-level cache, such as 256 KiB, are read fastest.
    ///
    /// ```no_run
    /// let mut decoder = walfile::RecordDecoder::new();
    /// let mut segment = std::fs::File::open("000000010000000000000005")?;
    /// while decoder.read_from(&mut segment, 256 * 1024)? > 0 {
    ///     while let Some(record) = decoder.poll() {
    ///         println!("{}", record.lsn);
    ///     }
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the reader; one that was interrupted is asked again.
    pub fn read_from(&mut self, reader: &mut impl Read, most: usize) -> io::Result<usize> {
        if self.state.end.is_some() {
            return Ok(0);
        }
        self.move_down();
        let until = self.filled.saturating_add(most);
        if self.input.len() < until {
            self.input.resize(until, 0);
        }
        let Some(room) = self.input.get_mut(self.filled..until) else { return Ok(0) };
        loop {
            match reader.read(room) {
                // A reader may say more than it was given room for.
                Ok(count) => {
                    let count = count.min(most);
                    self.filled += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves what was not consumed to the start of the buffer.
    fn move_down(&mut self) {
        self.input.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
    }

    /// The next record. `None`: feed more, unless [`RecordDecoder::end`] says that nothing more can come.
    pub fn poll(&mut self) -> Option<Record<'_>> {
        self.step(&Pass::NOTHING)
    }

    /// The next record of one of these resource managers. Those before it are checked as all are and counted in
    /// [`RecordDecoder::passed`], but not put together, which is faster. With [`RmgrSet::NONE`] the log is only checked.
    ///
    /// A record that crosses pages is passed over when it is not wanted while its header is read.
    ///
    /// ```no_run
    /// # fn next_piece() -> Option<Vec<u8>> { None }
    /// use walfile::rmgr::{Rmgr, RmgrSet};
    /// let mut decoder = walfile::RecordDecoder::new();
    /// while let Some(piece) = next_piece() {
    ///     decoder.feed(&piece);
    ///     while let Some(record) = decoder.poll_of(RmgrSet::NONE.with(Rmgr::TRANSACTION)) {
    ///         println!("{} {}", record.lsn, record.type_name().unwrap_or("UNKNOWN"));
    ///     }
    /// }
    /// println!("{}, {} other records", decoder.finish().clone(), decoder.passed().records);
    /// ```
    pub fn poll_of(&mut self, wanted: RmgrSet) -> Option<Record<'_>> {
        self.step(&Pass { wanted, ..Pass::EVERYTHING })
    }

    /// The records that [`RecordDecoder::poll_of`] has passed over.
    pub const fn passed(&self) -> Passed {
        self.state.passed
    }

    fn step(&mut self, pass: &Pass) -> Option<Record<'_>> {
        let input = self.input.get(..self.filled).unwrap_or(&[]);
        match self.state.step(input, &mut self.used, pass) {
            Step::Record(found) => self.state.record(&found, input),
            Step::NeedMore | Step::End => None,
        }
    }

    /// Why there are no more records, once there are none whatever is fed.
    pub const fn end(&self) -> Option<&EndOfWal> {
        self.state.end.as_ref()
    }

    /// Ends the stream, and says up to where it was valid.
    pub fn finish(&mut self) -> &EndOfWal {
        let rest = self.filled.saturating_sub(self.used);
        self.state.finish(rest)
    }

    /// The record that began and goes on in what was not fed yet: where it begins, and what is there of it, page headers left
    /// out; of one that is passed over, its header. `None` when the input ended between two records, or inside one that lies in a single page.
    pub fn unfinished(&self) -> Option<(Lsn, &[u8])> {
        self.state.unfinished()
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
        self.filled - self.used + self.state.gathered()
    }
}
