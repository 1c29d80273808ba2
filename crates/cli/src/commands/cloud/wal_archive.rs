//! `barman-cloud-wal-archive`.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use tapster_manager::cloud::{
    CloudArchiveOptions, CloudServer, CloudWalError, DaemonAnswer, archive_by_daemon, is_archived_ahead,
};

use super::{Tool, logged};
use crate::args::cloud::wal_archive::CloudWalArchiveArgs;
use crate::environment;
use crate::failure::Failure;
use crate::session::Session;

/// Archives one file, and others that are ready with it. Signals may end it as they do by themselves: then nothing was acknowledged.
pub(crate) fn run(args: &CloudWalArchiveArgs, _session: &Session) -> Result<(), Failure> {
    let tool = Tool { verb: "WAL archiver", args: &args.cloud, url: &args.url, server: &args.server };
    let store = args.how.encrypted(args.cloud.store_options());
    let mut options = args.how.options();
    options.take_over = args.take_over;
    let path = match environment::hooked_wal(args.wal_path.as_deref()) {
        Ok(path) => path,
        Err(message) => {
            tool.start_logging();
            return Err(logged(Failure::cloud_usage(message)));
        }
    };
    let mut not_there = None;
    if !args.cloud.test
        && let Some(place) = tool.identity(&store)
    {
        if is_archived_ahead(&place, &args.server, &path, &options).is_ok_and(|is_there| is_there) {
            return Ok(());
        }
        match archive_by_daemon(&place, &args.server, &path, &store, &options) {
            Some(DaemonAnswer::Archived(_)) => return Ok(()),
            // Its credentials may have ended, its files be out of its sight.
            Some(DaemonAnswer::Failed(why)) => not_there = Some(why),
            _ => {}
        }
    }
    tool.run_with(store, |server| {
        if let Some(why) = not_there {
            tracing::warn!("the process that archives for others could not, which is done here: {why}");
        }
        archive(server, &path, &options)
    })
}

fn archive(server: &CloudServer, path: &Path, options: &CloudArchiveOptions) -> Result<(), Failure> {
    let path: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match server.wal_archive(&path, options, &AtomicBool::new(false)) {
        Ok(report) => {
            for warning in report.warnings {
                tracing::warn!("{warning}");
            }
            tracing::info!(
                "{} is archived ({:?}), and {} others",
                report.name,
                report.archived,
                report.ahead.len()
            );
            Ok(())
        }
        Err(error @ CloudWalError::Name { .. }) => Err(Failure::cloud_usage(error.to_string())),
        Err(error) => Err(Failure::cloud_wal_archive(&error)),
    }
}
