//! `cron` and `lock-directory-cleanup`.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use tapster_catalog::locks;
use tapster_manager::CronJob;

use crate::args::cron::CronArgs;
use crate::commands::config_update;
use crate::environment::DETACH;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::Setup;

/// Does for every server what is to be done every minute.
pub(crate) fn run(args: &CronArgs, session: &Session) -> Result<(), Failure> {
    let mut setup = Setup::new(session)?;
    session.watch_signals()?;
    match config_update::work_off_queue(&setup.config, &session.output) {
        Ok(true) => setup.config = setup.read_again()?,
        Ok(false) => {}
        // What else there is to do does not wait for it.
        Err(failure) => session.output.failure(&failure),
    }
    for server in setup.working_servers() {
        let name = server.name();
        let observer = setup.observer(name);
        let mut launch = |job: &CronJob| start(&setup, &job.command(name), args.keep_descriptors);
        match server.cron(&mut launch, &setup.context(&observer)) {
            Ok(failed) => {
                for trouble in failed {
                    session.output.failure(&Failure::cron_trouble(&setup.place(name), &trouble));
                }
            }
            // One server's trouble is not the others'.
            Err(error) => session.output.failure(&Failure::cron(&error)),
        }
    }
    if setup.config.global.lock_directory_cleanup {
        clean(&setup)?;
    }
    Ok(())
}

/// Removes the lock files nobody holds.
pub(crate) fn lock_directory_cleanup(session: &Session) -> Result<(), Failure> {
    clean(&Setup::new(session)?)
}

fn clean(setup: &Setup<'_>) -> Result<(), Failure> {
    let dir = &setup.config.global.barman_lock_directory;
    if !dir.exists() {
        return Ok(());
    }
    let removed = locks::remove_unused(dir).map_err(|error| Failure::lock_directory(&error))?;
    tracing::info!("{} lock files removed from {}", removed.len(), dir.display());
    Ok(())
}

/// Starts this program with other words, in a session of its own, so that it outlives this process and its terminal.
pub(super) fn start(setup: &Setup<'_>, words: &[String], keep_descriptors: bool) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg0(setup.session.program.name()).arg("-c").arg(&setup.config.path).arg("-q").args(words);
    command.env(DETACH, "1").stdin(Stdio::null());
    if !keep_descriptors {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    command.spawn().map(|_| ())
}
