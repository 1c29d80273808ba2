//! Writing over a file: what is the same is left alone.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

/// Bytes compared, and written where they differ, at a time.
const PIECE: usize = 32 * 1024;

/// Where a file that is written front to back has come to, and what was there before.
#[derive(Debug, Default)]
pub(crate) struct Over {
    /// Bytes the file had.
    length: u64,
    position: u64,
    /// Bytes that were written.
    pub(crate) written: u64,
    buffer: Vec<u8>,
}

impl Over {
    /// Bytes the file had.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Takes the next bytes of the content.
    pub(crate) fn write(&mut self, file: &File, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // Pieces begin where blocks do, so that one block that differs is one piece.
            let odd = usize::try_from(self.position % PIECE as u64).unwrap_or(0);
            let (piece, rest) = bytes.split_at_checked(PIECE - odd).unwrap_or((bytes, &[]));
            bytes = rest;
            let end = self.position.saturating_add(piece.len() as u64);
            if end > self.length || !self.is_there(file, piece)? {
                file.write_all_at(piece, self.position)?;
                self.written = self.written.saturating_add(piece.len() as u64);
            }
            self.position = end;
        }
        Ok(())
    }

    fn is_there(&mut self, file: &File, piece: &[u8]) -> io::Result<bool> {
        self.buffer.resize(PIECE, 0);
        let found = self.buffer.get_mut(..piece.len()).unwrap_or_default();
        match file.read_exact_at(found, self.position) {
            // Somebody else cut it off, or the disk has lost it: it is written anew.
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof) => Ok(false),
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Ok(false),
            result => result.map(|()| found == piece),
        }
    }

    /// Cuts off what the new content does not have.
    pub(crate) fn finish(&self, file: &File) -> io::Result<()> {
        if self.length > self.position { file.set_len(self.position) } else { Ok(()) }
    }
}

/// Opens a regular file to be written over; `None` when there is none of this name, or none that may be: one with a second
/// name, which would be changed with it, or one that cannot be opened. Such a one is removed.
pub(crate) fn open_at(holder: impl AsFd, name: &OsStr) -> io::Result<Option<(File, Over)>> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(&holder, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::ACCESS | Errno::PERM) => {}
        result => {
            let file = File::from(result?);
            let found = file.metadata()?;
            if !found.is_file() {
                return Err(io::Error::other("it is no regular file"));
            }
            if found.nlink() == 1 {
                return Ok(Some((file, Over { length: found.len(), ..Over::default() })));
            }
        }
    }
    unlinkat(&holder, name, AtFlags::empty())?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::fs::CWD;

    use super::*;

    fn over(path: &Path, pieces: &[&[u8]]) -> u64 {
        let (file, mut over) = open_at(CWD, path.as_os_str()).unwrap().unwrap();
        pieces.iter().for_each(|piece| over.write(&file, piece).unwrap());
        over.finish(&file).unwrap();
        over.written
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own files")]
    fn only_what_differs_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("16384");
        let mut content = vec![7; 100_000];
        std::fs::write(&path, &content).unwrap();
        assert_eq!(over(&path, &[&content[..10], &content[10..]]), 0);
        content[50_000] = 8;
        assert_eq!(over(&path, &[&content[..49_999], &content[49_999..]]), 65_536 - 49_999);
        assert_eq!(std::fs::read(&path).unwrap(), content);
        // Longer, then shorter.
        content.extend_from_slice(&[9; 5]);
        assert_eq!(over(&path, &[&content]), 100_005 - 98_304);
        assert_eq!(over(&path, &[&content[..50_000]]), 0);
        assert_eq!(std::fs::read(&path).unwrap(), &content[..50_000]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test's own files")]
    fn a_second_name_keeps_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        assert!(open_at(CWD, path.as_os_str()).unwrap().is_none());
        std::fs::write(&path, b"old").unwrap();
        std::fs::hard_link(&path, &other).unwrap();
        assert!(open_at(CWD, path.as_os_str()).unwrap().is_none());
        assert!(!path.exists());
        assert_eq!(std::fs::read(&other).unwrap(), b"old");
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(open_at(CWD, path.as_os_str()).is_err());
    }
}
