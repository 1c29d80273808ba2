//! Creating files and directories below a root without ever following a link out of it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, fchmod, mkdirat, openat, symlinkat};
use rustix::io::Errno;

use super::sink::{Outlet, Stream};
use crate::delta::{Over, open_at};
use crate::sync::{Background, SyncError, SyncMethod, WriteBehind, at};
use crate::tar::MemberKind;

/// The directory tree of one archive.
#[derive(Debug)]
pub(super) enum Output {
    /// Of this host.
    Tree(Tree),
    /// Somewhere else.
    Stream(Stream),
}

impl Output {
    /// The directory `path` of this host.
    pub(super) fn open(path: &Path, method: SyncMethod) -> Result<Self, SyncError> {
        Tree::open(path, method).map(Self::Tree)
    }

    /// The same, for writing over what is there.
    pub(super) fn over(mut self, over: bool) -> Self {
        if let Self::Tree(tree) = &mut self {
            tree.over = over;
        }
        self
    }

    /// The directory `path` behind an outlet.
    pub(super) fn stream(path: &Path, outlet: &Arc<dyn Outlet>) -> Self {
        Self::Stream(Stream::new(path, outlet))
    }

    /// The same directory, for another thread.
    pub(super) fn again(&self, method: SyncMethod) -> Result<Self, SyncError> {
        match self {
            Self::Tree(tree) => Self::open(&tree.path, method),
            Self::Stream(stream) => Ok(Self::Stream(stream.clone())),
        }
    }

    pub(super) fn absolute(&self, relative: &Path) -> PathBuf {
        match self {
            Self::Tree(tree) => tree.absolute(relative),
            Self::Stream(stream) => stream.path().join(relative),
        }
    }

    pub(super) fn directories(&self) -> &[PathBuf] {
        match self {
            Self::Tree(tree) => tree.directories.as_deref().unwrap_or_default(),
            Self::Stream(_) => &[],
        }
    }

    /// Creates a directory.
    pub(super) fn directory(&mut self, relative: &Path, mode: u32) -> Result<(), SyncError> {
        match self {
            Self::Tree(tree) => tree.directory(relative, mode),
            Self::Stream(stream) => stream.start(relative, MemberKind::Directory, 0, mode, (0, 0)),
        }
    }

    /// Makes a symbolic link.
    pub(super) fn link(&mut self, relative: &Path, target: &Path) -> Result<(), SyncError> {
        match self {
            Self::Tree(tree) => tree.link(relative, target),
            Self::Stream(stream) => {
                stream.start(relative, MemberKind::Symlink(target.into()), 0, 0o777, (0, 0))
            }
        }
    }

    /// Creates a file; its size and time are of interest only elsewhere.
    pub(super) fn file(
        &mut self,
        relative: &Path,
        mode: u32,
        size: u64,
        mtime: (u64, u32),
    ) -> Result<Writing, SyncError> {
        match self {
            Self::Tree(tree) => tree.file(relative, mode),
            Self::Stream(stream) => {
                stream.start(relative, MemberKind::File, size, mode, mtime)?;
                Ok(Writing(Place::Stream(stream.clone())))
            }
        }
    }

    /// Everything was taken.
    pub(super) fn finish(&self) -> Result<(), SyncError> {
        match self {
            Self::Tree(_) => Ok(()),
            Self::Stream(stream) => stream.finish(),
        }
    }
}

