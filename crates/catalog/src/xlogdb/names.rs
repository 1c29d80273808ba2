//! Which names the index lists, kept while it grows: what was read once is not read again.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use walfile::{SegmentName, Timeline, WalName};

use super::scan::scan;
use super::{XlogDb, XlogDbError};

/// How much before the place is looked at that was read up to. No line of ours is longer.
const BEHIND: u64 = 4096;

/// The names of the index as of the last [`Self::update`].
#[derive(Debug, Default)]
pub(crate) struct ListedNames {
    names: Names,
    read: Option<Place>,
}

/// Up to where a file was read, and how to tell that it is still the same file up to there.
#[derive(Debug)]
struct Place {
    device: u64,
    inode: u64,
    /// The byte behind the last newline.
    end: u64,
    /// The bytes before that.
    behind: Vec<u8>,
}

impl ListedNames {
    /// Reads what was appended since the last time, or everything when the index was rewritten. Returns how many bytes that were.
    pub(crate) fn update(&mut self, index: &XlogDb<'_>) -> Result<u64, XlogDbError> {
        let mut read = || -> io::Result<u64> {
            let mut file = File::open(index.path())?;
            let from = match &self.read {
                Some(place) if place.is_part_of(&file)? => place.end,
                _ => 0,
            };
            if from == 0 {
                self.names = Names::default();
            }
            self.read = None;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(from))?;
            let names = &mut self.names;
            let mut each = |brief: &super::XlogBrief| {
                names.insert(brief.name);
                ControlFlow::Continue(())
            };
            scan(&mut (&file).take(length.saturating_sub(from)), &mut each, &|line| index.note(line))?;
            self.read = Place::at_end_of(&file, length)?;
            Ok(length.saturating_sub(from))
        };
        read().map_err(|source| index.unreadable(source))
    }

    pub(crate) fn contains(&self, name: WalName) -> bool {
        self.names.contains(name)
    }
}

impl Place {
    /// Behind the last newline of the first `length` bytes; `None` when there is none near the end.
    fn at_end_of(file: &File, length: u64) -> io::Result<Option<Self>> {
        let start = length.saturating_sub(BEHIND);
        let mut behind = vec![0; usize::try_from(length - start).map_err(io::Error::other)?];
        file.read_exact_at(&mut behind, start)?;
        let Some(newline) = behind.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
        behind.truncate(newline + 1);
        let metadata = file.metadata()?;
        let end = start + behind.len() as u64;
        Ok(Some(Self { device: metadata.dev(), inode: metadata.ino(), end, behind }))
    }

    /// Whether the file is the one that was read and begins with what was read. Names come once each, so that one that was
    /// rewritten in place, as Barman does it, has other bytes here, or ends before.
    fn is_part_of(&self, file: &File) -> io::Result<bool> {
        let metadata = file.metadata()?;
        if (metadata.dev(), metadata.ino()) != (self.device, self.inode) || metadata.len() < self.end {
            return Ok(false);
        }
        let mut there = vec![0; self.behind.len()];
        file.read_exact_at(&mut there, self.end - self.behind.len() as u64)?;
        Ok(there == self.behind)
    }
}

/// Names of WAL, of which most follow one upon the other: runs of segments, and the few others.
#[derive(Debug, Default)]
struct Names {
    /// The last number of each run, by its timeline and first number. Numbers of 64 bits are the rest of a name: a new log file
    /// begins a new run, so that nothing need be known of the size of segments.
    runs: BTreeMap<(Timeline, u64), u64>,
    others: HashSet<WalName>,
}

impl Names {
    fn insert(&mut self, name: WalName) {
        let WalName::Segment(segment) = name else {
            self.others.insert(name);
            return;
        };
        let (timeline, number) = (segment.timeline(), number(segment));
        let mut first = number;
        let mut last = number;
        if let Some(((_, begin), end)) = self.runs.range_mut((timeline, 0)..=(timeline, number)).next_back() {
            if number <= *end {
                return;
            }
            if number - 1 == *end {
                *end = number;
                first = *begin;
            }
        }
        // The run that it leads up to.
        if let Some(next) = number.checked_add(1)
            && let Some(end) = self.runs.remove(&(timeline, next))
        {
            last = end;
        } else if first != number {
            return;
        }
        self.runs.insert((timeline, first), last);
    }

    fn contains(&self, name: WalName) -> bool {
        let WalName::Segment(segment) = name else { return self.others.contains(&name) };
        let (timeline, number) = (segment.timeline(), number(segment));
        let before = self.runs.range((timeline, 0)..=(timeline, number)).next_back();
        before.is_some_and(|(_, end)| number <= *end)
    }
}

