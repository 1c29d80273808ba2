//! `generate-manifest`.

use tapster_catalog::Selector;

use crate::args::generate_manifest::GenerateManifestArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Writes the manifest into the backup.
pub(crate) fn run(args: &GenerateManifestArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let Some(server) = setup.server(&args.server, Rules::ACTIVE)? else { return Ok(()) };
    let record = server.catalog().select(&Selector::from(args.backup.as_str()))?;
    session.watch_signals()?;
    let observer = setup.observer(server.name());
    server
        .generate_manifest(&record, &setup.context(&observer))
        .map_err(|error| session.unless_stopped(Failure::generate_manifest(&error)))?;
    session.output.info(format!(
        "Backup manifest for backup '{}' successfully generated for server ['{}']",
        args.backup, args.server
    ));
    Ok(())
}
