//! The problems of a verification, collected by several threads.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use walfile::ControlFile;

use super::{ManifestSummary, Problem, VerifyOptions, VerifyReport};

/// What `pg_verifybackup` never looks at: written by recovery or by the backup program after the backup.
const IGNORED: [&str; 5] =
    ["backup_manifest", "pg_wal", "postgresql.auto.conf", "recovery.signal", "standby.signal"];

pub(super) struct Findings<'a> {
    options: &'a VerifyOptions,
    stop: &'a AtomicBool,
    /// The first problem was found, and no other one is wanted.
    enough: AtomicBool,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    files: u64,
    bytes: u64,
    count: u64,
    problems: Vec<Problem>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(options: &'a VerifyOptions, stop: &'a AtomicBool) -> Self {
        Self { options, stop, enough: AtomicBool::new(false), found: Mutex::default() }
    }

    pub(super) fn threads(&self) -> usize {
        self.options.threads.max(1)
    }

    /// Whether the caller wants no more.
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether there is nothing more to be done, for whatever reason.
    pub(super) fn ended(&self) -> bool {
        self.stopped() || self.enough.load(Ordering::Relaxed)
    }

    pub(super) fn ignored(&self, path: &Path) -> bool {
        IGNORED.iter().any(|name| path.starts_with(name))
            || self.options.ignore.iter().any(|name| path.starts_with(name))
    }

    pub(super) fn problem(&self, problem: Problem) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if self.options.stop_at_first && found.count > 0 {
            return;
        }
        found.count = found.count.saturating_add(1);
        if found.problems.len() < self.options.max_problems {
            found.problems.push(problem);
        }
        self.enough.store(self.options.stop_at_first, Ordering::Relaxed);
    }

    /// One more file, and the bytes read of it or what is wrong with it.
    pub(super) fn file(&self, outcome: Result<u64, Problem>) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.files = found.files.saturating_add(1);
        match outcome {
            Ok(bytes) => found.bytes = found.bytes.saturating_add(bytes),
            Err(problem) => {
                drop(found);
                self.problem(problem);
            }
        }
    }

    /// Compares the cluster of the manifest with that of the control file, as PostgreSQL does from version 2 on.
    pub(super) fn control_file(&self, bytes: &[u8], manifest: &ManifestSummary) {
        let Some(expected) = manifest.system_identifier else { return };
        match ControlFile::parse(bytes) {
            Ok(control) if control.system_id.get() == expected => {}
            Ok(control) => {
                let control = control.system_id.get();
                self.problem(Problem::SystemIdentifier { manifest: expected, control });
            }
            Err(error) => self.problem(Problem::ControlFile { reason: error.to_string() }),
        }
    }

    pub(super) fn report(self, manifest: ManifestSummary) -> VerifyReport {
        let mut found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.problems.sort_by(|a, b| a.path().cmp(b.path()));
        VerifyReport {
            files: found.files,
            bytes: found.bytes,
            problem_count: found.count,
            problems: found.problems,
            manifest,
        }
    }
}
