//! `rebuild-xlogdb`.

use crate::args::rebuild_xlogdb::RebuildXlogdbArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Makes the index of the WAL archive of servers anew.
pub(crate) fn run(args: &RebuildXlogdbArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    let output = &session.output;
    for server in setup.servers(&args.servers, Rules::ACTIVE) {
        let name = server.name();
        let observer = setup.observer(name);
        output.info(format!("Rebuilding xlogdb for server {name}"));
        match server.rebuild_xlogdb(&setup.context(&observer)) {
            Ok(done) => {
                // Barman does not know partial segments, so its line has no word for them.
                let partial = match done.partial {
                    0 => String::new(),
                    count => format!(", partial: {count}"),
                };
                output.info(format!(
                    "Done rebuilding xlogdb for server {name} (history: {}, backup_labels: {}, wal_file: {}{partial})",
                    done.history, done.backup_labels, done.wal_files
                ));
            }
            Err(error) => output.failure(&Failure::index(&error)),
        }
    }
    Ok(())
}