fn number(name: SegmentName) -> u64 {
    u64::from(name.log()) << 32 | u64::from(name.segment())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::durable::{self, RealDisk};
    use crate::{ServerLayout, ServerName};

    fn segment(timeline: u32, number: u64) -> String {
        format!("{timeline:08X}{:08X}{:08X}", number / 256, number % 256)
    }

    fn line(name: &str) -> String {
        format!("{name}\t1\t1795219542.25\tNone\tNone\n")
    }

    #[test]
    fn runs_hold_what_a_set_holds_in_whatever_order_it_comes() {
        let mut state = 7_u64;
        for round in 0..200 {
            let (mut names, mut expected) = (Names::default(), HashSet::new());
            for _ in 0..round {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = state >> 33;
                let timeline = u32::try_from(1 + at % 2).unwrap();
                let text = match at % 7 {
                    0 => format!("{}.partial", segment(timeline, at % 40)),
                    1 => format!("{timeline:08X}.history"),
                    // Around the end of a log file.
                    _ => segment(timeline, 240 + at % 30),
                };
                let name: WalName = text.parse().unwrap();
                names.insert(name);
                expected.insert(name);
            }
            for number in 0..300 {
                for timeline in 1..3 {
                    let name = segment(timeline, number);
                    for name in [name.clone(), format!("{name}.partial"), format!("{timeline:08X}.history")] {
                        let name: WalName = name.parse().unwrap();
                        assert_eq!(names.contains(name), expected.contains(&name), "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_long_archive_takes_little_memory() {
        let mut names = Names::default();
        for number in (0..100_000).rev() {
            names.insert(segment(1, number).parse().unwrap());
        }
        assert_eq!((names.runs.len(), names.others.len()), (100_000_usize.div_ceil(256), 0));
    }

    #[test]
    fn only_what_is_new_is_read() {
        let home = tempfile::tempdir().unwrap();
        let layout = ServerLayout::standard(home.path(), ServerName::new("main").unwrap());
        std::fs::create_dir_all(&layout.wals).unwrap();
        File::create(layout.xlogdb()).unwrap();
        let index = XlogDb::lock(&RealDisk, &layout, &AtomicBool::new(false)).unwrap();
        let append = |text: &str| {
            let file = std::fs::OpenOptions::new().append(true).open(index.path()).unwrap();
            (&file).write_all(text.as_bytes()).unwrap();
        };
        let mut listed = ListedNames::default();
        let has = |listed: &ListedNames, number: u64| listed.contains(segment(1, number).parse().unwrap());
        assert_eq!(listed.update(&index).unwrap(), 0);
        let mut read = 0;
        for hundred in 0..20 {
            let text: String =
                (hundred * 100..hundred * 100 + 100).map(|number| line(&segment(1, number))).collect();
            append(&text);
            read += listed.update(&index).unwrap();
            assert!(has(&listed, hundred * 100 + 99) && !has(&listed, hundred * 100 + 100));
        }
        assert_eq!(read, std::fs::metadata(index.path()).unwrap().len());
        assert_eq!(listed.update(&index).unwrap(), 0);
        // A line that is not whole yet is none, and one is not forgotten that lacks only its newline.
        let text = line(&segment(1, 5_000));
        let (begin, rest) = text.split_at(30);
        append(begin);
        listed.update(&index).unwrap();
        assert!(!has(&listed, 5_000));
        append(rest.trim_end());
        listed.update(&index).unwrap();
        assert!(has(&listed, 5_000));
        append(&format!("\n{}", line(&segment(1, 5_001))));
        listed.update(&index).unwrap();
        assert!(has(&listed, 5_000) && has(&listed, 5_001));
        // Rewritten: by another file, and in place, then as long as it was.
        let whole = std::fs::read_to_string(index.path()).unwrap();
        let (removed, kept) = whole.split_at(whole.find('\n').unwrap() + 1);
        durable::replace(&RealDisk, index.path(), kept.as_bytes()).unwrap();
        assert_eq!(listed.update(&index).unwrap(), kept.len() as u64);
        assert!(!has(&listed, 0) && has(&listed, 1));
        let (_, later) = kept.split_at(removed.len());
        let text = format!("{later}{}{}", line(&segment(1, 7_000)), line(&segment(1, 7_001)));
        File::create(index.path()).unwrap().write_all(text.as_bytes()).unwrap();
        assert_eq!(listed.update(&index).unwrap(), whole.len() as u64);
        assert!(!has(&listed, 1) && has(&listed, 2) && has(&listed, 7_000));
    }
}
