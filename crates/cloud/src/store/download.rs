//! An object as a file.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::reader::CHANGED;
use super::{ObjectInfo, Store};
use crate::CloudError;

/// Bytes of one request.
const PIECE: u64 = 16 << 20;

/// How an object is downloaded.
#[derive(Clone, Copy, Default)]
#[non_exhaustive]
pub struct DownloadOptions<'a> {
    /// Ends it when it becomes true.
    pub stop: Option<&'a AtomicBool>,
    /// Told the number of bytes of every piece that was written, by several threads at once.
    pub progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

impl std::fmt::Debug for DownloadOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DownloadOptions").field("stop", &self.stop).finish_non_exhaustive()
    }
}

/// What the threads of one download share.
struct Work<'a> {
    store: &'a Store,
    key: &'a str,
    info: &'a ObjectInfo,
    file: &'a File,
    path: &'a Path,
    options: DownloadOptions<'a>,
    /// Where the next piece begins.
    next: AtomicU64,
    failed: AtomicBool,
    error: Mutex<Option<CloudError>>,
}

impl Store {
    /// Writes a whole object into an open file from its beginning, with several requests at once, and cuts or stretches the file to the
    /// object's size. `path` is what errors call the file. Memory does not depend on the size: every piece is written as it comes.
    /// The file is not synced.
    ///
    /// # Errors
    /// When not every byte of one and the same object came; the file then holds some of it. [`CloudError::Stopped`] by the stop flag.
    pub fn download(
        &self,
        key: &str,
        file: &File,
        path: &Path,
        options: DownloadOptions<'_>,
    ) -> Result<ObjectInfo, CloudError> {
        let info = self.head(key)?;
        file.set_len(info.size).map_err(|e| local("set the size of", path, e))?;
        let work = Work {
            store: self,
            key,
            info: &info,
            file,
            path,
            options,
            next: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            error: Mutex::new(None),
        };
        let pieces = usize::try_from(info.size.div_ceil(PIECE)).unwrap_or(usize::MAX);
        std::thread::scope(|scope| {
            for _ in 1..self.options().connections().min(pieces) {
                scope.spawn(|| work.run());
            }
            work.run();
        });
        match work.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(info),
            Some(error) => Err(error),
        }
    }
}

impl Work<'_> {
    fn run(&self) {
        if let Err(error) = self.pieces() {
            self.failed.store(true, Ordering::Relaxed);
            self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    fn pieces(&self) -> Result<(), CloudError> {
        loop {
            let start = self.next.fetch_add(PIECE, Ordering::Relaxed);
            if start >= self.info.size || self.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.piece(start, (start + PIECE).min(self.info.size))?;
        }
    }

    fn piece(&self, start: u64, end: u64) -> Result<(), CloudError> {
        let mut reader = match self.store.get_of(self.key, Some(start..end), self.info.etag.clone()) {
            // Of another content, or gone since the beginning.
            Err(CloudError::Exists { .. } | CloudError::NotFound { .. }) => return Err(self.changed()),
            reader => reader?,
        };
        if reader.info().size != self.info.size || reader.size() != end - start {
            return Err(self.changed());
        }
        let mut at = start;
        while let Some(bytes) = reader.next_chunk()? {
            if self.options.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return Err(CloudError::Stopped);
            }
            if self.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.file.write_all_at(&bytes, at).map_err(|e| local("write", self.path, e))?;
            at += bytes.len() as u64;
            if let Some(progress) = self.options.progress {
                progress(bytes.len() as u64);
            }
        }
        if at == end { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> CloudError {
        let store = self.store.url().to_string();
        CloudError::Invalid { store, key: self.key.to_owned(), reason: CHANGED.to_owned() }
    }
}

fn local(action: &'static str, path: &Path, source: std::io::Error) -> CloudError {
    CloudError::Local { action, path: path.to_owned(), source }
}
