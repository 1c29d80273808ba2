//! `replication-status`.

use tapster_manager::StatusSource;

use crate::args::replication_status::ReplicationStatusArgs;
use crate::failure::Failure;
use crate::output::replication;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Shows the streaming clients of servers.
pub(crate) fn run(args: &ReplicationStatusArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    let kind = args.target.into();
    for server in setup.servers(&args.servers, Rules::PRIMARY) {
        if StatusSource::from(args.source) == StatusSource::WalHost {
            super::receive_wal::tell_overrides(&setup, &server);
        }
        let observer = setup.observer(server.name());
        match server.replication_status(kind, args.source.into(), &setup.context(&observer)) {
            Ok(status) if args.minimal => replication::show_minimal(&session.output, &status, kind),
            Ok(status) => replication::show(&session.output, &status, kind),
            Err(error) => {
                session.output.failure(&Failure::replication_status(&setup.place(server.name()), &error));
            }
        }
    }
    Ok(())
}
