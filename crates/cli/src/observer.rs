//! What verbs report while they run, in Barman's words.

use tapster_manager::text::{human_elapsed, pretty_bytes};
use tapster_manager::{CronJob, Event, Observer, Progress, Task, WalSource};

use crate::format::timestamp::{ctime, python_naive_datetime};
use crate::output::Output;

/// Prints the events of one server's verb.
#[derive(Debug)]
pub(crate) struct ConsoleObserver<'a> {
    output: &'a Output,
    server: &'a str,
    empty_queues: bool,
}

impl<'a> ConsoleObserver<'a> {
    /// An observer for `server`.
    pub(crate) const fn new(output: &'a Output, server: &'a str) -> Self {
        Self { output, server, empty_queues: false }
    }

    /// The same observer that also tells of queues in which nothing waits.
    pub(crate) const fn with_empty_queues(mut self) -> Self {
        self.empty_queues = true;
        self
    }

    fn receiver(&self, text: &str) {
        self.output.info(format!("{}: pg_receivewal: {text}", self.server));
    }

    /// Each name below its heading.
    fn names(&self, names: impl IntoIterator<Item = impl std::fmt::Display>) {
        for name in names {
            self.output.line(format!("\t{name}"));
        }
    }

    fn copying(&self, event: &Event) -> bool {
        let out = self.output;
        match event {
            Event::BackupStarting { server, method, path } => out.info(format!(
                "Starting backup using {method} method for server {server} in {}",
                path.display()
            )),
            Event::BackupPosition { lsn, segment, offset } => {
                out.info(format!("Backup start at LSN: {lsn} ({segment}, {offset:08X})"));
            }
            Event::CopyStarting { backup, program, jobs, to } => {
                let jobs = jobs.map(|jobs| format!(" ({jobs} jobs)")).unwrap_or_default();
                let to = to.as_ref().map(|to| format!(" to the cloud storage {to}")).unwrap_or_default();
                out.info(format!("Starting backup copy via {program} for {backup}{jobs}{to}"));
                out.start_progress("Copying", None);
            }
            Event::CopyRetry { attempt, error, retry_in } => {
                out.warning(format!(
                    "Failure executing a backup using pg_basebackup (attempt {attempt}): {error}"
                ));
                out.warning(format!(
                    "The files copied so far will be removed and the backup process will restart in {} seconds",
                    retry_in.as_secs()
                ));
            }
            Event::RsyncRetry { attempt, error, retry_in } => out.warning(format!(
                "Failure executing rsync (attempt {attempt}), it is run again in {} seconds: {error}",
                retry_in.as_secs()
            )),
            Event::CopyDone { elapsed } => {
                out.stop_progress();
                out.info(format!("Copy done (time: {})", human_elapsed(*elapsed)));
            }
            Event::Encrypting { method } => {
                out.info(format!("Encrypting backup using {method} encryption"));
            }
            Event::Finalising => out.info("Finalising the backup."),
            Event::ManifestGenerated { backup, server } => out.info(format!(
                "Backup manifest for backup '{backup}' successfully generated for server {server}"
            )),
            Event::FinalisingOnServer => out.info("Asking PostgreSQL server to finalize the backup."),
            Event::FirstBackup { server, removed } => {
                out.info(format!("This is the first backup for server {server}"));
                if !removed.is_empty() {
                    out.info("WAL segments preceding the current backup have been found:");
                }
                for name in removed {
                    out.info(format!("\t{name} from server {server} has been removed"));
                }
            }
            Event::BackupSize { bytes, deduplicated: None } => {
                out.info(format!("Backup size: {}", pretty_bytes(*bytes)));
            }
            Event::BackupSize { bytes, deduplicated: Some(own) } => out.info(format!(
                "Backup size: {}. Actual size on disk: {} (-{:.2}% deduplication ratio).",
                pretty_bytes(*bytes),
                pretty_bytes(*own),
                shared_percent(*bytes, *own)
            )),
            Event::BackupEnd { lsn, segment, offset } => {
                out.info(format!("Backup end at LSN: {lsn} ({segment}, {offset:08X})"));
            }
            Event::BackupCompleted { started, elapsed } => out.info(format!(
                "Backup completed (start time: {}, elapsed time: {})",
                python_naive_datetime(*started),
                human_elapsed(*elapsed)
            )),
            Event::BackupWaitingForWals => out.warning(
                "IMPORTANT: this backup is classified as WAITING_FOR_WALS, meaning that Barman has not received yet all \
                 the required WAL files for the backup consistency.\nThis is a common behaviour in concurrent backup \
                 scenarios, and Barman automatically set the backup as DONE once all the required WAL files have been \
                 archived.\nHint: execute the backup command with '--wait'",
            ),
            _ => return false,
        }
        true
    }

