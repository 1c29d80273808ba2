//! `wal verify`.

use tapster_catalog::Selector;
use tapster_manager::WalVerifyOptions;

use crate::args::wal::verify::WalVerifyArgs;
use crate::failure::Failure;
use crate::output::wal_verify;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Reads the archive; the exit code says whether all of it can be replayed.
pub(crate) fn run(args: &WalVerifyArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let server = setup.one(&args.server, Rules::LOOK)?;
    let mut options = WalVerifyOptions::default();
    options.jobs = args.jobs.map(|jobs| usize::try_from(jobs).unwrap_or(usize::MAX));
    if let Some(backup) = &args.backup {
        options.backup = Some(server.catalog().select(&Selector::from(backup.as_str()))?);
    }
    session.watch_signals()?;
    let observer = setup.observer(server.name());
    let report = server.verify_wal(&options, &setup.context(&observer))?;
    wal_verify::show(&session.output, server.name(), &report);
    Ok(())
}
