//! `tapster cloud get-wal`.

use walfile::WalName;

use super::Tool;
use crate::args::cloud::get_wal::CloudGetWalArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// Sends one WAL file, or says which ones could be sent.
pub(crate) fn run(args: &CloudGetWalArgs, session: &Session) -> Result<(), Failure> {
    let tool = Tool { verb: "get WAL", args: &args.cloud, url: &args.url, server: &args.server };
    let done = tool.run(|server| {
        let failed = |error| Failure::cloud_get_wal(tool.verb, &error);
        let name: WalName = args
            .wal
            .parse()
            .map_err(|_| Failure::cloud_usage(format!("'{}' is not a valid wal file name", args.wal)))?;
        if let Some(count) = args.peek {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            for name in server.peek_wal(name, count).map_err(failed)? {
                session.output.raw_line(name.to_string());
            }
            return Ok(());
        }
        let mut stdout = Output::stdout_bytes().map_err(|error| {
            Failure::cloud_wal(tool.verb, format!("cannot write to standard output: {error}"))
        })?;
        server.get_wal(name, args.partial, &mut stdout).map(drop).map_err(failed)
    });
    // A test is no restore_command, and tells what it found.
    if args.cloud.test { done } else { done.map_err(Failure::stopping_recovery) }
}
