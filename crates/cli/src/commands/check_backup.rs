//! `check-backup`.

use tapster_catalog::Selector;

use crate::args::check_backup::CheckBackupArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Completes the record of a backup whose WAL has arrived. Says nothing unless asked with `-d`.
pub(crate) fn run(args: &CheckBackupArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let Some(server) = setup.server(&args.server, Rules::ACTIVE)? else { return Ok(()) };
    let name = server.name();
    let mut record = server.catalog().select(&Selector::from(args.backup.as_str()))?;
    session.output.debug(format!("Checking backup {} of server {name}", record.id));
    let before = record.status;
    match server.check_backup(&mut record) {
        Ok(status) => {
            let what = if status == before {
                format!("remains {status}")
            } else {
                format!("changed from {before} to {status}")
            };
            session
                .output
                .debug(format!("Check finished: the status of backup {} of server {name} {what}", record.id));
            Ok(())
        }
        // Whoever holds it is about to do the same.
        Err(error) if error.is_busy() => {
            session.output.info(format!(
                "Another process is holding the lock for backup {} of server {name}.",
                record.id
            ));
            Ok(())
        }
        Err(error) => Err(Failure::check_backup(&error)),
    }
}
