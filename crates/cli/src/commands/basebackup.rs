//! `tapster basebackup`.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tapster_copy::SyncMethod;
use tapster_copy::archive::ArchiveCompression;
use tapster_manager::tools::basebackup::{
    BaseBackupEvent, BaseBackupOptions, BaseBackupToolError, DirectoryKind, Progress, Target, Wal,
    run as take,
};
use tapster_manager::tools::{LibpqText, connect_text};
use tapster_protocol::ServerCompression;

use super::pg_connection::Tool;
use crate::args::pg::basebackup::{BackupFormat, BaseBackup, WalMethod};
use crate::args::pg::compress::{Compress, Method, Spec};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// Takes the backup.
pub(crate) fn run(args: &BaseBackup, session: &Session) -> Result<(), Failure> {
    let mut tool = Tool::new(session, "basebackup", "pg_basebackup", &args.connection)?;
    if args.target.is_some() {
        return Err(tool.fail("backup targets are not supported"));
    }
    let mut options = options(args, &tool)?;
    loop {
        if args.write_recovery_conf {
            options.standby = Some(tool.primary_conninfo());
        }
        let connect = tool.options()?;
        let voice = Voice { tool: &tool, args, output: &session.output, drawn: RefCell::default() };
        let observer = |event: &BaseBackupEvent<'_>| match event {
            BaseBackupEvent::Failed(BaseBackupToolError::Connect(error)) => {
                if !tool.may_ask(error) {
                    tool.error(&connect_text(error, &connect));
                }
            }
            other => voice.say(other),
        };
        match take(&connect, &options, &observer, &session.stop) {
            Ok(_) => return Ok(()),
            // Nothing but the connection was tried so far.
            Err(BaseBackupToolError::Connect(error)) if tool.may_ask(&error) => {}
            Err(_) => return Err(Failure::reported(1)),
        }
        tool.ask_password();
    }
}

fn options(args: &BaseBackup, tool: &Tool<'_>) -> Result<BaseBackupOptions, Failure> {
    let (compression, server_compression) = compression(&args.compress).map_err(|text| tool.fail(&text))?;
    let directory = args.directory.clone().unwrap_or_default();
    let target = match args.format {
        BackupFormat::Plain => Target::Plain {
            directory,
            tablespaces: args.tablespaces.iter().map(|m| (m.old.clone(), m.new.clone())).collect(),
            wal_directory: args.waldir.clone(),
        },
        BackupFormat::Tar if directory.as_os_str() == "-" => {
            let output = Output::stdout_bytes().map_err(|error| tool.fail(&error.to_string()))?;
            Target::Stdout { output: Arc::new(output), compression }
        }
        BackupFormat::Tar => Target::Tar { directory, compression },
    };
    let mut options = BaseBackupOptions::new(target);
    options.wal = match (args.wal, &args.slot) {
        (WalMethod::None, _) => Wal::None,
        (WalMethod::Fetch, _) => Wal::Fetch,
        (WalMethod::Stream, Some(slot)) => {
            Wal::StreamWithSlot { slot: tool.slot(slot)?, create: args.create_slot }
        }
        (WalMethod::Stream, None) if args.no_slot => Wal::StreamWithoutSlot,
        (WalMethod::Stream, None) => Wal::Stream,
    };
    options.label.clone_from(&args.label);
    options.fast_checkpoint = args.fast_checkpoint;
    options.max_rate = args.max_rate;
    options.estimate_size = !args.no_estimate_size;
    options.server_compression = server_compression;
    options.manifest = !args.no_manifest;
    options.manifest_checksums.clone_from(&args.manifest_checksums);
    options.manifest_force_encode = args.manifest_force_encode;
    options.verify_checksums = !args.no_verify_checksums;
    options.incremental.clone_from(&args.incremental);
    options.sync = match (args.no_sync, args.syncfs) {
        (true, _) => SyncMethod::None,
        (false, true) => SyncMethod::Syncfs,
        (false, false) => SyncMethod::Fsync,
    };
    options.clean = !args.no_clean;
    options.status_interval = args.status_interval;
    options.time = u64::try_from(time::OffsetDateTime::now_utc().unix_timestamp()).unwrap_or(0);
    Ok(options)
}

