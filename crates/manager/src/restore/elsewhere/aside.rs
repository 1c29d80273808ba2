//! WAL of the destination that the archive does not have: perhaps the last transactions of a server that crashed.

use std::ffi::OsStr;

use tapster_copy::remote::{RemoteError, Script};
use walfile::{LongPageHeader, SegmentName, SegmentSize};

use super::{Elsewhere, shell};
use crate::event::Event;
use crate::restore::RestoreError;
use crate::restore::destination::Job;

/// What the list of a directory full of segments may have.
const MOST_LISTED: usize = 64 * 1024 * 1024;
/// Names in one command.
const NAMES: usize = 500;

impl Elsewhere {
    /// Moves it to `pg_wal/not-archived`. A segment that was only made ready for use holds another position than its name says,
    /// and does not count.
    pub(super) fn keep_wal(&self, job: Job<'_>) -> Result<(), RestoreError> {
        let what = "looking for WAL";
        let destination = job.plan.destination.as_os_str();
        let arguments = [destination];
        let mut script = Script::new(what, shell::SEGMENTS, &arguments);
        script.limit = MOST_LISTED;
        let said = self.host.run(&script, &job.context.stop)?;
        let size = job.plan.record.segment_size();
        let store = job.server.wal_store().with_segment_size(size);
        // One that an unfinished restore has copied.
        let with_partial = job.plan.options.partial_wal;
        let mut kept = Vec::new();
        for line in String::from_utf8_lossy(&said).lines() {
            let (name, header) =
                line.split_once(' ').ok_or_else(|| RemoteError::answer(what, line.as_bytes()))?;
            let Ok(segment) = name.parse::<SegmentName>() else { continue };
            if is_used(segment, header, size) && store.find(segment.into(), with_partial)?.is_none() {
                kept.push(segment.to_string());
            }
        }
        for names in kept.chunks(NAMES) {
            let mut arguments = vec![destination];
            arguments.extend(names.iter().map(OsStr::new));
            self.ask(job, "putting WAL aside", shell::ASIDE, &arguments, &[])?;
        }
        if let (Some(first), Some(last)) = (kept.iter().min(), kept.iter().max()) {
            let place = job.plan.destination.join("pg_wal/not-archived");
            job.context.tell(Event::Warning(format!(
                "{} WAL files of the destination are not in the archive, {first} to {last}: they were moved to '{}'",
                kept.len(),
                place.display()
            )));
        }
        Ok(())
    }
}

/// Whether the first page, in hexadecimal digits, is of this segment.
fn is_used(segment: SegmentName, header: &str, size: SegmentSize) -> bool {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<Vec<u8>> = (header.as_bytes().chunks_exact(2))
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect();
    let header = bytes.and_then(|bytes| LongPageHeader::parse(&bytes).ok());
    header.is_some_and(|header| segment.start(size).is_ok_and(|at| at == header.page.address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_made_ready_is_not_in_use() {
        let segment: SegmentName = "000000010000000000000003".parse().unwrap();
        let size = SegmentSize::new(16 << 20).unwrap();
        let page = |address: u64| {
            let parts: [&[u8]; 8] = [
                &0xD110_u16.to_le_bytes(),
                &2_u16.to_le_bytes(),
                &1_u32.to_le_bytes(),
                &address.to_le_bytes(),
                &[0; 8],
                &7_u64.to_le_bytes(),
                &(16_u32 << 20).to_le_bytes(),
                &8192_u32.to_le_bytes(),
            ];
            parts.concat().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert!(is_used(segment, &page(3 << 24), size));
        assert!(!is_used(segment, &page(2 << 24), size));
        for bad in ["", "zz", "10d1", "é"] {
            assert!(!is_used(segment, bad, size), "{bad}");
        }
    }
}