    fn archiving(&self, event: &Event) -> bool {
        let out = self.output;
        match event {
            Event::WaitingForWal { wal, server, max } => {
                let max = max.map_or_else(String::new, |max| format!(" (max: {} seconds)", max.as_secs()));
                out.info(format!("Waiting for the WAL file {wal} from server '{server}'{max}"));
            }
            Event::WaitInterrupted { wal } => {
                out.info(format!("Got CTRL-C. Continuing without waiting for '{wal}' to be archived"));
            }
            Event::WalNotReceived { wal, waited } => {
                out.error(format!(
                    "The WAL file {wal} has not been received in {} seconds",
                    waited.as_secs()
                ));
            }
            Event::Archiving { empty: true, .. } if !self.empty_queues => {}
            Event::Archiving { source, server, batch, empty } => {
                let source = match source {
                    WalSource::Streaming => "streaming",
                    WalSource::FileArchival => "file archival",
                };
                let batch = batch.map_or_else(String::new, |batch| format!(" (batch size: {batch})"));
                out.line(format!("Processing xlog segments from {source} for {server}{batch}"));
                if *empty {
                    out.line("\tno file found");
                }
            }
            Event::Archived { wal } => out.line(format!("\t{wal}")),
            Event::Duplicate { wal, server } => {
                out.line(format!("\t{wal}"));
                out.line(format!(
                    "\tError: {wal} is already present in server {server}. File moved to errors directory."
                ));
            }
            Event::LeftInQueue { wal, reason } => {
                out.warning(format!("{wal} is left in the queue: {reason}"));
            }
            Event::Rejected { name, server, reason } => {
                out.line(format!("\t{name}"));
                out.warning(format!(
                    "{name} of server {server} is no usable WAL file: {reason}. File moved to errors directory."
                ));
            }
            Event::Unknown { server, names } => {
                out.line(format!(
                    "Some unknown objects have been found while processing xlog segments for {server}. Objects moved to \
                     errors directory:"
                ));
                self.names(names);
            }
            _ => return false,
        }
        true
    }

    fn receiving(&self, event: &Event) -> bool {
        match event {
            Event::ReceiveStarting { server } => {
                self.output.info(format!("Starting receive-wal for server {server}"));
            }
            Event::StreamingStarted { start, timeline } => {
                self.receiver(&format!("starting log streaming at {start} (timeline {timeline})"));
            }
            Event::SegmentFinished { end, timeline } => {
                self.receiver(&format!("finished segment at {end} (timeline {timeline})"));
            }
            Event::TimelineSwitched { at, to } => {
                self.receiver(&format!("switched to timeline {to} at {at}"));
            }
            Event::Disconnected { error, retry_in } => {
                self.output.warning(format!("{}: pg_receivewal: error: {error}", self.server));
                self.receiver(&format!(
                    "disconnected; waiting {} seconds to try again",
                    retry_in.as_secs_f64().ceil()
                ));
            }
            Event::ReceiveStopped { flushed } => {
                self.receiver(&format!(
                    "received interrupt signal, exiting (everything up to {flushed} is on disk)"
                ));
            }
            _ => return false,
        }
        true
    }

