//! `backup_method = postgres`: over the replication protocol, as `pg_basebackup` does it.
//!
//! The files come straight from the server into their place, compared with its manifest on the way.

mod copy;

use std::io::Read as _;

use tapster_catalog::{BackupMode, BackupRecord, CopyStats};
use tapster_protocol::BackupEnd;

use super::BackupStepError;
use super::method::{Finished, Job, Label, Method, Position, ServerState};
use crate::event::Event;

/// Longest `backup_label` that is read; PostgreSQL's own is below 2 KiB.
const MAX_LABEL: u64 = 64 * 1024;

/// A base backup stream that came to its end.
pub(super) struct Copied {
    end: BackupEnd,
    /// Object id and place on the server of the tablespaces that were sent.
    tablespaces: Vec<(u32, String)>,
}

/// The method.
pub(super) struct Postgres;

impl Method for Postgres {
    /// The server begins by itself when the stream is asked for.
    type Begun = ();
    type Copied = Copied;

    fn mode(&self) -> BackupMode {
        BackupMode::Postgres
    }

    fn program(&self) -> &'static str {
        "pg_basebackup"
    }

    fn begin(
        &self,
        _record: &mut BackupRecord,
        state: &ServerState,
        _job: &Job<'_>,
    ) -> Result<((), Option<Position>), BackupStepError> {
        Ok(((), state.position))
    }

    fn copy(
        &self,
        (): (),
        record: &BackupRecord,
        job: &Job<'_>,
    ) -> Result<(Copied, CopyStats), BackupStepError> {
        Ok((copy::with_retries(record, job)?, CopyStats::default()))
    }

    fn finish(
        &self,
        copied: Copied,
        record: &mut BackupRecord,
        job: &Job<'_>,
    ) -> Result<Finished, BackupStepError> {
        job.context.tell(Event::Finalising);
        let label = read_label(record, job)?;
        let checksum_failures = copied
            .end
            .checksum_failures
            .then(|| copied.end.server_error.map(|error| error.message).unwrap_or_default());
        Ok(Finished {
            label,
            end: Position { timeline: copied.end.timeline, lsn: copied.end.stop_lsn },
            tablespaces: Some(copied.tablespaces),
            checksum_failures,
        })
    }
}

fn read_label(record: &BackupRecord, job: &Job<'_>) -> Result<Label, BackupStepError> {
    let path = job.server.layout().data_dir(&record.id).join("backup_label");
    let io = |source| BackupStepError::Io { path: path.clone(), source };
    let mut text = Vec::new();
    std::fs::File::open(&path).map_err(io)?.take(MAX_LABEL).read_to_end(&mut text).map_err(io)?;
    Ok(Label { text, path })
}
