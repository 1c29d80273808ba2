//! One file of a running cluster.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{Mode, fchmod, ioctl_ficlone};

use super::limit::Limiter;
use super::reuse::Reuse;
use super::{LiveOptions, LiveTree};
use crate::observer::CopyObserver;
use crate::pages::{FilePages, PAGE_SIZE, PageReport, PageState, Suspect};
use crate::sync::{SyncError, at};
use crate::tree::TreeError;
use crate::tree::file::{data, set_mtime};

/// Bytes between two looks at the stop flag.
const STEP: usize = 8 * 1024 * 1024;
/// The same where the bytes are looked at, or are counted.
pub(super) const SMALL_STEP: usize = 256 * 1024;
/// How often a page that looks torn is read again: the server needs microseconds to write one.
const READ_AGAIN: u32 = 5;
const READ_AGAIN_PAUSE: Duration = Duration::from_millis(5);

/// What became of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Copied(u64),
    Reused(u64),
    Vanished,
    Skipped,
}

/// What a thread needs to copy files, and what it found.
pub(super) struct Copier<'a> {
    pub(super) options: &'a LiveOptions,
    pub(super) observer: &'a dyn CopyObserver,
    pub(super) stop: &'a AtomicBool,
    pub(super) pages: PageReport,
    pub(super) buffer: Vec<u8>,
}

impl Copier<'_> {
    pub(super) fn one(
        &mut self,
        tree: &LiveTree,
        limiter: Option<&Limiter>,
        path: &Path,
    ) -> Result<Outcome, TreeError> {
        let (from, to) = (tree.source.join(path), tree.target.join(path));
        let Some(mut source) = open(&from)? else { return Ok(Outcome::Vanished) };
        let metadata = source.metadata().map_err(at("read", &from))?;
        if !metadata.is_file() {
            return Ok(Outcome::Skipped);
        }
        let size = metadata.len();
        let mut verified = tree.rules.segment(path).filter(|_| self.options.pages.is_some());
        let reference = tree.reference.as_ref().filter(|_| self.options.reuse != Reuse::Off);
        if let Some(reference) = reference
            && let Some(there) = reference.same(path, &source, &metadata).map_err(at("read", &from))?
        {
            // Whatever keeps it from being shared (too many links, another file system): it can be copied.
            if self.options.reuse == Reuse::Link && std::fs::hard_link(&there, &to).is_ok() {
                self.observer.bytes(size);
                return Ok(Outcome::Reused(size));
            }
            source = File::open(&there).map_err(at("open", &there))?;
            verified = None;
        }
        source.rewind().map_err(at("read", &from))?;
        let mut target = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&to)
            .map_err(at("create", &to))?;
        let files = Files { source, from: &from, to: &to };
        let copied = self.contents(files, &mut target, size, (path, verified), limiter)?;
        fchmod(&target, Mode::from_raw_mode(metadata.mode() & 0o7777)).map_err(at("chmod", &to))?;
        // That of before the first byte was read: what is written from then on makes another one.
        set_mtime(&target, (metadata.mtime(), metadata.mtime_nsec())).map_err(at("set the times of", &to))?;
        Ok(Outcome::Copied(copied))
    }

    /// As many bytes as there were when the copy began; fewer when the file became shorter. The WAL has the rest.
    fn contents(
        &mut self,
        mut files: Files<'_>,
        target: &mut File,
        size: u64,
        (path, segment): (&Path, Option<u32>),
        limiter: Option<&Limiter>,
    ) -> Result<u64, TreeError> {
        if size == 0 {
            return Ok(0);
        }
        let cloned = limiter.is_none() && ioctl_ficlone(&*target, &files.source).is_ok();
        let Some((segment, rules)) = segment.zip(self.options.pages) else {
            if cloned {
                self.observer.bytes(size);
                return Ok(size);
            }
            let step = if limiter.is_some() { SMALL_STEP } else { STEP };
            return data(
                &mut files.source,
                target,
                (files.from, files.to),
                size,
                step,
                self.stop,
                &mut |n| {
                    self.observer.bytes(n);
                    if let Some(limiter) = limiter {
                        limiter.take(n, self.stop);
                    }
                },
            );
        };
        let mut pages = FilePages::new(rules, segment);
        let mut suspects = Vec::new();
        let mut done = 0;
        self.buffer.resize(SMALL_STEP, 0);
        while done < size {
            if self.stop.load(Ordering::Relaxed) {
                return Err(TreeError::Stopped);
            }
            let step = usize::try_from(size - done).unwrap_or(SMALL_STEP).min(SMALL_STEP);
            let piece = self.buffer.get_mut(..step).unwrap_or_default();
            let count =
                if cloned { read_full(&mut *target, piece) } else { read_full(&mut files.source, piece) };
            let piece = piece.get(..count.map_err(at("read", files.from))?).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            if !cloned {
                target.write_all(piece).map_err(at("write", files.to))?;
            }
            pages.feed(done, piece, |suspect| suspects.push(suspect));
            let count = piece.len() as u64;
            done += count;
            for suspect in suspects.drain(..) {
                self.read_again(&files, target, &pages, path, suspect)?;
            }
            self.observer.bytes(count);
            if let Some(limiter) = limiter {
                limiter.take(count, self.stop);
            }
        }
        let counts = pages.finish();
        self.pages.count(&counts);
        Ok(done)
    }

    /// A page that looks bad may have been half written when it was read. One that is right the next time takes its place.
    fn read_again(
        &mut self,
        files: &Files<'_>,
        target: &File,
        pages: &FilePages,
        path: &Path,
        mut suspect: Suspect,
    ) -> Result<(), TreeError> {
        match second_look(&files.source, files.from, pages, &mut suspect)? {
            SecondLook::Cut => {}
            SecondLook::Right(page) => {
                self.pages.good += 1;
                target.write_all_at(page.as_ref(), suspect.offset).map_err(at("write", files.to))?;
            }
            SecondLook::Bad => self.pages.add(path, &suspect),
        }
        Ok(())
    }
}

