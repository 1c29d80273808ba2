//! `check-wal-archive`.

use serde_json::{Value, json};
use walfile::Timeline;

use crate::args::check_wal_archive::CheckWalArchiveArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Whether a new server may archive here.
pub(crate) fn run(args: &CheckWalArchiveArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    let Some(server) = setup.server(&args.server, Rules::ACTIVE)? else { return Ok(()) };
    let (name, output) = (server.name(), &session.output);
    // A number beyond the largest timeline has nothing at or after it, as the largest has.
    let timeline = args.timeline.and_then(|number| Timeline::new(u32::try_from(number).unwrap_or(u32::MAX)));
    if output.is_json() {
        output.json_insert(name, json!({}));
    } else {
        output.line(format!("Server {name}:"));
    }
    let observer = setup.observer(name);
    server
        .check_wal_archive(timeline, &setup.context(&observer))
        .map_err(|error| Failure::archive_in_use(&setup.place(name), &error))?;
    let passed = format!("WAL archive check for server {name} passed");
    if output.is_json() {
        output.json_insert(name, Value::String(passed));
    } else {
        output.line(format!(" - {passed}"));
    }
    Ok(())
}
