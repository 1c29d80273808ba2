//! `wal index`.

use serde_json::json;
use tapster_manager::WalIndexOptions;

use crate::args::wal::index::WalIndexArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Completes the index, or builds it anew.
pub(crate) fn run(args: &WalIndexArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let server = setup.one(&args.server, Rules::LOOK)?;
    let mut options = WalIndexOptions::default();
    options.rebuild = args.rebuild;
    options.jobs = args.jobs.map(|jobs| usize::try_from(jobs).unwrap_or(usize::MAX));
    session.watch_signals()?;
    let observer = setup.observer(server.name());
    let report = server.index_wal(&options, &setup.context(&observer))?;
    let output = &session.output;
    report.warnings.iter().for_each(|warning| output.error(warning));
    if output.is_json() {
        let value = json!({
            "directories": report.directories,
            "segments": report.segments,
            "scanned": report.scanned,
            "commits": report.commits,
            "warnings": report.warnings,
        });
        output.json_insert(server.name(), value);
    } else {
        output.line(format!(
            "The index of server {} holds {} WAL segments with {} commits; {} were read for it",
            server.name(),
            report.segments,
            report.commits,
            report.scanned
        ));
    }
    Ok(())
}
