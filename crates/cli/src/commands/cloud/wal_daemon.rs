//! `tapster cloud wal-daemon`.

use super::{Tool, stop_flag};
use crate::args::cloud::wal_archive::CloudWalDaemonArgs;
use crate::failure::Failure;
use crate::session::Session;

/// Archives for others until it is told to stop.
pub(crate) fn run(args: &CloudWalDaemonArgs, session: &Session) -> Result<(), Failure> {
    let tool = Tool { verb: "WAL archiver", args: &args.cloud, url: &args.url, server: &args.server };
    let stop = stop_flag()?;
    tool.run_with(args.how.encrypted(args.cloud.store_options()), |server| {
        let started = || session.output.raw_line(format!("Archiving WAL of {}", args.wal_dir.display()));
        server
            .serve_wal_archive(&args.wal_dir, &args.how.options(), &stop, started)
            .map_err(|error| Failure::cloud_wal_archive(&error))
    })
}
