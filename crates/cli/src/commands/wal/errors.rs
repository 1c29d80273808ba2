//! `wal errors`.

use tapster_manager::{WalErrorsAction, WalErrorsOptions};

use crate::args::wal::errors::WalErrorsArgs;
use crate::failure::Failure;
use crate::output::wal_errors;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Lists what was refused, and retries or discards it.
pub(crate) fn run(args: &WalErrorsArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let server = setup.one(&args.server, Rules::LOOK)?;
    let mut options = WalErrorsOptions::default();
    options.action = match (args.retry, args.discard) {
        (true, _) => WalErrorsAction::Retry,
        (_, true) => WalErrorsAction::Discard,
        _ => WalErrorsAction::List,
    };
    options.names.clone_from(&args.names);
    options.all = args.all;
    options.compare = args.compare;
    options.dry_run = args.dry_run;
    let observer = setup.observer(server.name());
    let report = server.wal_errors(&options, &setup.context(&observer))?;
    wal_errors::show(&session.output, server.name(), options.action, &report);
    Ok(())
}
