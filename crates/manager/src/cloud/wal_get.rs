//! WAL out of a bucket, to whoever wants to read it.

use std::io::{self, Read as _, Write};

use walfile::{SegmentName, SegmentSize, WalName};

use super::wal_content::{START, check_length, check_start};
use super::wal_objects::StoredWal;
use super::{CloudServer, CloudWalError};
use crate::put_wal::NotThisWal;

impl CloudServer {
    /// Writes an archived WAL file to `output`, decompressed. With `partial`, the beginning of a segment will do when that is all there
    /// is, with zeros behind it. Returns whether it is that.
    ///
    /// # Errors
    /// [`CloudWalError::Missing`] when the store has no such file. After the others `output` may have got a part of it.
    pub fn get_wal(
        &self,
        name: WalName,
        partial: bool,
        output: &mut dyn Write,
    ) -> Result<bool, CloudWalError> {
        let mut forms = self.forms(name)?;
        let is_whole = forms.iter().any(|form| form.name == name);
        forms.retain(|form| form.name == name || (partial && !is_whole));
        let mut problem = None;
        for form in forms {
            let (start, size) = match self.start_of(&form) {
                Ok(start) => start,
                // What is broken in one form may be whole in another. One that was deleted meanwhile is not there.
                Err(error @ CloudWalError::Content { .. }) => {
                    problem.get_or_insert(error);
                    continue;
                }
                Err(CloudWalError::Store(error)) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            self.send(&form, start, size, output)?;
            return Ok(form.name != name);
        }
        Err(problem.unwrap_or_else(|| CloudWalError::Missing {
            name: name.to_string(),
            server: self.layout().server().to_owned(),
        }))
    }

    /// The names of up to `count` successive segments from `first` on that are archived, which end with the first that is not. Of other
    /// files, only its own.
    ///
    /// # Errors
    /// When that is not known.
    pub fn peek_wal(&self, first: WalName, count: usize) -> Result<Vec<WalName>, CloudWalError> {
        let forms = self.forms(first)?;
        let own = forms.iter().find(|form| form.name == first);
        let (Some(own), 1..) = (own, count) else { return Ok(Vec::new()) };
        let WalName::Segment(segment) = first else { return Ok(vec![first]) };
        let size = self.start_of(own)?.1.unwrap_or_default();
        let (mut names, mut next) = (Vec::new(), Some(segment));
        // One listing for each directory.
        while let Some(from) = next.filter(|_| names.len() < count) {
            let before = names.len();
            self.wals_from(from, |stored| {
                let WalName::Segment(found) = stored.name else { return true };
                if Some(found) == next {
                    names.push(stored.name);
                    next = successor(found, size);
                }
                // The same segment may be there in several forms.
                names.len() < count && next.is_some_and(|next| found < next)
            })?;
            let is_next_directory = next.is_some_and(|next| next.hash_dir() != from.hash_dir());
            if names.len() == before || !is_next_directory {
                break;
            }
        }
        Ok(names)
    }

    /// What begins an archived file, if it is that of its name, and how large the segment must be.
    fn start_of(&self, form: &StoredWal) -> Result<(Opened, Option<SegmentSize>), CloudWalError> {
        let mut content = self.open_wal(form)?;
        let mut start = Vec::with_capacity(START);
        (&mut content).take(START as u64).read_to_end(&mut start).map_err(|e| self.unreadable(form, e))?;
        let size = check_start(form.name, &start).map_err(|problem| self.wrong(form, &problem))?;
        Ok((Opened { start, rest: content }, size.map(|(size, _)| size)))
    }

    fn send(
        &self,
        form: &StoredWal,
        opened: Opened,
        size: Option<SegmentSize>,
        output: &mut dyn Write,
    ) -> Result<(), CloudWalError> {
        let Opened { start, mut rest } = opened;
        output.write_all(&start).map_err(CloudWalError::Output)?;
        let (mut length, mut buffer) = (start.len() as u64, vec![0; 128 * 1024]);
        loop {
            match rest.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => {
                    length += got as u64;
                    let bytes = buffer.get(..got).unwrap_or_default();
                    output.write_all(bytes).map_err(CloudWalError::Output)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unreadable(form, error)),
            }
        }
        check_length(form.name, size, length).map_err(|problem| self.wrong(form, &problem))?;
        output.flush().map_err(CloudWalError::Output)
    }

    fn wrong(&self, form: &StoredWal, problem: &NotThisWal) -> CloudWalError {
        CloudWalError::Content {
            name: form.name.to_string(),
            store: self.store().url().to_string(),
            key: form.key.clone(),
            problem: problem.to_string(),
        }
    }
}

/// An archived file whose first bytes were read.
struct Opened {
    start: Vec<u8>,
    rest: Box<dyn io::Read + Send>,
}

/// A name that cannot exist with this size has no successor.
fn successor(name: SegmentName, size: SegmentSize) -> Option<SegmentName> {
    name.next(size).ok().flatten()
}
