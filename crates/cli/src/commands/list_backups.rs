//! `list-backups`.

use crate::args::list_backups::ListBackupsArgs;
use crate::failure::Failure;
use crate::output::backup_list;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Lists the backups of servers.
pub(crate) fn run(args: &ListBackupsArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    for server in setup.servers(&args.servers, Rules::LOOK) {
        let observer = setup.observer(server.name());
        let context = setup.context(&observer);
        let list = match args.minimal {
            true => server.list_backups_without_wal(&context),
            false => server.list_backups(&context),
        };
        match list {
            Ok(list) => backup_list::show(&session.output, server.name(), &list, args),
            Err(error) => session.output.failure(&error.into()),
        }
    }
    Ok(())
}
