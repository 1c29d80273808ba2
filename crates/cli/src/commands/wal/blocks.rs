//! `wal blocks`.

use tapster_manager::wal_blocks::{WalBlocksOptions, changed_blocks_in};
use tapster_manager::{Context, Silent};

use crate::args::wal::blocks::WalBlocksArgs;
use crate::failure::Failure;
use crate::output::wal_blocks;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Shows which blocks changed.
pub(crate) fn run(args: &WalBlocksArgs, session: &Session) -> Result<(), Failure> {
    let mut options = WalBlocksOptions::default();
    (options.start, options.end, options.timeline) = (args.start, args.end, args.timeline);
    let (key, found) = match (&args.path, &args.server) {
        (Some(path), _) => {
            session.watch_signals()?;
            let context = Context::new(&Silent).with_stop(session.stop.clone());
            (path.display().to_string(), changed_blocks_in(path, &options, &context)?)
        }
        (None, name) => {
            let setup = Setup::new(session)?;
            let server = setup.one(name.as_deref().unwrap_or_default(), Rules::LOOK)?;
            session.watch_signals()?;
            let observer = setup.observer(server.name());
            (server.name().to_owned(), server.changed_blocks(&options, &setup.context(&observer))?)
        }
    };
    wal_blocks::show(&session.output, &key, &options, &found);
    Ok(())
}
