//! `sync-info`, `sync-backup` and `sync-wals`.

use std::fs::File;
use std::io;

use tapster_manager::{SyncStart, SyncedBackup};

use crate::args::sync::{SyncBackupArgs, SyncInfoArgs, SyncWalsArgs};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Says what this node, or its primary node, has.
pub(crate) fn info(args: &SyncInfoArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    let Some(server) = setup.server(&args.server, Rules::ACTIVE)? else { return Ok(()) };
    let observer = setup.observer(server.name());
    let context = setup.context(&observer);
    let start = args
        .last_wal
        .as_ref()
        .map_or_else(SyncStart::default, |last_wal| SyncStart::after(last_wal, args.last_position));
    session.output.own_json();
    let failed = |error: io::Error| Failure::user(format!("cannot write: {error}"));
    let mut stdout = Output::stdout_bytes().map_err(failed)?;
    if !args.primary {
        return server.sync_info(&start, &mut stdout, &context).map_err(|error| Failure::sync_info(&error));
    }
    server.fetch_primary_info(&start, &context).map_err(|error| Failure::sync(&error))?;
    let copied = File::open(server.primary_info_file()).and_then(|mut file| io::copy(&mut file, &mut stdout));
    copied.and_then(|_| io::Write::write_all(&mut stdout, b"\n")).map_err(failed)
}

/// Copies a backup from the primary node.
pub(crate) fn backup(args: &SyncBackupArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    let Some(server) = setup.server(&args.server, Rules::ACTIVE)? else { return Ok(()) };
    let (name, id) = (server.name(), &args.backup);
    let observer = setup.observer(name);
    let synced = server.sync_backup(id, &setup.context(&observer)).map_err(|error| Failure::sync(&error))?;
    let output = &session.output;
    match synced {
        SyncedBackup::Already => output.info(format!("Backup {id} is already synced with {name} server")),
        SyncedBackup::LocalOnly => output
            .info(format!("Backup {id} is absent on {name} server, but present locally (local copy only)")),
        SyncedBackup::Obsolete => {
            output.info(format!("Remote backup {name}/{id} is obsolete for local retention policies."));
        }
        SyncedBackup::Copied(_) => output.debug(format!("Backup {id} of server {name} is copied")),
        _ => {}
    }
    Ok(())
}

/// Copies the new WAL of the primary node.
pub(crate) fn wals(args: &SyncWalsArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    let Some(server) = setup.server(&args.server, Rules::ACTIVE)? else { return Ok(()) };
    let observer = setup.observer(server.name());
    let synced = server.sync_wals(&setup.context(&observer)).map_err(|error| Failure::sync(&error))?;
    if let Some(reason) = synced.skipped {
        session.output.warning(reason);
    }
    session.output.debug(format!(
        "{} WAL files of server {} are copied",
        synced.archived.len(),
        server.name()
    ));
    Ok(())
}
