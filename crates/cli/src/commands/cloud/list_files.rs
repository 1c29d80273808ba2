//! `cloud list-files`.

use super::{Tool, select};
use crate::args::cloud::list_files::CloudListFilesArgs;
use crate::failure::Failure;
use crate::session::Session;

/// Lists the objects of one backup, each with its URL.
pub(crate) fn run(args: &CloudListFilesArgs, session: &Session) -> Result<(), Failure> {
    let tool = Tool { verb: "list files", args: &args.cloud, url: &args.url, server: &args.server };
    tool.run(|server| {
        let id = select(server, tool.verb, &args.backup)?;
        let url = server.store().url().to_string();
        let url = url.trim_end_matches('/');
        let listed = server.list_files(&id, args.target.into(), &mut |object| {
            session.output.raw_line(format!("{url}/{}", object.key));
        });
        match listed {
            Ok(true) => Ok(()),
            Ok(false) => {
                let message = format!("Backup {id} for server {} does not exist", args.server);
                Err(Failure::cloud_operation(message))
            }
            Err(error) => Err(Failure::cloud(tool.verb, &error)),
        }
    })
}
