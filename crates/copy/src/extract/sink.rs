//! Directories that are not of this host: they take members in order, and whoever opens them knows where they are.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sync::{SyncError, at};
use crate::tar::{MemberKind, NewMember};

/// Opens directories that are written to from here but lie elsewhere.
pub trait Outlet: Debug + Send + Sync {
    /// Begins the directory at this absolute path, which exists.
    ///
    /// # Errors
    /// When nothing can be written there.
    fn open(&self, directory: &Path) -> io::Result<Box<dyn TreeSink>>;
}

/// One such directory. The paths of members are relative, of plain components, and each directory comes before what is in it.
pub trait TreeSink: Debug + Send {
    /// Begins a member.
    ///
    /// # Errors
    /// When it, or what was taken before, cannot be written.
    fn start(&mut self, member: &NewMember<'_>) -> io::Result<()>;

    /// The next bytes of the member begun last.
    ///
    /// # Errors
    /// As `start`.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Everything was taken; it returns when it is written.
    ///
    /// # Errors
    /// As `start`.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A directory behind an outlet, opened when the first member comes.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    path: PathBuf,
    outlet: Arc<dyn Outlet>,
    sink: Arc<Mutex<Option<Box<dyn TreeSink>>>>,
}

impl Stream {
    pub(super) fn new(path: &Path, outlet: &Arc<dyn Outlet>) -> Self {
        Self { path: path.to_path_buf(), outlet: Arc::clone(outlet), sink: Arc::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn TreeSink>>> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start(
        &self,
        relative: &Path,
        kind: MemberKind,
        size: u64,
        mode: u32,
        mtime: (u64, u32),
    ) -> Result<(), SyncError> {
        let path = self.path.join(relative);
        let mut sink = self.lock();
        let sink = match &mut *sink {
            Some(sink) => sink,
            none => none.insert(self.outlet.open(&self.path).map_err(at("open", &self.path))?),
        };
        let mut member = NewMember::file(relative, size);
        (member.kind, member.mode, member.mtime) = (kind, mode, mtime);
        sink.start(&member).map_err(at("write", &path))
    }

    pub(super) fn data(&self, bytes: &[u8]) -> Result<(), SyncError> {
        match &mut *self.lock() {
            Some(sink) => sink.data(bytes).map_err(at("write", &self.path)),
            None => Ok(()),
        }
    }

    /// Ends it, if it was opened at all.
    pub(super) fn finish(&self) -> Result<(), SyncError> {
        self.lock().take().map_or(Ok(()), |sink| sink.finish().map_err(at("write", &self.path)))
    }
}
