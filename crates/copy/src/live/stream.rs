//! The files of a running cluster into an archive instead of a directory.
//!
//! A member has the size that its file had when it was opened. What is missing of a file that has become shorter is zeros, as with
//! PostgreSQL's own base backup; the WAL puts that right, and what is added to a file later is not in the archive.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use thiserror::Error;
use walfile::ControlFile;

use super::control::read_control_file;
use super::file::{SMALL_STEP, SecondLook, open, read_full, second_look};
use super::limit::Limiter;
use super::rules::CONTROL;
use super::walk::{Entry, skip, walk};
use super::{LiveReport, LiveTree, Span};
use crate::observer::CopyObserver;
use crate::pages::{FilePages, PAGE_SIZE, PageReport, PageRules};
use crate::sync::at;
use crate::tar::{MemberKind, NewMember, Writer};
use crate::tree::TreeError;

/// How a tree is put into an archive.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StreamOptions {
    /// Verify the pages of relations with these rules.
    pub pages: Option<PageRules>,
    /// How many bytes may pass per second.
    pub limiter: Option<Arc<Limiter>>,
}

/// A tree that is not in the archive as a whole.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The files could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// What takes the archive failed.
    #[error("cannot write the archive: {0}")]
    Output(#[source] io::Error),
}

/// Puts a tree into an archive, without `global/pg_control` and without a member for its root. [`LiveTree::target`] and
/// [`LiveTree::reference`] have no meaning here.
///
/// # Errors
/// The first failure that is not just a file vanishing. The archive is worth nothing then.
pub fn stream<W: Write>(
    tree: &LiveTree,
    archive: &mut Writer<W>,
    options: &StreamOptions,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<LiveReport, StreamError> {
    let begin = Instant::now();
    let mut streamer = Streamer {
        tree,
        archive,
        options,
        observer,
        stop,
        report: LiveReport::default(),
        buffer: Vec::new(),
    };
    let mut pages = PageReport::default();
    let (mut walked, mut failure) = (LiveReport::default(), None);
    walk(tree, &mut walked, &mut |entry| {
        if stop.load(Ordering::Relaxed) {
            return Err(TreeError::Stopped);
        }
        let done = match &entry {
            Entry::Directory(path, _) if path.as_os_str().is_empty() => Ok(()),
            Entry::Directory(path, mode) => streamer.directory(path, *mode),
            Entry::File(path) => streamer.file(path, &mut pages),
        };
        match done {
            Ok(()) => Ok(true),
            Err(StreamError::Tree(error)) => Err(error),
            Err(error) => {
                failure = Some(error);
                Ok(false)
            }
        }
    })?;
    if let Some(error) = failure {
        return Err(error);
    }
    let mut report = streamer.report;
    report.vanished += walked.vanished;
    report.absent = walked.absent;
    report.skipped.append(&mut walked.skipped);
    report.pages = options.pages.map(|_| pages);
    let mut span = Span::default();
    span.note(begin, Instant::now());
    report.trees = vec![span.of(&tree.label)];
    Ok(report)
}

/// Puts the control file of the data directory `source` into an archive, not without its checksum being right.
///
/// # Errors
/// When it cannot be read, stays broken, or the archive fails.
pub fn stream_control_file<W: Write>(
    source: &Path,
    archive: &mut Writer<W>,
) -> Result<ControlFile, StreamError> {
    let (bytes, mode, control) = read_control_file(source)?;
    let mut member = NewMember::file(Path::new(CONTROL), bytes.len() as u64);
    member.mode = mode;
    archive.start(&member).and_then(|()| archive.write_all(&bytes)).map_err(StreamError::Output)?;
    Ok(control)
}

struct Streamer<'a, W> {
    tree: &'a LiveTree,
    archive: &'a mut Writer<W>,
    options: &'a StreamOptions,
    observer: &'a dyn CopyObserver,
    stop: &'a AtomicBool,
    report: LiveReport,
    buffer: Vec<u8>,
}

impl<W: Write> Streamer<'_, W> {
    fn directory(&mut self, path: &Path, mode: u32) -> Result<(), StreamError> {
        let mut member = NewMember::file(path, 0);
        (member.kind, member.mode) = (MemberKind::Directory, mode);
        self.archive.start(&member).map_err(StreamError::Output)
    }

    fn file(&mut self, path: &Path, report: &mut PageReport) -> Result<(), StreamError> {
        let from = self.tree.source.join(path);
        let Some(mut source) = open(&from)? else {
            self.report.vanished += 1;
            return Ok(());
        };
        let metadata = source.metadata().map_err(at("read", &from)).map_err(TreeError::from)?;
        if !metadata.is_file() {
            skip(&mut self.report, from);
            return Ok(());
        }
        let mut member = NewMember::file(path, metadata.len());
        member.mode = metadata.mode() & 0o7777;
        member.owner = (metadata.uid(), metadata.gid());
        member.mtime.0 = u64::try_from(metadata.mtime()).unwrap_or(0);
        self.archive.start(&member).map_err(StreamError::Output)?;
        self.contents(&mut source, &from, path, metadata.len(), report)?;
        self.observer.file(path);
        self.report.files += 1;
        self.report.bytes += metadata.len();
        Ok(())
    }

    fn contents(
        &mut self,
        source: &mut File,
        from: &Path,
        path: &Path,
        size: u64,
        report: &mut PageReport,
    ) -> Result<(), StreamError> {
        let segment = self.tree.rules.segment(path);
        let mut pages =
            segment.zip(self.options.pages).map(|(segment, rules)| FilePages::new(rules, segment));
        let (mut done, mut is_short) = (0, false);
        let mut suspects = Vec::new();
        self.buffer.resize(SMALL_STEP, 0);
        while done < size {
            if self.stop.load(Ordering::Relaxed) {
                return Err(TreeError::Stopped.into());
            }
            let step = usize::try_from(size - done).unwrap_or(SMALL_STEP).min(SMALL_STEP);
            let piece = self.buffer.get_mut(..step).unwrap_or_default();
            let count = if is_short {
                0
            } else {
                read_full(source, piece).map_err(at("read", from)).map_err(TreeError::from)?
            };
            is_short |= count < step;
            piece.get_mut(count..).unwrap_or_default().fill(0);
            if let Some(pages) = &mut pages {
                let read = piece.get(..count).unwrap_or_default();
                pages.feed(done, read, |suspect| suspects.push(suspect));
                for mut suspect in suspects.drain(..) {
                    match second_look(source, from, pages, &mut suspect)? {
                        SecondLook::Cut => {}
                        SecondLook::Right(page) => {
                            report.good += 1;
                            let at =
                                usize::try_from(suspect.offset.saturating_sub(done)).unwrap_or(usize::MAX);
                            if let Some(torn) = piece.get_mut(at..at.saturating_add(PAGE_SIZE)) {
                                torn.copy_from_slice(page.as_ref());
                            }
                        }
                        SecondLook::Bad => report.add(path, &suspect),
                    }
                }
            }
            self.archive.write_all(piece).map_err(StreamError::Output)?;
            let count = piece.len() as u64;
            done += count;
            self.observer.bytes(count);
            if let Some(limiter) = &self.options.limiter {
                limiter.take(count, self.stop);
            }
        }
        if let Some(pages) = pages {
            report.count(&pages.finish());
        }
        Ok(())
    }
}
