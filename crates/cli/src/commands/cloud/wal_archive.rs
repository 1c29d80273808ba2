//! `barman-cloud-wal-archive`.

use std::sync::atomic::AtomicBool;

use tapster_manager::cloud::CloudWalError;

use super::{Tool, logged};
use crate::args::cloud::wal_archive::CloudWalArchiveArgs;
use crate::environment;
use crate::failure::Failure;
use crate::session::Session;

/// Archives one file, and others that are ready with it. Signals may end it as they do by themselves: then nothing was acknowledged.
pub(crate) fn run(args: &CloudWalArchiveArgs, _session: &Session) -> Result<(), Failure> {
    let tool = Tool { verb: "WAL archiver", args: &args.cloud, url: &args.url, server: &args.server };
    let mut options = args.how.options();
    options.take_over = args.take_over;
    let path = match environment::hooked_wal(args.wal_path.as_deref()) {
        Ok(path) => path,
        Err(message) => {
            tool.start_logging();
            return Err(logged(Failure::cloud_usage(message)));
        }
    };
    tool.run_at(args.how.encrypted(args.cloud.store_options()), |place| {
        let report =
            place.archive_wal(&path, &options, &AtomicBool::new(false)).map_err(|error| match error {
                CloudWalError::Name { .. } => Failure::cloud_usage(error.to_string()),
                error => Failure::cloud_wal_archive(&error),
            })?;
        for warning in report.warnings {
            tracing::warn!("{warning}");
        }
        let ahead = report.ahead.len();
        tracing::info!("{} is archived ({:?}), and {ahead} others", report.name, report.archived);
        Ok(())
    })
}