fn compression(compress: &Compress) -> Result<(ArchiveCompression, Option<ServerCompression>), String> {
    let client = |spec: &Spec| {
        Ok(match spec.method {
            Method::None => ArchiveCompression::None,
            Method::Gzip => {
                ArchiveCompression::Gzip(spec.level.and_then(|level| u32::try_from(level).ok()).unwrap_or(6))
            }
            Method::Lz4 => ArchiveCompression::Lz4,
            Method::Zstd => match spec.level {
                None | Some(0) => {
                    ArchiveCompression::Zstd { level: 3, workers: spec.workers.unwrap_or_else(processors) }
                }
                Some(level @ 1..) => {
                    ArchiveCompression::Zstd { level, workers: spec.workers.unwrap_or_else(processors) }
                }
                Some(_) => return Err("negative compression levels are not supported".to_owned()),
            },
        })
    };
    match compress {
        Compress::Client(spec) => Ok((client(spec)?, None)),
        Compress::Server { method, .. } if method.eq_ignore_ascii_case("none") => {
            Ok((ArchiveCompression::None, None))
        }
        Compress::Server { method, detail } => Ok((
            ArchiveCompression::None,
            Some(ServerCompression { algorithm: method.clone(), detail: detail.clone() }),
        )),
    }
}

/// What `pg_basebackup` prints, in its words.
struct Voice<'a> {
    tool: &'a Tool<'a>,
    args: &'a BaseBackup,
    output: &'a Output,
    drawn: RefCell<Option<Instant>>,
}

impl Voice<'_> {
    fn say(&self, event: &BaseBackupEvent<'_>) {
        if let BaseBackupEvent::Progress(progress) = event {
            return self.progress(*progress);
        }
        self.output.stop_progress();
        match event {
            BaseBackupEvent::Notice(notice) => self.output.raw_error_line(LibpqText(notice).to_string()),
            BaseBackupEvent::Failed(error) => self.failed(error),
            BaseBackupEvent::WaitingForCheckpoint if self.args.progress && !self.args.verbose => {
                self.output.raw_error_line("waiting for checkpoint");
            }
            other => {
                if let Some(text) = clean_up_text(other) {
                    self.tool.info(&text);
                } else if self.args.verbose
                    && let Some(text) = verbose_text(other)
                {
                    self.tool.info(&text);
                }
            }
        }
    }

    fn failed(&self, error: &BaseBackupToolError) {
        self.tool.error(&error.to_string());
        let from_thread = matches!(
            error,
            BaseBackupToolError::StartWal(_)
                | BaseBackupToolError::WalStream(_)
                | BaseBackupToolError::WalGap { .. }
                | BaseBackupToolError::StoreWal { .. }
        );
        if from_thread {
            self.tool.error("background process terminated unexpectedly");
        }
    }

    /// A bar on a terminal, else a line now and then.
    fn progress(&self, progress: Progress<'_>) {
        if !self.args.progress {
            return;
        }
        let last = progress.archive.is_empty();
        let mut drawn = self.drawn.borrow_mut();
        if std::io::stderr().is_terminal() && !last {
            if drawn.is_none() {
                self.output.start_progress("base backup", progress.total);
                *drawn = Some(Instant::now());
            }
            return self.output.progress(progress.done, progress.total);
        }
        if !last && drawn.is_some_and(|time| time.elapsed() < Duration::from_secs(1)) {
            return;
        }
        *drawn = Some(Instant::now());
        self.output.stop_progress();
        self.output.raw_error_line(progress_line(progress));
    }
}

fn progress_line(progress: Progress<'_>) -> String {
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

fn verbose_text(event: &BaseBackupEvent<'_>) -> Option<String> {
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

fn clean_up_text(event: &BaseBackupEvent<'_>) -> Option<String> {
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

/// As many threads as zstd is given where nobody says how many; what comes out is one frame all the same.
fn processors() -> u32 {
    std::thread::available_parallelism().map_or(0, |count| u32::try_from(count.get()).unwrap_or(0)).min(16)
}
