//! `show-backup`.

use tapster_catalog::Selector;

use crate::args::show_backup::ShowBackupArgs;
use crate::failure::Failure;
use crate::output::backup_details;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Shows one backup.
pub(crate) fn run(args: &ShowBackupArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let server = setup.one(&args.server, Rules::LOOK)?;
    let record = server.catalog().select(&Selector::from(args.backup.as_str()))?;
    let observer = setup.observer(server.name());
    let details = server.show_backup(&record, &setup.context(&observer))?;
    if details.backup.deletion_begun {
        session.output.warning(format!(
            "the deletion of backup {} has begun, and it cannot be restored; execute '{} delete {} {}' to finish it",
            record.id,
            session.program.name(),
            server.name(),
            record.id
        ));
    }
    backup_details::show(&session.output, server.name(), &details);
    Ok(())
}
