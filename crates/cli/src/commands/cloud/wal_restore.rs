//! `barman-cloud-wal-restore`.

use std::sync::atomic::AtomicBool;

use tapster_manager::wal_client::ends_recovery;

use super::Tool;
use crate::args::cloud::wal_restore::CloudWalRestoreArgs;
use crate::commands::wal_restore::start_fetching_ahead;
use crate::failure::Failure;
use crate::recovery::WAL_RESTORE as STOP_RECOVERY;
use crate::session::Session;

/// Fetches one file. Signals may end it as they do by themselves, which PostgreSQL tells from "no such file".
pub(crate) fn run(args: &CloudWalRestoreArgs, session: &Session) -> Result<(), Failure> {
    let tool = Tool { verb: "WAL restore", args: &args.cloud, url: &args.url, server: &args.server };
    let (options, stop) = (args.options(), AtomicBool::new(false));
    let hard = args.fail_hard || ends_recovery(&args.wal_dest);
    let done = tool.run_at(args.cloud.store_options(), |place| {
        if args.fetch_ahead {
            // Nobody reads what this says: what did not come is fetched when its turn comes.
            if let (Ok(after), Ok(server)) = (args.wal_name.parse(), place.open()) {
                drop(server.fetch_wal_ahead(after, &args.wal_dest, &options, &stop));
            }
            return Ok(());
        }
        let restored = place
            .restore_wal(&args.wal_name, &args.wal_dest, &options, &stop)
            .map_err(|error| Failure::cloud_wal_restore(&error))?;
        for warning in &restored.warnings {
            tracing::warn!("{warning}");
        }
        if restored.fetch_ahead {
            start_fetching_ahead(session);
        }
        Ok(())
    });
    match done {
        Err(failure) if hard && failure.exit_code != MISSING => Err(failure.with_exit_code(STOP_RECOVERY)),
        done => done,
    }
}

/// The store was asked, and has no such file.
const MISSING: u8 = 1;
