//! Records of one segment.

use thiserror::Error;

use crate::Lsn;
use crate::page::{LongPageHeader, PageError};
use crate::reader::assembler::{Assembler, Pass, Step};
use crate::reader::{EndOfWal, EndReason, Record, RecordDecoder};

/// A WAL segment in memory: whole, or its beginning (a `.partial`).
///
/// ```no_run
/// # let bytes: Vec<u8> = Vec::new();
/// let segment = walfile::Segment::new(&bytes)?;
/// let mut records = segment.records();
/// while let Some(record) = records.next_record() {
///     println!("{} {} {:?}", record.lsn, record.header.rmgr, record.type_name());
/// }
/// println!("{:?}", records.end());
/// # Ok::<(), walfile::PageError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    bytes: &'a [u8],
    first: LongPageHeader,
}

/// What a walk over a segment's records found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Whole records.
    pub records: u64,
    /// Bytes of these records, without page headers and padding.
    pub record_bytes: u64,
    /// Where the first record begins.
    pub first: Option<Lsn>,
    /// Where the last whole record begins.
    pub last: Option<Lsn>,
    /// Whether the segment ends in `XLOG_SWITCH`.
    pub switched: bool,
    /// Where the valid part ends, and why.
    pub end: EndOfWal,
    /// Whether everything up to the end of the segment is valid, the beginning of a record that goes on in the
    /// next segment included.
    pub whole: bool,
}

/// A segment that is not valid up to its end.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{}", summary.end)]
pub struct VerifyError {
    /// What is there.
    pub summary: Box<Summary>,
}

impl<'a> Segment<'a> {
    /// The segment in `bytes`.
    ///
    /// # Errors
    /// When they do not begin with the first page of a segment.
    pub fn new(bytes: &'a [u8]) -> Result<Self, PageError> {
        Ok(Self { bytes, first: LongPageHeader::parse(bytes)? })
    }

    /// The header of the first page.
    pub const fn header(&self) -> &LongPageHeader {
        &self.first
    }

    /// The records that begin in this segment and are whole in it. The end of one that began in an earlier segment is
    /// passed over; to read it too, see [`Segment::records_after`].
    pub fn records(&self) -> Records<'a> {
        Records { bytes: self.bytes, used: 0, state: Assembler::default() }
    }

    /// The records of this segment after those of the whole segment before: what was unfinished there is completed,
    /// and the first record must link back to the last one there. What was not read of `before` is passed over.
    pub fn records_after(&self, mut before: Records<'_>) -> Records<'a> {
        while before.next_record().is_some() {}
        let mut state = before.state;
        // What ended there because the file did goes on here.
        if state.end.as_ref().is_some_and(|end| matches!(end.reason, EndReason::Input { .. })) {
            state.end = None;
        }
        Records { bytes: self.bytes, used: 0, state }
    }

    /// Reads all the records and says how far the segment is valid. A log that just ends is no error here.
    pub fn scan(&self) -> Summary {
        self.records().summary()
    }

    /// Reads all the records, as far as one segment allows: links and checksums of every record in it.
    ///
    /// # Errors
    /// When the segment is not valid up to its end: for the last segment of a log use [`Segment::scan`].
    pub fn verify(&self) -> Result<Summary, VerifyError> {
        let summary = self.scan();
        if summary.whole { Ok(summary) } else { Err(VerifyError { summary: Box::new(summary) }) }
    }
}

/// The records of a segment; made by [`Segment::records`]. Not an `Iterator`, because a record that crosses pages
/// is lent from one buffer.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    used: usize,
    state: Assembler,
}

impl Records<'_> {
    /// The next record, or `None` at the end: see [`Records::end`].
    pub fn next_record(&mut self) -> Option<Record<'_>> {
        match self.state.step(self.bytes, &mut self.used, &Pass::NOTHING) {
            Step::Record(found) => self.state.record(&found, self.bytes),
            Step::NeedMore => {
                let rest = self.bytes.len().saturating_sub(self.used);
                self.state.finish(rest);
                None
            }
            Step::End => None,
        }
    }

    /// Where the valid part ends, once [`Records::next_record`] has returned `None`.
    pub const fn end(&self) -> Option<&EndOfWal> {
        self.state.end.as_ref()
    }

    /// Goes on as a decoder to which the following segments are fed; what was not read yet of this one is fed to it.
    pub fn into_decoder(self) -> RecordDecoder {
        let mut state = self.state;
        if state.end.as_ref().is_some_and(|end| matches!(end.reason, EndReason::Input { .. })) {
            state.end = None;
        }
        let mut decoder = RecordDecoder::with_state(state);
        decoder.feed(self.bytes.get(self.used..).unwrap_or(&[]));
        decoder
    }

    /// Reads what is left and sums it up.
    pub fn summary(mut self) -> Summary {
        let first = match self.state.step(self.bytes, &mut self.used, &Pass::NOTHING) {
            Step::Record(found) => Some(found),
            Step::NeedMore | Step::End => None,
        };
        if first.is_some() {
            self.state.step(self.bytes, &mut self.used, &Pass::EVERYTHING);
        }
        let passed = self.state.passed;
        let records = passed.records + u64::from(first.is_some());
        let record_bytes =
            passed.record_bytes + first.as_ref().map_or(0, |found| found.header.total_len.into());
        let last = first.as_ref().and(self.state.prev);
        let switched = self.state.is_switched();
        let first = first.map(|found| Lsn::new(found.lsn));
        let rest = self.bytes.len().saturating_sub(self.used);
        let end = self.state.finish(rest).clone();
        let input = matches!(end.reason, EndReason::Input { .. });
        let size = self.state.pages.as_ref().map(|pages| pages.first.segment_size.bytes());
        let whole = input && rest == 0 && u64::try_from(self.bytes.len()).ok() == size;
        Summary { records, record_bytes, first, last, switched, end, whole }
    }
}
