//! `cloud-wal-archive` and `cloud-wal-restore`.

use std::sync::atomic::AtomicBool;

use tapster_manager::Context;

use super::put_wal::receiving_server;
use super::wal_restore::start_fetching_ahead;
use crate::args::cloud_wal::{CloudWalArchiveArgs, CloudWalRestoreArgs};
use crate::failure::Failure;
use crate::recovery::WAL_RESTORE as STOP_RECOVERY;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Archives one file, and others that are ready with it. Signals may end it as they do by themselves: then nothing was acknowledged.
pub(crate) fn archive(args: &CloudWalArchiveArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::for_postgresql(session)?;
    let server = receiving_server(&setup, &args.server)?;
    let observer = setup.observer(server.name());
    let report = server
        .cloud_wal_archive(&args.wal_path, &args.options(), &Context::new(&observer))
        .map_err(|error| Failure::configured_wal(&error))?;
    for warning in report.warnings {
        session.output.warning(warning);
    }
    tracing::info!("{} is archived ({:?}), and {} others", report.name, report.archived, report.ahead.len());
    Ok(())
}

/// Fetches one file. Signals may end it as they do by themselves, which PostgreSQL tells from "no such file".
pub(crate) fn restore(args: &CloudWalRestoreArgs, session: &Session) -> Result<(), Failure> {
    let unusable = |failure: Failure| failure.with_exit_code(STOP_RECOVERY);
    let setup = Setup::for_postgresql(session).map_err(unusable)?;
    let server = setup.one(&args.server, Rules::CATALOG).map_err(unusable)?;
    let (parallel, stop) = (args.parallel(), AtomicBool::new(false));
    let (destination, spool) = (&args.wal_dest, &args.spool_dir);
    if args.fetch_ahead {
        // Nobody reads what this says: what did not come is fetched when its turn comes.
        if let Ok(after) = args.wal_name.parse() {
            drop(server.cloud_wal_fetch_ahead(after, destination, parallel, spool, &stop));
        }
        return Ok(());
    }
    match server.cloud_wal_restore(&args.wal_name, destination, parallel, spool, &stop) {
        Ok(restored) => {
            for warning in restored.warnings {
                session.output.warning(warning);
            }
            if restored.fetch_ahead {
                start_fetching_ahead(session);
            }
            Ok(())
        }
        Err(error) if error.is_missing() => Err(Failure::configured_wal(&error)),
        Err(error) => Err(unusable(Failure::configured_wal(&error))),
    }
}