/// What became of a page that looked bad.
pub(super) enum SecondLook {
    /// The file ends before it by now: the WAL knows.
    Cut,
    /// It had been half written, and this is all of it.
    Right(Box<[u8; PAGE_SIZE]>),
    /// It stays so.
    Bad,
}

/// A page that looks bad may have been half written when it was read.
pub(super) fn second_look(
    source: &File,
    from: &Path,
    pages: &FilePages,
    suspect: &mut Suspect,
) -> Result<SecondLook, TreeError> {
    let mut page = Box::new([0; PAGE_SIZE]);
    for _ in 0..READ_AGAIN {
        std::thread::sleep(READ_AGAIN_PAUSE);
        match source.read_exact_at(page.as_mut(), suspect.offset) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(SecondLook::Cut),
            result => result.map_err(at("read", from))?,
        }
        suspect.state = pages.check_again(suspect.offset, &page);
        if !matches!(suspect.state, PageState::Bad { .. } | PageState::Garbage) {
            return Ok(SecondLook::Right(page));
        }
    }
    Ok(SecondLook::Bad)
}

/// Opens a file of a running cluster; `None` when it is gone.
pub(super) fn open(path: &Path) -> Result<Option<File>, TreeError> {
    // Whoever puts a pipe there does not stop the backup.
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    match File::options().read(true).custom_flags(nonblock).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => Ok(Some(result.map_err(at("open", path))?)),
    }
}

struct Files<'a> {
    source: File,
    from: &'a Path,
    to: &'a Path,
}

/// Reads until the buffer is full or the file ends.
pub(super) fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
        match file.read(free) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Brings to disk what [`Copier::one`] wrote, by its name: the kernel reports a write that failed to whoever syncs next.
pub(super) fn sync_all(paths: &[std::path::PathBuf]) -> Result<(), SyncError> {
    paths.iter().try_for_each(|path| crate::sync::file(path))
}
