//! Files that an earlier backup has already, shared with it instead of stored again.
//!
//! Nothing is taken on trust, neither a time stamp nor a checksum: while a file comes in it is compared byte by byte with the
//! earlier one of the same name and size, and becomes a hard link only if they are the same to the end. So a file that was
//! damaged on the disk meanwhile is stored anew. Instead of the file's bytes being written, the earlier ones are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, linkat, openat};

use super::output::{Output, Tree, Writing};
use crate::sync::{SyncError, SyncMethod, at};

/// The directories of an earlier backup of the same cluster, on the same file system.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Earlier {
    /// Its data directory.
    pub data: PathBuf,
    /// Its tablespaces, by object identifier.
    pub tablespaces: BTreeMap<u32, PathBuf>,
}

impl Earlier {
    /// A backup without tablespaces.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), tablespaces: BTreeMap::new() }
    }
}

/// Made anew for each backup.
const NEVER: [&str; 2] = ["backup_label", "tablespace_map"];
const PIECE: usize = 256 * 1024;

/// One directory tree of the earlier backup, opened.
#[derive(Debug)]
pub(super) struct EarlierTree(Tree);

impl EarlierTree {
    /// `None` when it is not there.
    pub(super) fn open(path: &Path) -> Option<Self> {
        Tree::open(path, SyncMethod::None).ok().map(Self)
    }

    /// The earlier file, if it can be the same: a regular file of this size and mode.
    pub(super) fn candidate(&mut self, relative: &Path, size: u64, mode: u32) -> Option<Comparing> {
        if NEVER.iter().any(|name| relative == Path::new(name)) {
            return None;
        }
        let (holder, name) = self.0.holder(relative).ok()?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&holder, name, flags, Mode::empty()).ok()?);
        let found = file.metadata().ok()?;
        let same = found.is_file() && found.len() == size && found.mode() & 0o7777 == mode;
        same.then(|| Comparing {
            file,
            holder,
            name: name.into(),
            relative: relative.to_path_buf(),
            mode,
            size,
            compared: 0,
            buffer: Vec::new(),
        })
    }
}

/// A file that has been the same as the earlier one so far.
#[derive(Debug)]
pub(super) struct Comparing {
    file: File,
    holder: OwnedFd,
    name: PathBuf,
    relative: PathBuf,
    mode: u32,
    size: u64,
    compared: u64,
    buffer: Vec<u8>,
}

impl Comparing {
    /// Whether `bytes` are the next ones. An earlier file that cannot be read is another one.
    pub(super) fn goes_on(&mut self, bytes: &[u8]) -> bool {
        self.buffer.resize(bytes.len(), 0);
        let same = self.file.read_exact(&mut self.buffer).is_ok() && self.buffer == bytes;
        if same {
            self.compared = self.compared.saturating_add(bytes.len() as u64);
        }
        same
    }

    /// A file of its own with what was the same so far.
    pub(super) fn into_own(self, output: &mut Output, early: bool) -> Result<Writing, SyncError> {
        let mut writing = output.file(&self.relative, self.mode, self.size, (0, 0))?;
        let mut buffer = vec![0; PIECE];
        let mut done = 0;
        while done < self.compared {
            let wanted = usize::try_from(self.compared.saturating_sub(done)).unwrap_or(PIECE).min(PIECE);
            let piece = buffer.get_mut(..wanted).unwrap_or_default();
            self.file.read_exact_at(piece, done).map_err(at("read", &self.name))?;
            writing.write(piece, early)?;
            done = done.saturating_add(wanted as u64);
        }
        Ok(writing)
    }

    /// The same file under both names; back when the file system does not want that (too many links, another file system,
    /// the earlier backup deleted meanwhile).
    pub(super) fn link(self, output: &mut Output) -> Result<(), Self> {
        let Output::Tree(output) = output else { return Err(self) };
        let linked = output.holder(&self.relative).is_ok_and(|(holder, name)| {
            linkat(&self.holder, &self.name, &holder, name, AtFlags::empty()).is_ok()
                && is_same(&self.file, &holder, name)
        });
        if linked { Ok(()) } else { Err(self) }
    }
}

/// That the name linked is still that of the file compared. Where it is not, what was linked is taken away again.
fn is_same(file: &File, holder: &OwnedFd, name: &std::ffi::OsStr) -> bool {
    let same = (|| -> io::Result<bool> {
        let found = rustix::fs::statat(holder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let compared = file.metadata()?;
        Ok(found.st_ino == compared.ino() && found.st_dev == compared.dev())
    })()
    .unwrap_or(false);
    if !same {
        let _ = rustix::fs::unlinkat(holder, name, AtFlags::empty());
    }
    same
}
