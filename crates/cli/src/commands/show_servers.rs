//! `show-servers`.

use crate::args::show_servers::ShowServersArgs;
use crate::failure::Failure;
use crate::output::server_details;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Shows the settings of servers and their live status.
pub(crate) fn run(args: &ShowServersArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    for server in setup.servers(&args.servers, Rules::LOOK) {
        let observer = setup.observer(server.name());
        match server.show(&setup.context(&observer)) {
            Ok(details) => server_details::show(&session.output, server.config(), &details),
            Err(error) => session.output.failure(&error.into()),
        }
        if session.stopped() {
            return Err(Failure::interrupted());
        }
    }
    Ok(())
}
