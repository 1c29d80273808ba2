//! `backup_method = postgres`: over the replication protocol, as `pg_basebackup` does it.
//!
//! The files come straight from the server into their place, compared with its manifest on the way.

pub(super) mod copy;
mod destination;
mod form;

pub use form::FormError;

use std::io::Read as _;
use std::path::PathBuf;

use tapster_catalog::{BackupMode, BackupRecord, CopyStats};
use tapster_copy::pages::PageReport;
use tapster_protocol::BackupEnd;

use self::destination::Stored;
use self::form::Form;
use super::files::external::warn_of_external;
use super::method::{Finished, Job, Label, Method, Position, ServerState, broken};
use super::{BackupOptions, BackupStepError};
use crate::config::{ReuseBackup, ServerConfig};
use crate::event::Event;

/// Longest `backup_label` that is read; PostgreSQL's own is below 2 KiB.
const MAX_LABEL: u64 = 64 * 1024;

/// A base backup stream that came to its end.
pub(super) struct Copied {
    end: BackupEnd,
    /// Object id and place on the server of the tablespaces that were sent.
    tablespaces: Vec<(u32, String)>,
    stored: Stored,
}

/// The method.
pub(super) struct Postgres {
    form: Form,
    /// Whether files that the backup before has already are shared with it.
    links: bool,
}

impl Postgres {
    /// As the configuration asks for it.
    pub(super) fn of(config: &ServerConfig, options: &BackupOptions) -> Result<Self, FormError> {
        let form = Form::of(config)?;
        let reuse = options.reuse_backup.or(config.reuse_backup);
        let refuse = |problem: &str| Err(FormError { problem: problem.to_owned() });
        match reuse {
            Some(ReuseBackup::Copy) => refuse(
                "reuse_backup = copy saves nothing with backup_method = postgres, where every file comes over the \
                 connection: choose link or off",
            ),
            Some(ReuseBackup::Link) if form.word().is_some() => {
                refuse("reuse_backup = link needs files; archives (backup_compression) cannot be shared")
            }
            _ => Ok(Self { form, links: reuse == Some(ReuseBackup::Link) }),
        }
    }
}

impl Method for Postgres {
    /// The server begins by itself when the stream is asked for. Pages in one file of a relation, where they can be checked.
    type Begun = Option<u32>;
    type Copied = Copied;

    fn mode(&self) -> BackupMode {
        BackupMode::Postgres
    }

    fn program(&self) -> &'static str {
        "pg_basebackup"
    }

    fn begin(
        &self,
        record: &mut BackupRecord,
        state: &ServerState,
        _job: &Job<'_>,
    ) -> Result<(Option<u32>, Option<Position>), BackupStepError> {
        if self.form.server_compression().is_some() && record.version.is_some_and(|version| version < 150_000)
        {
            let problem = "backup_compression_location = server requires PostgreSQL 15 or greater".to_owned();
            return Err(FormError { problem }.into());
        }
        record.compression = self.form.word().map(str::to_owned);
        Ok((state.checked_segment_blocks, state.position))
    }

    fn copy(
        &self,
        checked_segment_blocks: Option<u32>,
        record: &BackupRecord,
        job: &Job<'_>,
    ) -> Result<(Copied, CopyStats), BackupStepError> {
        Ok((copy::with_retries(self, checked_segment_blocks, record, job)?, CopyStats::default()))
    }

    fn finish(
        &self,
        copied: Copied,
        record: &mut BackupRecord,
        job: &Job<'_>,
    ) -> Result<Finished, BackupStepError> {
        warn_of_external(record, job);
        job.context.tell(Event::Finalising);
        let label = match copied.stored.label {
            Some(text) => Label { text, path: label_path(record, job) },
            None => read_label(record, job)?,
        };
        Ok(Finished {
            label,
            end: Position { timeline: copied.end.timeline, lsn: copied.end.stop_lsn },
            tablespaces: Some(copied.tablespaces),
            checksum_failures: checksum_failures(copied.end, copied.stored.pages),
            stored: None,
        })
    }
}

/// What server and copy said about broken pages. The server counts them, and has their names in its log alone.
pub(super) fn checksum_failures(end: BackupEnd, pages: Option<PageReport>) -> Option<String> {
    let said = end.checksum_failures.then(|| end.server_error.map(|error| error.message).unwrap_or_default());
    match (said, broken(pages)) {
        (Some(said), Some(seen)) if !said.is_empty() => Some(format!("{said}: {seen}")),
        (said, seen) => seen.or(said),
    }
}

fn label_path(record: &BackupRecord, job: &Job<'_>) -> PathBuf {
    job.server.layout().data_dir(&record.id).join("backup_label")
}

fn read_label(record: &BackupRecord, job: &Job<'_>) -> Result<Label, BackupStepError> {
    let path = label_path(record, job);
    let io = |source| BackupStepError::Io { path: path.clone(), source };
    let mut text = Vec::new();
    std::fs::File::open(&path).map_err(io)?.take(MAX_LABEL).read_to_end(&mut text).map_err(io)?;
    Ok(Label { text, path })
}
