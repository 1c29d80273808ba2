//! `wal inspect`.

use std::io;
use std::ops::ControlFlow;

use tapster_manager::restore::parse_target_time;
use tapster_manager::wal_inspect::{
    Found, SegmentFiles, WalInspectError, WalInspectOptions, WalStatistics, inspect_wal,
};
use tapster_manager::{Context, Silent};
use walfile::record::Timestamp;
use walfile::rmgr::Rmgr;

use crate::args::wal::inspect::{RmgrChoice, WalInspectArgs};
use crate::failure::Failure;
use crate::format::zone::LocalZone;
use crate::output::wal_inspect::{Printer, statistics_json, statistics_text};
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Shows records, or statistics of them.
pub(crate) fn run(args: &WalInspectArgs, session: &Session) -> Result<(), Failure> {
    let output = &session.output;
    if args.rmgr.contains(&RmgrChoice::List) {
        Rmgr::all().for_each(|rmgr| output.raw_line(rmgr.to_string()));
        return Ok(());
    }
    if args.block.is_some() && args.relation.is_none() {
        return Err(Failure::wal_inspect("option -B/--block requires option -R/--relation to be specified"));
    }
    output.own_json();
    session.watch_signals()?;
    let mut statistics = args.stats.map(|_| WalStatistics::default());
    let zone = LocalZone::new(session.environment.time_zone.as_deref());
    let mut printer = Printer::new(output, args.bkp_details, zone).map_err(Failure::wal_inspect)?;
    let quiet = args.quiet || session.global.quiet;
    let mut failed: io::Result<()> = Ok(());
    let mut damaged = None;
    let mut visit = |found: Found<'_>| {
        let done = match (found, &mut statistics) {
            (Found::First { wanted, found, segment_start }, statistics) => {
                if let Some(statistics) = statistics {
                    statistics.begin(found);
                }
                if wanted == found || segment_start { Ok(()) } else { printer.skipped(wanted, found) }
            }
            (Found::Waiting, _) => printer.flush(),
            (Found::Record(..), _) if quiet => Ok(()),
            (Found::Record(record), statistics) => {
                let done = match statistics {
                    Some(statistics) => statistics.add(record).map(Ok),
                    None => record.parts().map(|parts| printer.record(record, &parts)),
                };
                match done {
                    Ok(done) => done,
                    Err(source) => {
                        damaged = Some(WalInspectError::Parts { lsn: record.lsn, source });
                        return ControlFlow::Break(());
                    }
                }
            }
            _ => Ok(()),
        };
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Err(error);
                ControlFlow::Break(())
            }
        }
    };
    let read = read(args, session, &mut visit);
    let told = failed.and_then(|()| {
        if let Some((statistics, kind)) = statistics.as_ref().zip(args.stats).filter(|_| !quiet) {
            match output.is_json() {
                true => statistics_json(printer.out(), statistics, kind)?,
                false => statistics_text(printer.out(), statistics, kind)?,
            }
        }
        printer.flush()
    });
    match told {
        // Whoever read the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::wal_inspect(format!("could not write to standard output: {error}"))),
        Ok(()) => damaged.map_or(read, |error| Err(error.into())),
    }
}

fn read(
    args: &WalInspectArgs,
    session: &Session,
    visit: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let mut options = options(args)?;
    let context = Context::new(&Silent).with_stop(std::sync::Arc::clone(&session.stop));
    if let Some(name) = &args.server {
        let setup = Setup::new(session)?;
        let server = setup.one(name, Rules::LOOK)?;
        let names = args.files.iter().map(|file| SegmentFiles::name_of(file));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        (options.span.first, options.span.last) = (names.first().copied(), last(&names));
        return Ok(server.inspect_wal(&options, &context, visit)?);
    }
    let files = if args.files.is_empty() {
        let here = match &args.path {
            _ if options.span.start.is_none() => return Err(WalInspectError::NoStart.into()),
            Some(path) => SegmentFiles::in_directory(path),
            None => SegmentFiles::in_directory(std::path::Path::new(".")),
        };
        here?
    } else {
        let (files, names) = SegmentFiles::of(&args.files, args.path.as_deref())?;
        (options.span.first, options.span.last) = (names.first().copied(), last(&names));
        files
    };
    Ok(inspect_wal(&files, &options, &context, visit)?)
}

/// The last of several.
fn last<T: Copy>(names: &[T]) -> Option<T> {
    names.last().copied().filter(|_| names.len() > 1)
}

fn options(args: &WalInspectArgs) -> Result<WalInspectOptions, Failure> {
    let mut options = WalInspectOptions::default();
    options.span.timeline = args.timeline;
    (options.span.start, options.span.end) = (args.start, args.end);
    options.limit = args.limit.unwrap_or(0);
    options.follow = args.follow;
    let filter = &mut options.filter;
    filter.rmgrs = args
        .rmgr
        .iter()
        .filter_map(|choice| match choice {
            RmgrChoice::Only(rmgr) => Some(*rmgr),
            RmgrChoice::List => None,
        })
        .collect();
    (filter.xid, filter.relation) = (args.xid, args.relation);
    (filter.block, filter.fork, filter.full_page) = (args.block, args.fork, args.fullpage);
    (filter.from, filter.to) = (time(args.from.as_deref())?, time(args.to.as_deref())?);
    Ok(options)
}

fn time(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let time = parse_target_time(text, super::super::restore::local_offset).map_err(Failure::wal_inspect)?;
    let micros = time.unix_timestamp_nanos() / 1000 - i128::from(Timestamp::from_micros(0).unix_micros());
    Ok(i64::try_from(micros).ok().map(Timestamp::from_micros))
}
