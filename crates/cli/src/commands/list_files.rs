//! `list-files`.

use tapster_catalog::Selector;
use tapster_manager::list_files::ListFilesOptions;

use crate::args::list_files::ListFilesArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Lists the files of one backup.
pub(crate) fn run(args: &ListFilesArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let server = setup.one(&args.server, Rules::LOOK)?;
    let record = server.catalog().select(&Selector::from(args.backup.as_str()))?;
    let mut options = ListFilesOptions::default();
    options.target = args.target.into();
    options.empty_directories = args.list_empty_directories;
    let observer = setup.observer(server.name());
    server
        .list_files(&record, &options, &setup.context(&observer), &mut |path| {
            session.output.line(path.to_string_lossy());
        })
        .map_err(|error| Failure::list_files(&setup.place(server.name()), &error))
}
