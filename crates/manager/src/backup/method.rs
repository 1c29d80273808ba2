//! The seam between the frame, which all backups share, and how the files come.

use std::path::PathBuf;

use tapster_catalog::{BackupMode, BackupRecord, CopyStats};
use tapster_copy::pages::PageReport;
use walfile::{Lsn, Timeline};

use super::{BackupOptions, BackupStepError};
use crate::{Context, Server};

/// What a method works for.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) server: &'a Server,
    pub(super) options: &'a BackupOptions,
    pub(super) context: &'a Context<'a>,
}

/// What the server was like when the backup began; more of it is in the record.
pub(crate) struct ServerState {
    pub(super) position: Option<Position>,
    pub(crate) in_recovery: bool,
    /// Pages in one file of a relation, where they carry checksums that can be checked.
    pub(crate) checked_segment_blocks: Option<u32>,
}

/// A position in the history of WAL.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    pub(crate) timeline: Timeline,
    pub(crate) lsn: Lsn,
}

/// The `backup_label` as the server made it.
pub(super) struct Label {
    pub(super) text: Vec<u8>,
    /// Where it lies, for messages.
    pub(super) path: PathBuf,
}

/// What the frame needs to complete the record.
pub(super) struct Finished {
    pub(super) label: Label,
    /// Stop position.
    pub(super) end: Position,
    /// Object id and place on the server of the tablespaces that were really copied, where the method knows better than the
    /// look at the server before it.
    pub(super) tablespaces: Option<Vec<(u32, String)>>,
    /// What was said about broken pages.
    pub(super) checksum_failures: Option<String>,
    /// Bytes of the archives in an object store; `None` for what is on this host.
    pub(super) stored: Option<u64>,
}

/// What a record says about the pages that were checked: `None` when there is nothing wrong with them.
pub(crate) fn broken(pages: Option<PageReport>) -> Option<String> {
    pages.filter(|pages| pages.bad > 0).map(|pages| pages.to_string())
}

/// One `backup_method`. The frame calls in the order of the functions here, each once, and hands what one returns to the
/// next. After a failure it calls nothing more and drops what it has, which must leave the server out of backup mode.
pub(super) trait Method {
    /// A backup that has begun: a session, say.
    type Begun;
    /// One whose files are copied.
    type Copied;

    /// What the record calls it.
    fn mode(&self) -> BackupMode;

    /// What copies, in the words of Barman's messages, such as `pg_basebackup`.
    fn program(&self) -> &'static str;

    /// Where that goes, in the words of Barman's messages, when it is an object store.
    fn destination(&self) -> Option<String> {
        None
    }

    /// How many workers copy, where that can be chosen.
    fn jobs(&self) -> Option<u32> {
        None
    }

    /// Whether the frame is to make a manifest, because the files come without one.
    fn makes_manifest(&self, _job: &Job<'_>) -> bool {
        false
    }

    /// Begins. The record describes the server already; what only the method knows is added. Returns also where the backup
    /// begins, as far as known yet.
    fn begin(
        &self,
        record: &mut BackupRecord,
        state: &ServerState,
        job: &Job<'_>,
    ) -> Result<(Self::Begun, Option<Position>), BackupStepError>;

    /// Copies everything to `base/<id>`, durably, with retries. The frame adds `copy_time` and `total_time` to the
    /// statistics unless they are there.
    fn copy(
        &self,
        begun: Self::Begun,
        record: &BackupRecord,
        job: &Job<'_>,
    ) -> Result<(Self::Copied, CopyStats), BackupStepError>;

    /// Ends the backup on the server.
    fn finish(
        &self,
        copied: Self::Copied,
        record: &mut BackupRecord,
        job: &Job<'_>,
    ) -> Result<Finished, BackupStepError>;
}
