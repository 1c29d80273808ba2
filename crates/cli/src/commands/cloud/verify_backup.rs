//! `cloud verify-backup`.

use tapster_manager::cloud::verify::CloudVerifyOptions;
use tapster_manager::{Context, Silent};

use super::{Tool, jobs};
use crate::args::cloud::verify_backup::CloudVerifyBackupArgs;
use crate::failure::Failure;
use crate::output::cloud_restore as output;
use crate::session::Session;

/// Verifies one backup.
pub(crate) fn run(args: &CloudVerifyBackupArgs, session: &Session) -> Result<(), Failure> {
    session.watch_signals()?;
    let tool = Tool { verb: "backup verify", args: &args.cloud, url: &args.url, server: &args.server };
    tool.run_with(args.memory.within(args.cloud.store_options()), |server| {
        let Ok(choice) = args.backup.parse();
        let mut options = CloudVerifyOptions::default();
        options.wal = !args.no_wal;
        options.connections = jobs(args.jobs).unwrap_or(0);
        let context = Context::new(&Silent).with_stop(session.stop.clone());
        let report = server.verify_backup(&choice, &options, &context);
        let report = report.map_err(|error| Failure::cloud_verify(tool.verb, &error))?;
        if report.is_ok() {
            output::verified(&session.output, &report);
            return Ok(());
        }
        Err(Failure::cloud_operation(output::faults(&report)))
    })
}
