//! `barman-cloud-backup-list`.

use super::Tool;
use crate::args::cloud::backup_list::CloudBackupListArgs;
use crate::failure::Failure;
use crate::output::cloud_backup;
use crate::session::Session;

/// Lists the backups, oldest first.
pub(crate) fn run(args: &CloudBackupListArgs, session: &Session) -> Result<(), Failure> {
    let tool = Tool { verb: "backup list", args: &args.cloud, url: &args.url, server: &args.server };
    tool.run(|server| {
        let catalog = server.catalog().map_err(|error| Failure::cloud(tool.verb, &error))?;
        if args.format == "console" {
            cloud_backup::list(&session.output, &catalog);
        } else {
            session.output.raw_line(cloud_backup::list_json(&catalog));
        }
        Ok(())
    })
}
