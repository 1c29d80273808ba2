//! `barman-cloud-check-wal-archive`.

use tapster_manager::cloud::{CheckWalArchiveError, CloudWalError};
use walfile::Timeline;

use super::Tool;
use crate::args::cloud::check_wal_archive::CloudCheckWalArchiveArgs;
use crate::failure::Failure;
use crate::session::Session;

/// Looks whether there is WAL that a new cluster must not be mixed with.
pub(crate) fn run(args: &CloudCheckWalArchiveArgs, _session: &Session) -> Result<(), Failure> {
    let verb = "WAL archive check";
    let tool = Tool { verb, args: &args.cloud, url: &args.url, server: &args.server };
    tool.run(|server| {
        // A timeline has 32 bits; there is no WAL of a later one.
        let timeline = args.timeline.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        server.check_wal_archive(timeline.and_then(Timeline::new)).map_err(|error| match error {
            CheckWalArchiveError::Store(error) | CheckWalArchiveError::Wal(CloudWalError::Store(error)) => {
                Failure::cloud_connectivity(verb, &error)
            }
            CheckWalArchiveError::Wal(error) => Failure::cloud_wal(verb, error.to_string()),
            error => Failure::cloud_operation(format!(
                "WAL archive check failed for server {}: {error}",
                args.server
            )),
        })
    })
}
