//! The index as it was at one moment, read without its lock: whoever reads over a slow network must not hold up the archiver.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::{XlogDb, XlogDbError, XlogEntry, XlogLine, XlogLines};

/// How much of the end is looked through first for the last entry.
const TAIL: u64 = 64 * 1024;

/// The index up to where it ended when its lock was held. Lines that are appended later are not in it; should it be rewritten
/// in place meanwhile, as Barman does, reading it ends with an error.
#[derive(Debug)]
pub struct XlogSnapshot {
    path: PathBuf,
    file: File,
    end: u64,
    last: Option<(XlogEntry, u64)>,
}

impl XlogDb<'_> {
    /// What the index holds now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn snapshot(&self) -> Result<XlogSnapshot, XlogDbError> {
        let read = || -> io::Result<XlogSnapshot> {
            let file = File::open(&self.path)?;
            let end = file.metadata()?.len();
            let last = last_entry(&file, end)?;
            Ok(XlogSnapshot { path: self.path.clone(), file, end, last })
        };
        read().map_err(|source| self.unreadable(source))
    }
}

impl XlogSnapshot {
    /// The last entry, and the byte at which its line begins.
    pub fn last(&self) -> Option<(&XlogEntry, u64)> {
        self.last.as_ref().map(|(entry, at)| (entry, *at))
    }

    /// Whether a line begins at this byte whose first column is `name`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn begins_at(&self, position: u64, name: &str) -> Result<bool, XlogDbError> {
        let read = || -> io::Result<bool> {
            // The newline before it, the name, and what ends the name.
            let before = u64::from(position > 0);
            let wanted = before + name.len() as u64 + 1;
            let Some(from) = position.checked_sub(before) else { return Ok(false) };
            if from.checked_add(wanted).is_none_or(|needed| needed > self.end) {
                return Ok(false);
            }
            let mut bytes = vec![0; usize::try_from(wanted).map_err(io::Error::other)?];
            self.file.read_exact_at(&mut bytes, from)?;
            let line = if before == 1 { bytes.strip_prefix(b"\n") } else { Some(bytes.as_slice()) };
            let rest = line.and_then(|line| line.strip_prefix(name.as_bytes()));
            Ok(!name.is_empty() && rest.is_some_and(|rest| rest.iter().all(u8::is_ascii_whitespace)))
        };
        read().map_err(|source| self.unreadable(source))
    }

    /// The entries from the line that begins at `position` on.
    ///
    /// # Errors
    /// When the file cannot be read. The last item is an error when the index is not what it was.
    pub fn entries(
        &self,
        position: u64,
    ) -> Result<impl Iterator<Item = Result<XlogEntry, XlogDbError>>, XlogDbError> {
        let open = || -> io::Result<File> {
            let mut file = self.file.try_clone()?;
            file.seek(SeekFrom::Start(position))?;
            Ok(file)
        };
        let file = open().map_err(|source| self.unreadable(source))?;
        let input = BufReader::with_capacity(64 * 1024, file.take(self.end.saturating_sub(position)));
        let mut lines = XlogLines::new(input);
        let mut seen = None;
        let mut over = false;
        Ok(std::iter::from_fn(move || {
            while !over {
                match lines.next() {
                    Some(Ok(XlogLine::Entry(entry))) => {
                        seen = Some((entry.clone(), position.saturating_add(lines.line_start())));
                        return Some(Ok(entry));
                    }
                    Some(Ok(XlogLine::Unreadable(_) | XlogLine::Torn(_))) => {}
                    Some(Err(source)) => {
                        over = true;
                        return Some(Err(self.unreadable(source)));
                    }
                    None => {
                        over = true;
                        if seen != self.last {
                            let source = io::Error::other("it was rewritten while it was read");
                            return Some(Err(self.unreadable(source)));
                        }
                    }
                }
            }
            None
        }))
    }

    fn unreadable(&self, source: io::Error) -> XlogDbError {
        XlogDbError::Read { path: self.path.clone(), source }
    }
}

