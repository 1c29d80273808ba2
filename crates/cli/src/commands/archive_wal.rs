//! `archive-wal`.

use tapster_manager::{ArchiveOptions, Server};

use crate::args::archive_wal::ArchiveWalArgs;
use crate::failure::Failure;
use crate::observer::ConsoleObserver;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Archives what is queued.
pub(crate) fn run(args: &ArchiveWalArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let Some(server) = setup.server(&args.server, Rules::ACTIVE)? else { return Ok(()) };
    session.watch_signals()?;
    let name = server.name();
    let observer = setup.observer(name).with_empty_queues();
    let mut options = ArchiveOptions::default();
    options.accept_invalid = args.accept_invalid;
    if !archive_with(&setup, &server, &observer, &options)? {
        session.output.info(format!(
            "Another archive-wal process is already running on server {name}. Skipping to the next server"
        ));
    }
    Ok(())
}

/// Archives what is queued; false when another process is doing that.
pub(super) fn archive(
    setup: &Setup<'_>,
    server: &Server,
    observer: &ConsoleObserver<'_>,
) -> Result<bool, Failure> {
    archive_with(setup, server, observer, &ArchiveOptions::default())
}

fn archive_with(
    setup: &Setup<'_>,
    server: &Server,
    observer: &ConsoleObserver<'_>,
    options: &ArchiveOptions,
) -> Result<bool, Failure> {
    match server.archive_wal(options, &setup.context(observer)) {
        Ok(_) => Ok(true),
        Err(error) if error.is_busy() => Ok(false),
        Err(error) => Err(error.into()),
    }
}
