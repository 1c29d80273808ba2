//! `tapster basebackup`.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tapster_copy::SyncMethod;
use tapster_manager::tools::basebackup::{
    BaseBackupEvent, BaseBackupOptions, BaseBackupToolError, Progress, Target, Wal, run as take,
};
use tapster_manager::tools::{LibpqText, connect_text};

use super::pg_connection::Tool;
use crate::args::pg::basebackup::{BackupFormat, BaseBackup, WalMethod};
use crate::failure::Failure;
use crate::output::Output;
use crate::output::basebackup::{clean_up_text, progress_line, verbose_text};
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
    let (compression, server_compression) = args.compress.for_archives().map_err(|text| tool.fail(&text))?;
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
