//! The files of a running cluster into a backup: what `backup_method = local-rsync` does.
//!
//! The server must be in backup mode meanwhile. Files vanish, grow and shrink while they are copied; the WAL puts right what
//! that does to them. What a backup must not have, or does not need, stays out ([`Rules`]); a file that the previous backup has
//! unchanged is shared with it ([`Reuse`]); pages are verified as they pass ([`PageRules`]), and read again when they look
//! torn. When everything is on disk, and only then, [`control_file`] takes `global/pg_control`.
//!
//! The tree is walked while it is copied: memory grows with the number of directories, not with that of files.

mod control;
mod directories;
mod file;
mod limit;
mod reuse;
pub(crate) mod rules;
mod run;
mod stream;
mod walk;

pub use control::control_file;
pub use limit::Limiter;
pub use reuse::{Reference, Reuse};
pub use rules::Rules;
pub use run::copy;
pub use stream::{StreamError, StreamOptions, stream, stream_control_file};

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::pages::{PageReport, PageRules};

/// How a running cluster is copied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveOptions {
    /// Threads that copy files.
    pub threads: usize,
    /// What becomes of files that the reference has already.
    pub reuse: Reuse,
    /// Verify the pages of relations with these rules.
    pub pages: Option<PageRules>,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self { threads: 2, reuse: Reuse::Off, pages: None }
    }
}

/// One tree to copy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LiveTree {
    /// What it is called in [`LiveReport::trees`].
    pub label: String,
    /// The directory, or a link to it.
    pub source: PathBuf,
    /// Where it goes: a directory that is empty or not there yet.
    pub target: PathBuf,
    /// The same tree in the previous backup.
    pub reference: Option<Reference>,
    /// What is taken.
    pub rules: Rules,
    /// Bytes per second at most.
    pub limit: Option<u64>,
}

impl LiveTree {
    /// A tree with nothing to reuse and no limit.
    pub fn new(
        label: impl Into<String>,
        source: impl Into<PathBuf>,
        target: impl Into<PathBuf>,
        rules: Rules,
    ) -> Self {
        Self {
            label: label.into(),
            source: source.into(),
            target: target.into(),
            reference: None,
            rules,
            limit: None,
        }
    }
}

/// What was copied.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LiveReport {
    /// Regular files in the copy.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files of these that are shared with the reference.
    pub reused: u64,
    /// Their bytes.
    pub reused_bytes: u64,
    /// Files and directories that were gone when it was their turn.
    pub vanished: u64,
    /// The labels of tablespaces of which nothing was seen, not even the directory of this version, which the server makes
    /// with the tablespace: dropped meanwhile, or not visible here. Only the server knows which.
    pub absent: Vec<String>,
    /// What was left out though no rule says so (sockets, links that lead nowhere): the first hundred.
    pub skipped: Vec<PathBuf>,
    /// The pages seen, where there was something to verify.
    pub pages: Option<PageReport>,
    /// The time each tree took, in the order of the trees.
    pub trees: Vec<TreeTimes>,
    /// The time the walk took.
    pub walk: Duration,
}

/// How long the files of one tree took.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TreeTimes {
    /// Its label.
    pub label: String,
    /// From the first file's begin to the last one's end.
    pub elapsed: Duration,
    /// The sum over the threads.
    pub busy: Duration,
}

/// When the first file of a tree began and the last one ended, and the time spent on them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    span: Option<(Instant, Instant)>,
    busy: Duration,
}

impl Span {
    pub(crate) fn note(&mut self, begin: Instant, end: Instant) {
        let first = self.span.map_or(begin, |(first, _)| first.min(begin));
        self.span = Some((first, end));
        self.busy += end.saturating_duration_since(begin);
    }

    pub(crate) fn of(self, label: &str) -> TreeTimes {
        let elapsed = self.span.map_or(Duration::ZERO, |(begin, end)| end.saturating_duration_since(begin));
        TreeTimes { label: label.to_owned(), elapsed, busy: self.busy }
    }
}