/// A directory of this host.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
    root: OwnedFd,
    /// The directory last written to, relative to the root: members come directory by directory.
    near: Option<(PathBuf, OwnedFd)>,
    /// Every directory written to, for the final pass, when it goes file by file.
    directories: Option<Vec<PathBuf>>,
    /// Write over what is there.
    over: bool,
    /// Directories made for what is in them, of which nothing had been said: Barman's archives have some behind their files.
    unsaid: BTreeSet<PathBuf>,
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Tree {
    /// Opens the directory `path`, which may itself be reached through links: it was chosen by the user.
    pub(super) fn open(path: &Path, method: SyncMethod) -> Result<Self, SyncError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(at("open", path))?;
        let directories = (method == SyncMethod::Fsync).then(|| vec![path.to_path_buf()]);
        Ok(Self {
            path: path.to_path_buf(),
            root,
            near: None,
            directories,
            over: false,
            unsaid: BTreeSet::new(),
        })
    }

    pub(super) fn absolute(&self, relative: &Path) -> PathBuf {
        self.path.join(relative)
    }

    /// The directory that holds `relative`, with the last component.
    pub(super) fn holder<'p>(&mut self, relative: &'p Path) -> Result<(OwnedFd, &'p OsStr), SyncError> {
        let refused = || at("create", relative)(io::Error::from(io::ErrorKind::InvalidInput));
        let name = relative.file_name().ok_or_else(refused)?;
        let parent = relative.parent().unwrap_or(Path::new(""));
        let known = self.near.as_ref().is_some_and(|(path, _)| path == parent);
        if !known {
            let mut directory = self.root.try_clone().map_err(at("open", &self.path))?;
            let mut reached = PathBuf::new();
            for component in parent.components() {
                reached.push(component);
                directory = match openat(&directory, component.as_os_str(), DIRECTORY, Mode::empty()) {
                    Err(Errno::NOENT) => self.make_unsaid(&directory, &reached)?,
                    opened => opened.map_err(at("open", &self.absolute(parent)))?,
                };
            }
            self.near = Some((parent.to_path_buf(), directory));
        }
        let near = self.near.as_ref().ok_or_else(refused)?;
        Ok((near.1.try_clone().map_err(at("open", &self.absolute(parent)))?, name))
    }

    /// Makes the directory `relative` in `holder`, for nobody else until its own member says more.
    fn make_unsaid(&mut self, holder: &OwnedFd, relative: &Path) -> Result<OwnedFd, SyncError> {
        let path = self.absolute(relative);
        let name = relative.file_name().unwrap_or_default();
        mkdirat(holder, name, Mode::from_raw_mode(0o700)).map_err(at("create", &path))?;
        let made = openat(holder, name, DIRECTORY, Mode::empty()).map_err(at("open", &path))?;
        if let Some(directories) = &mut self.directories {
            directories.push(path);
        }
        self.unsaid.insert(relative.to_path_buf());
        Ok(made)
    }

    /// Creates a directory. One that is there already (a mount point, an archive unpacked twice over the
    /// same names) is taken as it is.
    pub(super) fn directory(&mut self, relative: &Path, mode: u32) -> Result<(), SyncError> {
        let path = self.absolute(relative);
        let (holder, name) = self.holder(relative)?;
        match mkdirat(&holder, name, Mode::from_raw_mode(mode)) {
            Err(Errno::EXIST) => {
                let found = openat(&holder, name, DIRECTORY, Mode::empty()).map_err(at("open", &path))?;
                if self.unsaid.remove(relative) || self.over {
                    fchmod(&found, Mode::from_raw_mode(mode)).map_err(at("chmod", &path))?;
                }
            }
            result => {
                result.map_err(at("create", &path))?;
                if mode & 0o077 != 0 {
                    let made = openat(&holder, name, DIRECTORY, Mode::empty()).map_err(at("open", &path))?;
                    fchmod(&made, Mode::from_raw_mode(mode)).map_err(at("chmod", &path))?;
                }
            }
        }
        if let Some(directories) = &mut self.directories {
            directories.push(path);
        }
        Ok(())
    }

    /// Makes a symbolic link; one that is there already with the same target is taken.
    pub(super) fn link(&mut self, relative: &Path, target: &Path) -> Result<(), SyncError> {
        let path = self.absolute(relative);
        let (holder, name) = self.holder(relative)?;
        match symlinkat(target, &holder, name) {
            Err(Errno::EXIST) if std::fs::read_link(&path).is_ok_and(|found| found == target) => Ok(()),
            result => result.map_err(at("link", &path)),
        }
    }

    /// Creates a file that is not there yet, or opens one to be written over.
    pub(super) fn file(&mut self, relative: &Path, mode: u32) -> Result<Writing, SyncError> {
        let path = self.absolute(relative);
        let (holder, name) = self.holder(relative)?;
        if self.over
            && let Some((file, over)) = open_at(&holder, name).map_err(at("open", &path))?
        {
            fchmod(&file, Mode::from_raw_mode(mode)).map_err(at("chmod", &path))?;
            return Ok(Writing(Place::File(FileWriting {
                file,
                path,
                behind: WriteBehind::default(),
                over: Some(over),
            })));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&holder, name, flags, Mode::from_raw_mode(mode)).map_err(at("create", &path))?;
        if mode & 0o077 != 0 {
            fchmod(&file, Mode::from_raw_mode(mode)).map_err(at("chmod", &path))?;
        }
        Ok(Writing(Place::File(FileWriting {
            file: File::from(file),
            path,
            behind: WriteBehind::default(),
            over: None,
        })))
    }
}

/// A file being written.
#[derive(Debug)]
pub(super) struct Writing(Place);

#[derive(Debug)]
enum Place {
    File(FileWriting),
    Stream(Stream),
}

impl Writing {
    pub(super) fn write(&mut self, bytes: &[u8], early: bool) -> Result<(), SyncError> {
        match &mut self.0 {
            Place::File(file) => file.write(bytes, early),
            Place::Stream(stream) => stream.data(bytes),
        }
    }

    /// Ends the file: queued for its fsync, or its last part sent on its way and closed. Says whether it was there and right.
    pub(super) fn close(self, early: bool, queue: Option<&Background>) -> Result<bool, SyncError> {
        match self.0 {
            Place::File(file) => file.close(early, queue),
            Place::Stream(_) => Ok(false),
        }
    }

    pub(super) fn sync(&self) -> Result<(), SyncError> {
        match &self.0 {
            Place::File(file) => file.file.sync_all().map_err(at("fsync", &file.path)),
            Place::Stream(_) => Ok(()),
        }
    }
}

#[derive(Debug)]
struct FileWriting {
    file: File,
    path: PathBuf,
    behind: WriteBehind,
    /// What was there.
    over: Option<Over>,
}

impl FileWriting {
    fn write(&mut self, bytes: &[u8], early: bool) -> Result<(), SyncError> {
        match &mut self.over {
            None => self.file.write_all(bytes),
            Some(over) => over.write(&self.file, bytes),
        }
        .map_err(at("write", &self.path))?;
        let count = bytes.len() as u64;
        if early {
            self.behind.wrote(&self.file, count);
        } else {
            self.behind.count(count);
        }
        Ok(())
    }

    fn close(mut self, early: bool, queue: Option<&Background>) -> Result<bool, SyncError> {
        let mut is_kept = false;
        if let Some(over) = &self.over {
            is_kept = over.written == 0 && over.length() == self.behind.written();
            over.finish(&self.file).map_err(at("truncate", &self.path))?;
        }
        if early {
            self.behind.finish(&self.file);
        }
        queue.map_or(Ok(()), |queue| queue.submit(self.file, self.path)).map(|()| is_kept)
    }
}
