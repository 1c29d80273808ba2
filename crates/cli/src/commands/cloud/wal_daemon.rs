//! `tapster cloud wal-daemon`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::Tool;
use crate::args::cloud::wal_archive::CloudWalDaemonArgs;
use crate::failure::Failure;
use crate::session::Session;

/// Archives for others until it is told to stop.
pub(crate) fn run(args: &CloudWalDaemonArgs, session: &Session) -> Result<(), Failure> {
    let tool = Tool { verb: "WAL archiver", args: &args.cloud, url: &args.url, server: &args.server };
    let stop: Arc<AtomicBool> = Arc::default();
    for signal in [SIGTERM, SIGINT] {
        // A second one ends it at once.
        flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Failure::unexpected(format!("cannot install signal handlers: {error}")))?;
    }
    tool.run_with(args.how.encrypted(args.cloud.store_options()), |server| {
        let started = || session.output.raw_line(format!("Archiving WAL of {}", args.wal_dir.display()));
        server
            .serve_wal_archive(&args.wal_dir, &args.how.options(), &stop, started)
            .map_err(|error| Failure::cloud_wal_archive(&error))
    })
}
