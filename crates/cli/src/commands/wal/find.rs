//! `wal find`.

use tapster_manager::WalFindOptions;
use tapster_manager::restore::parse_target_time;
use tapster_manager::wal_find::{RelationFile, WalTarget};
use walfile::Timeline;
use walfile::record::Xid;

use crate::args::wal::find::WalFindArgs;
use crate::commands::restore::local_offset;
use crate::failure::Failure;
use crate::output::wal_find;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Searches, and fails when nothing is found.
pub(crate) fn run(args: &WalFindArgs, session: &Session) -> Result<(), Failure> {
    let target = target(args)?;
    let setup = Setup::new(session)?;
    let server = setup.one(&args.server, Rules::LOOK)?;
    let mut options = WalFindOptions::new(target);
    options.jobs = args.jobs.map(|jobs| usize::try_from(jobs).unwrap_or(usize::MAX));
    options.timeline = args.timeline.map(timeline).transpose()?;
    session.watch_signals()?;
    let observer = setup.observer(server.name());
    let report = server.find_wal(&options, &setup.context(&observer))?;
    wal_find::show(&session.output, &program(session), server.name(), &options.target, &report);
    Ok(())
}

fn target(args: &WalFindArgs) -> Result<WalTarget, Failure> {
    if let Some(text) = &args.time {
        let time = parse_target_time(text, local_offset);
        let time = time.map_err(|error| Failure::user(format!("--time: {error}")))?;
        return Ok(WalTarget::Time { time, around: usize::try_from(args.around).unwrap_or(usize::MAX) });
    }
    if let Some(xid) = args.xid {
        // As pg_current_xact_id() shows it, with the epoch in front, or without.
        return match walfile::record::FullXid::new(xid).xid() {
            Xid::INVALID => Err(Failure::user(format!("--xid: no transaction has the number {xid}"))),
            xid => Ok(WalTarget::Xid(xid)),
        };
    }
    if let Some(name) = &args.restore_point {
        return Ok(WalTarget::RestorePoint(name.clone()));
    }
    let (text, cut) = match (&args.dropped, &args.truncated) {
        (Some(text), _) => (text, false),
        (None, text) => (text.as_ref().ok_or_else(|| Failure::user("nothing to search for"))?, true),
    };
    let file: RelationFile = text.parse().map_err(|error| Failure::user(format!("{error}")))?;
    Ok(WalTarget::Removed { file, cut })
}

fn timeline(number: u64) -> Result<Timeline, Failure> {
    let number = u32::try_from(number).ok().and_then(Timeline::new);
    number.ok_or_else(|| Failure::user("--timeline: there is no such timeline"))
}

/// How this program was called, for the command that is printed.
fn program(session: &Session) -> Vec<String> {
    let mut words = vec![session.program.name().to_owned()];
    if let Some(config) = &session.global.config {
        let path = std::path::absolute(config).unwrap_or_else(|_| config.clone());
        words.extend(["-c".to_owned(), path.to_string_lossy().into_owned()]);
    }
    words
}
