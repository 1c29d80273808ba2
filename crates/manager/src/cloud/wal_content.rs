//! Whether a content is that of the WAL file of its name, known from its first bytes and its length.

use std::io::Read;

use tapster_catalog::same_content::{self, Unread};
use walfile::{LongPageHeader, SegmentSize, SystemId, WalName};

use crate::put_wal::NotThisWal;

/// Labels and history files are a few hundred bytes.
const MAX_TEXT: u64 = 4 * 1024 * 1024;

/// How many of the first bytes [`check_start`] wants.
pub(super) const START: usize = LongPageHeader::LEN;

/// What the first bytes say, before the rest was seen. Returns the length the file must have, and whose WAL it is, of a segment.
pub(super) fn check_start(
    name: WalName,
    start: &[u8],
) -> Result<Option<(SegmentSize, SystemId)>, NotThisWal> {
    if start.is_empty() {
        return Err(NotThisWal::Empty);
    }
    let (WalName::Segment(segment) | WalName::Partial(segment)) = name else { return Ok(None) };
    let header = match LongPageHeader::parse(start) {
        Ok(header) => header,
        // A partial segment whose first bytes have not come.
        Err(_) if matches!(name, WalName::Partial(_)) && start.iter().all(|byte| *byte == 0) => {
            return Ok(None);
        }
        Err(error) => return Err(NotThisWal::Header { problem: error.to_string() }),
    };
    header.validate_for(segment, header.segment_size.bytes(), None)?;
    Ok(Some((header.segment_size, header.system_id)))
}

/// What the length says, after [`check_start`].
pub(super) fn check_length(name: WalName, size: Option<SegmentSize>, length: u64) -> Result<(), NotThisWal> {
    let is_segment = matches!(name, WalName::Segment(_) | WalName::Partial(_));
    match size {
        Some(size) if size.bytes() != length => {
            Err(NotThisWal::Length { expected: Some(size.bytes()), found: length })
        }
        None if is_segment && SegmentSize::new(length).is_err() || !is_segment && length > MAX_TEXT => {
            Err(NotThisWal::Length { expected: None, found: length })
        }
        _ => Ok(()),
    }
}

/// Whether `new` has everything that `old` has. Zeros were never received.
pub(super) fn has_all(mut new: impl Read, mut old: impl Read) -> Result<bool, Unread> {
    let (mut ours, mut theirs) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let there = same_content::read_up_to(&mut old, &mut theirs).map_err(Unread::Second)?;
        let here = same_content::read_up_to(&mut new, &mut ours).map_err(Unread::First)?;
        if there == 0 {
            return Ok(true);
        }
        let (ours, theirs) = (ours.get(..here).unwrap_or_default(), theirs.get(..there).unwrap_or_default());
        let mut padded = ours.iter().chain(std::iter::repeat(&0));
        if theirs.iter().any(|theirs| padded.next().is_none_or(|ours| *theirs != 0 && theirs != ours)) {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_judged_by_its_name() {
        let segment: WalName = "000000010000000000000005".parse().unwrap();
        let partial: WalName = "000000010000000000000005.partial".parse().unwrap();
        let history: WalName = "00000002.history".parse().unwrap();
        assert_eq!(check_start(segment, b""), Err(NotThisWal::Empty));
        assert!(matches!(check_start(segment, &[0; START]), Err(NotThisWal::Header { .. })));
        assert_eq!(check_start(partial, &[0; START]), Ok(None));
        assert_eq!(check_start(history, b"1"), Ok(None));
        assert_eq!(check_length(partial, None, 16 << 20), Ok(()));
        assert!(check_length(partial, None, 1000).is_err());
        assert!(check_length(segment, SegmentSize::new(1 << 20).ok(), 2 << 20).is_err());
        assert_eq!(check_length(history, None, 41), Ok(()));
        assert!(check_length(history, None, MAX_TEXT + 1).is_err());
    }

    #[test]
    fn what_is_archived_is_never_replaced_by_less() {
        let whole: Vec<u8> = (0..200_000_u32).map(|i| (i % 250) as u8 + 1).collect();
        let begun = |length: usize| {
            let mut begun = whole.clone();
            begun[length..].fill(0);
            begun
        };
        for (new, old, expected) in
            [(100_000, 0, true), (100_000, 70_000, true), (70_000, 70_000, true), (70_000, 70_001, false)]
        {
            assert_eq!(has_all(&begun(new)[..], &begun(old)[..]).unwrap(), expected, "{new} {old}");
        }
        let mut other = begun(70_000);
        other[69_000] ^= 0x80;
        assert!(!has_all(&begun(100_000)[..], &other[..]).unwrap());
        // A file that was cut.
        assert!(!has_all(&whole[..1000], &whole[..]).unwrap());
        assert!(has_all(&whole[..1000], &begun(1000)[..]).unwrap());
    }
}
