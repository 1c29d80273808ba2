//! `receive-wal`.

use tapster_catalog::locks::{Lock, LockName};
use tapster_manager::event::Event;
use tapster_manager::{Observer as _, ReceiveReset, Server, SlotCreated, SlotDropped};

use crate::args::receive_wal::ReceiveWalArgs;
use crate::failure::{Failure, ReceiveTask};
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Receives WAL until stopped, or does what the options say instead.
pub(crate) fn run(args: &ReceiveWalArgs, session: &Session) -> Result<(), Failure> {
    if args.stop && args.reset {
        return Err(Failure::user("--stop and --reset options are not compatible"));
    }
    let setup = Setup::new(session)?;
    let elsewhere = args.stop || args.reset || args.create_slot || args.drop_slot;
    let rules = if elsewhere { Rules::CATALOG } else { Rules::ACTIVE };
    let Some(server) = setup.server(&args.server, rules)? else { return Ok(()) };
    session.watch_signals()?;
    tell_overrides(&setup, &server);
    if args.stop {
        stop(&setup, &server)
    } else if args.create_slot {
        create_slot(&setup, &server, args.if_not_exists)
    } else if args.drop_slot {
        drop_slot(&setup, &server)
    } else if args.reset {
        reset(&setup, &server)
    } else {
        receive(&setup, &server)
    }
}

/// That WAL comes from another server than base backups.
pub(super) fn tell_overrides(setup: &Setup<'_>, server: &Server) {
    let overrides: Vec<String> = server
        .wal_overrides()
        .into_iter()
        .map(|(key, value)| format!("'{key}' overridden with '{value}'"))
        .collect();
    if !overrides.is_empty() {
        setup.session.output.info(format!("Configuration overrides applied: {}", overrides.join(" and ")));
    }
}

fn receive(setup: &Setup<'_>, server: &Server) -> Result<(), Failure> {
    let observer = setup.observer(server.name());
    observer.event(&Event::ReceiveStarting { server: server.name().to_owned() });
    let received = server.receive_wal(&setup.context(&observer));
    received
        .map(|_| ())
        .map_err(|error| Failure::receive_wal(&setup.place(server.name()), ReceiveTask::Stream, &error))
        .map_err(|failure| setup.session.unless_stopped(failure))
}

fn stop(setup: &Setup<'_>, server: &Server) -> Result<(), Failure> {
    for process in server.terminate("receive-wal").map_err(|error| Failure::process(&error))? {
        setup.session.output.info(format!("Stopped process {}({})", process.task, process.pid));
    }
    Ok(())
}

fn slot_name(server: &Server) -> String {
    server.config().slot_name.clone().unwrap_or_default()
}

fn create_slot(setup: &Setup<'_>, server: &Server, if_not_exists: bool) -> Result<(), Failure> {
    let output = &setup.session.output;
    let (name, slot) = (server.name(), slot_name(server));
    let observer = setup.observer(name);
    let created = server.create_slot(&setup.context(&observer));
    let created =
        created.map_err(|error| Failure::receive_wal(&setup.place(name), ReceiveTask::Slot, &error))?;
    output.info(format!("Creating physical replication slot '{slot}' on server '{name}'"));
    match created {
        SlotCreated::Created => output.info(format!("Replication slot '{slot}' created")),
        SlotCreated::Exists if if_not_exists => output.info(format!(
            "Replication slot '{slot}' already exists and --if-not-exists was specified. Skipping creation"
        )),
        SlotCreated::Exists => {
            return Err(Failure::user(format!("Replication slot '{slot}' already exists")));
        }
    }
    Ok(())
}

fn drop_slot(setup: &Setup<'_>, server: &Server) -> Result<(), Failure> {
    let output = &setup.session.output;
    let (name, slot) = (server.name(), slot_name(server));
    let observer = setup.observer(name);
    let dropped = server.drop_slot(&setup.context(&observer));
    let dropped =
        dropped.map_err(|error| Failure::receive_wal(&setup.place(name), ReceiveTask::Slot, &error))?;
    output.info(format!("Dropping physical replication slot '{slot}' on server '{name}'"));
    match dropped {
        SlotDropped::Dropped => {
            output.info(format!("Replication slot '{slot}' dropped"));
            Ok(())
        }
        SlotDropped::Missing => Err(Failure::user(format!("Replication slot '{slot}' does not exist"))),
        SlotDropped::InUse => {
            let failure = Failure::user(format!(
                "Cannot drop replication slot '{slot}' on server '{name}' because it is in use."
            ));
            let lock = server.catalog().layout().lock(&LockName::ReceiveWal);
            Err(match Lock::holder(&lock) {
                Ok(Some(_)) => failure.with_hint(format!(
                    "stop its receiver first: '{} receive-wal --stop {name}'",
                    setup.session.program.name()
                )),
                _ => failure,
            })
        }
    }
}

fn reset(setup: &Setup<'_>, server: &Server) -> Result<(), Failure> {
    let output = &setup.session.output;
    let observer = setup.observer(server.name());
    let reset = server
        .reset_receive_wal(&setup.context(&observer))
        .map_err(|error| Failure::receive_wal(&setup.place(server.name()), ReceiveTask::Reset, &error))?;
    match reset {
        ReceiveReset::Aligned => output.info("Nothing to do. Position of receive-wal is aligned."),
        ReceiveReset::Reset { removed, created } => {
            output.info("Resetting receive-wal directory status");
            if let Some(removed) = removed {
                output.info(format!("Removing status file {}", removed.display()));
            }
            output.info(format!("Creating status file {}", created.display()));
        }
    }
    Ok(())
}