/// Looks through more and more of the end until there is an entry in it.
fn last_entry(file: &File, end: u64) -> io::Result<Option<(XlogEntry, u64)>> {
    let mut length = TAIL;
    loop {
        let start = end.saturating_sub(length);
        let mut reader = file.try_clone()?;
        reader.seek(SeekFrom::Start(start))?;
        let mut lines = XlogLines::new(BufReader::with_capacity(64 * 1024, reader.take(end - start)));
        // The first line may be the rest of one.
        if start > 0 {
            lines.next().transpose()?;
        }
        let mut last = None;
        while let Some(line) = lines.next().transpose()? {
            if let XlogLine::Entry(entry) = line {
                last = Some((entry, start + lines.line_start()));
            }
        }
        if last.is_some() || start == 0 {
            return Ok(last);
        }
        length = length.saturating_mul(8);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::durable::RealDisk;
    use crate::{ServerLayout, ServerName};

    const A: &str = "000000010000000000000005\t1\t1.5\tNone\tNone\n";
    const B: &str = "000000010000000000000005.00000028.backup\t1\t1.5\tNone\tNone\n";
    const C: &str = "000000010000000000000006\t1\t1.5\tgzip\tNone\n";

    fn with(text: &str, look: impl FnOnce(&XlogDb<'_>, XlogSnapshot)) {
        let home = tempfile::tempdir().unwrap();
        let layout = ServerLayout::standard(home.path(), ServerName::new("main").unwrap());
        std::fs::create_dir_all(&layout.wals).unwrap();
        File::create(layout.xlogdb()).unwrap().write_all(text.as_bytes()).unwrap();
        let index = XlogDb::lock(&RealDisk, &layout, &AtomicBool::new(false)).unwrap();
        let snapshot = index.snapshot().unwrap();
        look(&index, snapshot);
    }

    #[test]
    fn the_last_entry_and_its_position() {
        for (text, position) in [
            (format!("{A}{B}{C}"), Some(A.len() + B.len())),
            (format!("{A}rubbish\n{C}rubbish\n0000"), Some(A.len() + 8)),
            (format!("{A}{}\n", "x".repeat(200_000)), Some(0)),
            ("\n\n".to_owned(), None),
            (String::new(), None),
        ] {
            with(&text, |_, snapshot| {
                let found = snapshot.last().map(|(_, at)| usize::try_from(at).unwrap());
                assert_eq!(found, position, "{:.80}", text);
                assert!(snapshot.entries(0).unwrap().all(|entry| entry.is_ok()));
            });
        }
    }

    #[test]
    fn a_line_is_found_by_position_and_whole_name() {
        with(&format!("{A}{B}{C}"), |_, snapshot| {
            let at = |position: usize, name: &str| snapshot.begins_at(position as u64, name).unwrap();
            assert!(at(0, "000000010000000000000005"));
            assert!(!at(A.len(), "000000010000000000000005"), "the label's name goes on");
            assert!(at(A.len() + B.len(), "000000010000000000000006"));
            assert!(!at(A.len() + B.len() - 1, "000000010000000000000006"));
            assert!(!at(1 << 40, "000000010000000000000006") && !at(0, ""));
            assert!(!snapshot.begins_at(u64::MAX, "0").unwrap());
            assert_eq!(snapshot.entries(A.len() as u64).unwrap().count(), 2);
        });
    }

    #[test]
    fn a_rewrite_in_place_is_noticed() {
        with(&format!("{A}{B}{C}"), |index, snapshot| {
            let file = std::fs::OpenOptions::new().append(true).open(index.path()).unwrap();
            (&file).write_all(C.as_bytes()).unwrap();
            assert!(snapshot.entries(0).unwrap().all(|entry| entry.is_ok()), "what is appended is not seen");
            file.set_len(A.len() as u64).unwrap();
            assert!(snapshot.entries(0).unwrap().last().unwrap().is_err());
        });
    }
}
