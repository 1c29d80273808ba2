//! `switch-wal`.

use std::time::Duration;

use tapster_manager::{Server, Switched};

use crate::args::switch_wal::SwitchWalArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Closes the current WAL file of servers.
pub(crate) fn run(args: &SwitchWalArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    for server in setup.servers(&args.servers, Rules::ACTIVE) {
        if let Err(failure) = switch(args, &setup, &server) {
            session.output.failure(&failure);
        }
    }
    Ok(())
}

fn switch(args: &SwitchWalArgs, setup: &Setup<'_>, server: &Server) -> Result<(), Failure> {
    let output = &setup.session.output;
    let name = server.name();
    let observer = setup.observer(name);
    let context = setup.context(&observer);
    let switched = server
        .switch_wal(args.force, &context)
        .map_err(|error| Failure::switch(&setup.place(name), &error))?;
    let closed = match switched {
        Switched::Closed(wal) => {
            output.info(format!("The WAL file {wal} has been closed on server '{name}'"));
            Some(wal)
        }
        Switched::Standby => {
            output.info(format!("No switch performed because server '{name}' is a standby."));
            None
        }
        _ => {
            output.info(format!("No switch required for server '{name}'"));
            return Ok(());
        }
    };
    if !args.archive {
        return Ok(());
    }
    let seconds = args.archive_timeout;
    if closed.is_none() {
        output.info(format!(
            "Waiting for a WAL file from server '{name}' to be archived (max: {seconds} seconds)"
        ));
    }
    if server.wait_for_archive(closed, Duration::from_secs(seconds), &context) {
        return Ok(());
    }
    if context.stopped() {
        return Err(Failure::interrupted());
    }
    match closed {
        Some(wal) => {
            Err(Failure::user(format!("The WAL file {wal} has not been received in {seconds} seconds")))
        }
        None => {
            output.info(format!("A WAL file has not been received in {seconds} seconds"));
            Ok(())
        }
    }
}
