//! `report`.

use tapster_catalog::durable::{self, RealDisk};
use tapster_manager::ReportOptions;
use tapster_manager::report::reports;
use time::UtcOffset;

use crate::args::report::ReportArgs;
use crate::failure::Failure;
use crate::output::{report, report_html};
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Shows the state of servers, all unless some are named, or writes it as a page.
pub(crate) fn run(args: &ReportArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    let all = ["all".to_owned()];
    let names = if args.servers.is_empty() { all.as_slice() } else { &args.servers };
    let servers: Vec<_> = setup.servers(names, Rules::LOOK).collect();
    let mut options = ReportOptions::default();
    options.check = !args.no_check;
    let observer = setup.observer("");
    let context = setup.context(&observer);
    let reports = reports(&servers, &options, &context);
    if session.stopped() {
        return Err(Failure::interrupted());
    }
    let now = context.now();
    report::show(&session.output, &reports, now);
    if let Some(path) = &args.html {
        let zone = |time| UtcOffset::local_offset_at(time).unwrap_or(now.offset());
        let page = report_html::page(&reports, now, &zone);
        durable::replace(&RealDisk, path, page.as_bytes()).map_err(|error| Failure::report_file(&error))?;
        if !session.output.is_json() {
            session.output.line(format!("Report written to {}", path.display()));
        }
    }
    Ok(())
}
