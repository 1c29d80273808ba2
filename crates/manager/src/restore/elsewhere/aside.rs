//! WAL of the destination that the archive does not have: perhaps the last transactions of a server that crashed.

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_catalog::BackupRecord;
use tapster_copy::remote::{Host, RemoteError, Script};
use walfile::{LongPageHeader, PageError, WalName};

use super::cksum::cksum;
use super::{Elsewhere, shell};
use crate::Server;
use crate::restore::destination::Job;
use crate::restore::unarchived::is_of_another;
use crate::restore::{RestoreError, RestorePlanError};

/// What the list of a directory full of segments may have.
const MOST_LISTED: usize = 64 * 1024 * 1024;
/// Names in one command.
const NAMES: usize = 500;

/// The segments, beginnings of segments and history files in the destination's `pg_wal` that the archive does not have, or has with
/// another content. A segment that was only made ready for use holds another position than its name says, and does not count.
pub(super) fn not_archived(
    server: &Server,
    host: &Host,
    record: &BackupRecord,
    destination: &Path,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<WalName>, RestorePlanError> {
    let what = "looking for WAL";
    let destination = destination.as_os_str();
    let arguments = [destination];
    let mut script = Script::new(what, shell::SEGMENTS, &arguments);
    script.limit = MOST_LISTED;
    let said = host.run(&script, stop)?;
    let size = record.segment_size();
    let store = server.wal_store().with_segment_size(size);
    let text = String::from_utf8_lossy(&said);
    let lines = text.strip_suffix("end\n").ok_or_else(|| RemoteError::answer(what, &said))?;
    let (mut kept, mut known) = (Vec::new(), Vec::new());
    for line in lines.lines() {
        let (name, header) = line.split_once(' ').unwrap_or((line, ""));
        let Ok(wal) = name.parse::<WalName>() else { continue };
        if let WalName::Segment(segment) = wal {
            match parse_header(header) {
                Some(Ok(header)) if is_of_another(&header, segment) => continue,
                Some(Err(PageError::Zero)) => {
                    known.push((wal, false));
                    continue;
                }
                // What cannot be read may be anything.
                _ => {}
            }
        }
        // The beginning of a segment is not the segment.
        match store.find(wal, false)? {
            None => kept.push(wal),
            Some(_) => known.push((wal, true)),
        }
    }
    // Made for use and never written to.
    let zeros = match known.iter().any(|(_, is_archived)| !is_archived) {
        true => cksum(&mut std::io::repeat(0).take(size.bytes())).ok(),
        false => None,
    };
    for some in known.chunks(NAMES) {
        let names: Vec<String> = some.iter().map(|(wal, _)| wal.to_string()).collect();
        let arguments: Vec<&OsStr> =
            std::iter::once(destination).chain(names.iter().map(OsStr::new)).collect();
        let said = host.run(&Script::new("comparing WAL", shell::CKSUM, &arguments), stop)?;
        let theirs = parse_sums(&said, some.len()).ok_or_else(|| RemoteError::answer(what, &said))?;
        for ((wal, is_archived), theirs) in some.iter().zip(theirs) {
            if stop.load(Ordering::Relaxed) {
                return Err(RestorePlanError::Stopped);
            }
            let ours = match is_archived {
                true => store.open(*wal, false).ok().and_then(|mut file| cksum(&mut file).ok()),
                false => zeros,
            };
            if ours != Some(theirs) {
                kept.push(*wal);
            }
        }
    }
    kept.sort();
    Ok(kept)
}

impl Elsewhere {
    /// Moves to `pg_wal/not-archived` what the archive does not have.
    pub(super) fn keep_wal(&self, job: Job<'_>) -> Result<(), RestoreError> {
        let plan = job.plan;
        let kept = not_archived(job.server, &self.host, &plan.record, &plan.destination, &job.context.stop);
        let kept = kept.map_err(RestoreError::Destination)?;
        let texts: Vec<String> = kept.iter().map(ToString::to_string).collect();
        for names in texts.chunks(NAMES) {
            let mut arguments = vec![plan.destination.as_os_str()];
            arguments.extend(names.iter().map(OsStr::new));
            self.ask(job, "putting WAL aside", shell::ASIDE, &arguments, &[])?;
        }
        Ok(())
    }
}

/// What [`CKSUM`](shell::CKSUM) says about so many files.
fn parse_sums(said: &[u8], count: usize) -> Option<Vec<(u32, u64)>> {
    let sums = std::str::from_utf8(said).ok()?.lines().map(|line| {
        let (sum, size) = line.trim_end().split_once(' ')?;
        Some((sum.parse().ok()?, size.parse().ok()?))
    });
    sums.collect::<Option<Vec<_>>>().filter(|sums| sums.len() == count)
}

/// The first page's header, in hexadecimal digits.
fn parse_header(header: &str) -> Option<Result<LongPageHeader, PageError>> {
    let bytes = header.split_ascii_whitespace().map(|byte| u8::from_str_radix(byte, 16).ok());
    Some(LongPageHeader::parse(&bytes.collect::<Option<Vec<u8>>>()?))
}

#[cfg(test)]
mod tests {
    use walfile::SegmentName;

    use super::*;

    #[test]
    fn a_segment_made_ready_is_not_in_use() {
        let segment: SegmentName = "000000010000000000000003".parse().unwrap();
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
            parts.concat().iter().map(|byte| format!("{byte:02x} ")).collect::<String>()
        };
        let is_recycled = |header: &str| matches!(parse_header(header), Some(Ok(header)) if is_of_another(&header, segment));
        assert!(!is_recycled(&page(3 << 24)));
        assert!(is_recycled(&page(2 << 24)));
        // Of an unknown release, or unreadable.
        assert!(!is_recycled(&page(2 << 24).replacen("10", "ff", 1)));
        for bad in ["", "zz", "10 d1", "é"] {
            assert!(!matches!(parse_header(bad), Some(Ok(_) | Err(PageError::Zero))), "{bad}");
        }
        assert_eq!(parse_header(&"00 ".repeat(40)), Some(Err(PageError::Zero)));
    }

    #[test]
    fn sums_as_the_other_host_tells_them() {
        assert_eq!(parse_sums(b"4294967295 0\n1 16777216\n", 2), Some(vec![(u32::MAX, 0), (1, 16 << 20)]));
        for bad in [&b""[..], b"1\n", b"1 2\n3 4\n", b"1 x\n", b"4294967296 0\n", b"\xff 1\n"] {
            assert_eq!(parse_sums(bad, 1), None, "{bad:?}");
        }
    }
}
