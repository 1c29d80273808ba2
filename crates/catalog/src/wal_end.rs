//! Whether two segments hold the same WAL, whatever stands behind it.
//!
//! After `pg_switch_wal()` and at the end of a timeline a segment goes on with what the file held before it was recycled. Two
//! servers that archive the same segment (`archive_mode = always`) then differ in bytes that nobody ever replays.

use std::io::{self, Read};

use walfile::{EndReason, RecordDecoder};

use crate::same_content::readers;

/// Bytes read at once.
const PIECE: usize = 256 * 1024;

/// Where the WAL of a segment ends before the segment does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct EarlyEnd {
    /// Bytes from the start of the segment.
    offset: u64,
    /// It ends with `XLOG_SWITCH`.
    switched: bool,
}

/// Whether both end early, at the same place and in the same way, with the same bytes before it. `open` opens the one or the
/// other from its start.
pub(crate) fn same_before_the_end<R: Read>(
    a: impl Fn() -> io::Result<R>,
    b: impl Fn() -> io::Result<R>,
) -> io::Result<bool> {
    let Some(end) = early_end(a()?)? else { return Ok(false) };
    if early_end(b()?)? != Some(end) {
        return Ok(false);
    }
    Ok(readers(a()?.take(end.offset), b()?.take(end.offset))?)
}

/// `None` when the WAL goes on to the end of the segment, when what stops it may be damage, or when there is not one whole
/// record: then every byte counts.
fn early_end(mut input: impl Read) -> io::Result<Option<EarlyEnd>> {
    let mut decoder = RecordDecoder::new();
    let mut any = false;
    loop {
        let got = decoder.read_from(&mut input, PIECE)?;
        while let Some(record) = decoder.poll() {
            any = true;
            if record.header.is_switch() {
                let end = record.lsn.get().saturating_add(u64::from(record.header.total_len));
                let start = decoder.first_page().map_or(0, |page| page.page.address.get());
                // A record that crosses a page has the page's header inside; compared with it is a few bytes less.
                return Ok(Some(EarlyEnd { offset: end.saturating_sub(start), switched: true }));
            }
        }
        if got == 0 || decoder.end().is_some() {
            break;
        }
    }
    let start = decoder.first_page().map_or(0, |page| page.page.address.get());
    let end = decoder.finish();
    let nothing_more = matches!(
        end.reason,
        EndReason::NothingWritten
            | EndReason::BackLink { .. }
            | EndReason::Page { .. }
            | EndReason::PageAddress { .. }
    );
    let offset = end.at.get().saturating_sub(start);
    Ok((nothing_more && any).then_some(EarlyEnd { offset, switched: false }))
}
