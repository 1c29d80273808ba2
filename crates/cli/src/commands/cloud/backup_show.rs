//! `barman-cloud-backup-show`.

use super::{Tool, select};
use crate::args::cloud::backup_show::CloudBackupShowArgs;
use crate::failure::Failure;
use crate::output::cloud_backup;
use crate::session::Session;

/// Shows one backup's record.
pub(crate) fn run(args: &CloudBackupShowArgs, session: &Session) -> Result<(), Failure> {
    let tool = Tool { verb: "backup show", args: &args.cloud, url: &args.url, server: &args.server };
    tool.run(|server| {
        let id = select(server, tool.verb, &args.backup)?;
        let record = server.record(&id).map_err(|error| Failure::cloud(tool.verb, &error))?;
        let Some(record) = record else {
            let message = format!("Backup {id} for server {} does not exist", args.server);
            return Err(Failure::cloud_operation(message));
        };
        if args.format == "console" {
            cloud_backup::show(&session.output, &record);
        } else {
            session.output.raw_line(cloud_backup::show_json(&record));
        }
        Ok(())
    })
}
