//! `status`.

use crate::args::status::StatusArgs;
use crate::failure::Failure;
use crate::output::server_status;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Shows the state of servers.
pub(crate) fn run(args: &StatusArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    for server in setup.servers(&args.servers, Rules::LOOK) {
        let observer = setup.observer(server.name());
        match server.status(&setup.context(&observer)) {
            Ok(status) => server_status::show(&session.output, server.name(), &status),
            Err(error) => session.output.failure(&error.into()),
        }
        if session.stopped() {
            return Err(Failure::interrupted());
        }
    }
    Ok(())
}
