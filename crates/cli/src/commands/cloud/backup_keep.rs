//! `barman-cloud-backup-keep`.

use super::{Tool, select};
use crate::args::cloud::backup_keep::CloudBackupKeepArgs;
use crate::failure::Failure;
use crate::session::Session;

/// Keeps a backup, lets go of it, or says whether it is kept.
pub(crate) fn run(args: &CloudBackupKeepArgs, session: &Session) -> Result<(), Failure> {
    let tool = Tool { verb: "keep", args: &args.cloud, url: &args.url, server: &args.server };
    tool.run(|server| {
        let id = select(server, tool.verb, &args.backup)?;
        let failed = |error| Failure::cloud(tool.verb, &error);
        match args.keep.target {
            Some(target) => server.keep(&id, target.into()).map_err(|error| Failure::cloud_keep(&error)),
            None if args.keep.release => server.release(&id).map_err(failed),
            None => {
                let keep = server.keep_of(&id).map_err(failed)?;
                let text = keep.as_ref().map_or("nokeep", |keep| keep.as_str());
                session.output.raw_line(format!("Keep: {text}"));
                Ok(())
            }
        }
    })
}
