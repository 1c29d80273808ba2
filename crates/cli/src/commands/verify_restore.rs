//! `verify-restore`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tapster_manager::verify_restore::VerifyRestoreOptions;
use tapster_manager::{RestoreOptions, Server};

use super::archive_wal;
use super::restore::{choice, jobs, target, timeline};
use crate::args::verify_restore::VerifyRestoreArgs;
use crate::failure::Failure;
use crate::output::verify_restore as output;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Restores a backup into a scratch directory and starts PostgreSQL there.
pub(crate) fn run(args: &VerifyRestoreArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let server = setup.one(&args.server, Rules::CATALOG)?;
    session.watch_signals()?;
    let options = options(args, &setup, &server)?;
    let observer = setup.observer(server.name());
    if let Err(failure) = archive_wal::archive(&setup, &server, &observer) {
        session.output.warning(failure.text());
    }
    let result = server.verify_restore(&options, &setup.context(&observer));
    session.output.stop_progress();
    let report = result.map_err(|error| {
        session.unless_stopped(Failure::verify_restore(&setup.place(server.name()), &error))
    })?;
    output::show(&session.output, server.name(), &report);
    if report.is_proven() { Ok(()) } else { Err(Failure::reported(1)) }
}

fn options(
    args: &VerifyRestoreArgs,
    setup: &Setup<'_>,
    server: &Server,
) -> Result<VerifyRestoreOptions, Failure> {
    // The destination is decided by the scratch directory.
    let mut restore = RestoreOptions::new(choice(&args.backup, server)?, PathBuf::new());
    restore.target = target(&args.targets)?;
    restore.timeline = args.targets.target_tli.map(timeline).transpose()?;
    restore.exclusive = args.targets.exclusive;
    restore.program = program(&setup.config.path)?;
    restore.partial_wal = args.partial_wal;
    restore.jobs = args.jobs.map(jobs);
    let mut options = VerifyRestoreOptions::new(restore);
    options.scratch.clone_from(&args.scratch);
    options.amcheck = args.amcheck;
    options.sql.clone_from(&args.sql);
    options.database.clone_from(&args.dbname);
    options.keep = args.keep;
    options.bindir.clone_from(&args.bindir);
    options.path.clone_from(&setup.session.environment.path);
    options.library_path.clone_from(&setup.session.environment.library_path);
    options.home.clone_from(&setup.session.environment.home);
    options.timeout = Duration::from_secs(args.timeout);
    options.preload.clone_from(&args.shared_preload_libraries);
    options.os_user.clone_from(&args.os_user);
    options.get_wal = true;
    Ok(options)
}

/// This very program with this configuration, for the shell of a PostgreSQL server.
fn program(config: &Path) -> Result<String, Failure> {
    let fail =
        |error: &dyn std::fmt::Display| Failure::unexpected(format!("cannot name this program: {error}"));
    let own = std::env::current_exe().map_err(|error| fail(&error))?;
    let config = std::path::absolute(config).map_err(|error| fail(&error))?;
    let quote = |path: &Path| {
        Ok::<_, Failure>(
            shlex::try_quote(&path.to_string_lossy()).map_err(|error| fail(&error))?.into_owned(),
        )
    };
    // PostgreSQL takes percent signs of a restore_command for placeholders.
    Ok(format!("{} -c {}", quote(&own)?, quote(&config)?).replace('%', "%%"))
}
