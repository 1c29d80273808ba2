//! `keep`.

use serde_json::json;
use tapster_catalog::{KeepTarget, Selector};

use crate::args::keep::KeepArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Keeps a backup, releases it, or says whether it is kept.
pub(crate) fn run(args: &KeepArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    if !(args.release || args.status || args.target.is_some()) {
        return Err(Failure::user("one of the arguments -r/--release -s/--status --target is required"));
    }
    let Some(server) = setup.server(&args.server, Rules::ACTIVE)? else { return Ok(()) };
    let record = server.catalog().select(&Selector::from(args.backup.as_str()))?;
    if args.status {
        let kept = server.keep_target(&record).map_err(|error| Failure::keep(&error))?;
        let word = kept.map_or("nokeep", KeepTarget::as_str);
        session
            .output
            .json_insert(server.name(), json!({"keep_status": {"description": "Keep", "message": word}}));
        if !session.output.is_json() {
            session.output.info(format!("Server {}:", server.name()));
            session.output.info(format!("\tKeep: {word}"));
        }
        return Ok(());
    }
    let done = match args.target {
        Some(target) if !args.release => server.keep(&record, target.into()),
        _ => server.release_keep(&record).map(|_| ()),
    };
    done.map_err(|error| Failure::keep(&error))
}
