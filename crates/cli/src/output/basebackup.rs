//! `basebackup`: what happens, in the words of `pg_basebackup`.

use tapster_manager::tools::basebackup::{BaseBackupEvent, DirectoryKind, Progress};

/// One line of `--progress`.
pub(crate) fn progress_line(progress: Progress<'_>) -> String {
    let done = progress.done / 1024;
    let plural = if progress.tablespaces == 1 { "" } else { "s" };
    let places = format!("{}/{} tablespace{plural}", progress.tablespaces_done, progress.tablespaces);
    match progress.total {
        // The estimate is the server's, and the database grows.
        Some(total) => {
            let total = (total / 1024).max(done);
            let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
            let width = total.to_string().len();
            format!("{done:>width$}/{total} kB ({percent}%), {places}")
        }
        None => format!("{done} kB, {places}"),
    }
}

/// What only `--verbose` tells.
pub(crate) fn verbose_text(event: &BaseBackupEvent<'_>) -> Option<String> {
    Some(match event {
        BaseBackupEvent::WaitingForCheckpoint => {
            "initiating base backup, waiting for checkpoint to complete".to_owned()
        }
        BaseBackupEvent::CheckpointDone => "checkpoint completed".to_owned(),
        BaseBackupEvent::Start { lsn, timeline } => {
            format!("write-ahead log start point: {lsn} on timeline {timeline}")
        }
        BaseBackupEvent::WalReceiverStarting => "starting background WAL receiver".to_owned(),
        BaseBackupEvent::SlotCreated { slot, temporary: true } => {
            format!("created temporary replication slot \"{slot}\"")
        }
        BaseBackupEvent::SlotCreated { slot, temporary: false } => {
            format!("created replication slot \"{slot}\"")
        }
        BaseBackupEvent::End { lsn } => format!("write-ahead log end point: {lsn}"),
        BaseBackupEvent::WaitingForWal => "waiting for background process to finish streaming ...".to_owned(),
        BaseBackupEvent::Syncing => "syncing data to disk ...".to_owned(),
        BaseBackupEvent::RenamingManifest => "renaming backup_manifest.tmp to backup_manifest".to_owned(),
        BaseBackupEvent::Completed => "base backup completed".to_owned(),
        _ => return None,
    })
}

/// What becomes of directories after a failure.
pub(crate) fn clean_up_text(event: &BaseBackupEvent<'_>) -> Option<String> {
    let name = |kind: &DirectoryKind| if *kind == DirectoryKind::Data { "data" } else { "WAL" };
    Some(match event {
        BaseBackupEvent::Removing { kind, path, only_contents } => {
            let what = if *only_contents { "contents of " } else { "" };
            format!("removing {what}{} directory \"{}\"", name(kind), path.display())
        }
        BaseBackupEvent::RemoveFailed { kind, error } => {
            format!("error: failed to remove {} directory: {error}", name(kind))
        }
        BaseBackupEvent::NotRemoved { kind, path } => {
            format!("{} directory \"{}\" not removed at user's request", name(kind), path.display())
        }
        BaseBackupEvent::TablespacesNotUndone => {
            "changes to tablespace directories will not be undone".to_owned()
        }
        _ => return None,
    })
}