    fn restoring(&self, event: &Event) -> bool {
        let out = self.output;
        match event {
            Event::RestoreStarting { server, backup, destination, remote } => {
                let place = if remote.is_some() { "remote" } else { "local" };
                out.info(format!("Starting {place} restore for server {server} using backup {backup}"));
                out.info(format!("Destination directory: {}", destination.display()));
                if let Some(command) = remote {
                    out.info(format!("Remote command: {command}"));
                }
            }
            Event::NothingStaged => {
                out.info("Nothing is staged: the backup goes straight to its destination");
            }
            Event::RecoveryTarget { description } => out.info(format!("Doing PITR. {description}")),
            Event::CombineStarting { backup, destination } => out.info(format!(
                "Start combining backup via pg_combinebackup for backup {backup} on {}",
                destination.display()
            )),
            Event::CombineDone { backup } => {
                out.info(format!("End combining backup via pg_combinebackup for backup {backup}"));
            }
            Event::CopyingBaseBackup => {
                out.info("Copying the base backup.");
                out.start_progress("Copying", None);
            }
            Event::RestoringTablespace { oid, name, location } => {
                out.info(format!("\t{oid}, {name}, {}", location.display()));
            }
            Event::CopyingWals => {
                out.stop_progress();
                out.info("Copying required WAL segments.");
            }
            Event::KeptInPlace { files, bytes } => {
                out.stop_progress();
                out.info(format!("Kept {files} files ({}) that were right already.", pretty_bytes(*bytes)));
            }
            Event::TestServerStarting { version, directory } => {
                out.stop_progress();
                out.info(format!("Starting {version} in {}", directory.display()));
            }
            Event::TestServerStarted { reached } => {
                let reached = reached.map(|lsn| format!(" after replaying up to {lsn}")).unwrap_or_default();
                out.info(format!("The server is open{reached}"));
            }
            Event::TestServerCheck { what } => out.info(format!("Checking it with {what}")),
            Event::CopyingPartialWals => out.info("Copying .partial WAL files."),
            Event::GeneratingArchiveStatus => out.info("Generating archive status files"),
            Event::GeneratingRecoveryConf => {
                out.stop_progress();
                out.info("Generating recovery configuration");
            }
            Event::CustomRestoreCommand { command } => {
                out.info(format!("Custom restore command override: restore_command = {command}"));
            }
            Event::IdentifyingDangerousSettings => {
                out.stop_progress();
                out.info("Identify dangerous settings in destination directory.");
            }
            _ => return false,
        }
        true
    }

    fn cron(&self, event: &Event) -> bool {
        let out = self.output;
        match event {
            Event::CronStarting { server, job } => out.info(match job {
                CronJob::ArchiveWal => format!("Starting WAL archiving for server {server}"),
                CronJob::ReceiveWal => format!("Starting streaming archiver for server {server}"),
                CronJob::SyncBackup(id) => format!("Starting copy of backup {id} for server {server}"),
                CronJob::SyncWals => format!("Started copy of WAL files for server {server}"),
                CronJob::CheckBackup(id) => {
                    format!("Starting check-backup for backup {id} of server {server}")
                }
            }),
            Event::CronBusy { server, task } => out.info(format!(
                "Another {} is already running on server {server}. Skipping to the next server",
                match task {
                    Task::Cron => "cron process",
                    _ => "archive-wal process",
                }
            )),
            Event::Orphan { backup, files, record } => out.warning(format!(
                "Backup '{backup}' is an orphan backup, this is possibly the result of an incomplete delete operation. Please \
                 manually delete the following files or directories if present:\n* {} \n* {} \n",
                files.display(),
                record.display()
            )),
            Event::OldWalRemoved { server, wals } => {
                out.info(format!("Enforcing WAL retention: removing {} files of server {server}", wals.len()));
                self.names(wals);
            }
            Event::NoBackupsToSync { server } => {
                out.line(format!("No backup synchronisation required for server {server}"));
            }
            Event::NoWalToSync { server } => {
                out.line(format!("No WAL synchronisation required for server {server}"));
            }
            Event::BackupSyncBusy { server, backup } => out.line(format!(
                "A synchronisation process for backup {backup} on server {server} is already in progress"
            )),
            Event::WalSyncBusy { server } => {
                out.line(format!("WAL synchronisation already running for server {server}"));
            }
            Event::EnforcingRetention { server, backup } => {
                out.info(format!("Enforcing retention policy: removing backup {backup} for server {server}"));
            }
            _ => return false,
        }
        true
    }

    fn deleting(&self, event: &Event) -> bool {
        let out = self.output;
        match event {
            Event::Deleting { backup, server } => {
                out.info(format!("Deleting backup {backup} for server {server}"));
            }
            Event::DeletedWals { wals } => {
                out.info("Delete associated WAL segments:");
                self.names(wals);
            }
            Event::Deleted { backup, started, elapsed } => out.info(format!(
                "Deleted backup {backup} (start time: {}, elapsed time: {})",
                ctime(*started),
                human_elapsed(*elapsed)
            )),
            _ => return false,
        }
        true
    }
}

impl Observer for ConsoleObserver<'_> {
    fn event(&self, event: &Event) {
        if let Event::Warning(text) = event {
            self.output.warning(text);
            return;
        }
        let told = self.copying(event)
            || self.archiving(event)
            || self.receiving(event)
            || self.restoring(event)
            || self.deleting(event)
            || self.cron(event);
        if !told {
            tracing::info!("{event:?}");
        }
    }

    fn progress(&self, progress: Progress) {
        self.output.progress(progress.done, progress.total);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn shared_percent(whole: u64, own: u64) -> f64 {
    if whole == 0 { 0.0 } else { whole.saturating_sub(own) as f64 / whole as f64 * 100.0 }
}
