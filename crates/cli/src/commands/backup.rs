//! `backup`.

use std::time::Duration;

use tapster_catalog::Selector;
use tapster_manager::{BackupName, BackupOptions, Server};

use crate::args::backup::{BackupArgs, ReuseBackup};
use crate::failure::Failure;
use crate::output::backup_record;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Takes a base backup of servers.
pub(crate) fn run(args: &BackupArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let options = options(args)?;
    session.watch_signals()?;
    for server in setup.servers(&args.servers, Rules::PRIMARY) {
        let taken =
            with_parent(args, &options, &server).and_then(|options| back_up(&options, &setup, &server));
        if let Err(failure) = taken {
            session.output.failure(&session.unless_stopped(failure));
        }
        if session.stopped() {
            break;
        }
    }
    Ok(())
}

/// The parent is another one for each server.
fn with_parent(
    args: &BackupArgs,
    options: &BackupOptions,
    server: &Server,
) -> Result<BackupOptions, Failure> {
    let mut options = options.clone();
    if let Some(parent) = &args.incremental {
        options.incremental = Some(Box::new(server.catalog().select(&Selector::from(parent.as_str()))?));
    }
    Ok(options)
}

fn back_up(options: &BackupOptions, setup: &Setup<'_>, server: &Server) -> Result<(), Failure> {
    let observer = setup.observer(server.name());
    let result = server.backup(options, &setup.context(&observer));
    setup.session.output.stop_progress();
    let report = result.map_err(|error| Failure::backup(&setup.place(server.name()), &error))?;
    for (key, value) in backup_record::fields(&report.record) {
        setup.session.output.json_insert(key, value);
    }
    if report.wait_interrupted {
        // That was what the signal was for: the next server gets its backup.
        setup.session.resume();
    }
    if report.missing_wal.is_some() {
        // The observer has said it when the time was up.
        return Err(Failure::reported(1));
    }
    Ok(())
}

/// Options that only tune a file copy (`--jobs`, …) do nothing with the postgres method, in Barman too; what is asked of the wrong
/// method otherwise is refused by the manager. Nothing is staged on the way into an object store, wherever it should be.
fn options(args: &BackupArgs) -> Result<BackupOptions, Failure> {
    let mut options = BackupOptions::default();
    options.name = args
        .name
        .as_deref()
        .map(BackupName::new)
        .transpose()
        .map_err(|error| Failure::user(error.to_string()))?;
    options.wait = args.wait;
    options.wait_timeout = args.wait_timeout.map(Duration::from_secs);
    options.immediate_checkpoint = args.immediate_checkpoint();
    options.bandwidth_limit = args.bwlimit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
    options.retry_times = args.retry_times().map(|times| u32::try_from(times).unwrap_or(u32::MAX));
    options.retry_sleep = args.retry_sleep.map(Duration::from_secs);
    options.reuse_backup = args.reuse_backup.map(|reuse| match reuse {
        ReuseBackup::Copy => tapster_manager::config::ReuseBackup::Copy,
        ReuseBackup::Link => tapster_manager::config::ReuseBackup::Link,
        ReuseBackup::Off => tapster_manager::config::ReuseBackup::Off,
    });
    let count = |number: Option<u64>| number.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    options.jobs = count(args.jobs);
    options.jobs_start_batch_size = count(args.jobs_start_batch_size);
    options.jobs_start_batch_period = count(args.jobs_start_batch_period);
    options.keepalive_interval = count(args.keepalive_interval);
    options.manifest = args.manifest();
    options.check_timeout = args.check_timeout.map(Duration::from_secs);
    Ok(options)
}
