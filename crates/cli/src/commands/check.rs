//! `check`.

use std::time::Duration;

use tapster_manager::CheckOptions;

use crate::args::check::CheckArgs;
use crate::failure::Failure;
use crate::output::check;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Checks servers; the exit code says whether all active ones passed.
pub(crate) fn run(args: &CheckArgs, session: &Session) -> Result<(), Failure> {
    if args.nagios {
        return nagios(args, session);
    }
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    for server in setup.servers(&args.servers, Rules::LOOK) {
        let observer = setup.observer(server.name());
        check::show_heading(&session.output, server.config());
        let report = server.check(&options(args), &setup.context(&observer));
        check::show(&session.output, &report);
    }
    Ok(())
}

fn options(args: &CheckArgs) -> CheckOptions {
    let mut options = CheckOptions::default();
    options.timeout = args.check_timeout.map(Duration::from_secs);
    options.extended = args.extended;
    options
}

/// One line on stdout whatever happens: that is all Nagios reads.
fn nagios(args: &CheckArgs, session: &Session) -> Result<(), Failure> {
    session.output.silence();
    let reports = Setup::new(session).and_then(|setup| {
        session.watch_signals()?;
        let mut reports = Vec::new();
        for server in setup.servers(&args.servers, Rules::LOOK) {
            let observer = tapster_manager::Silent;
            let context = tapster_manager::Context::new(&observer).with_stop(session.stop.clone());
            reports.push(server.check(&options(args), &context));
        }
        Ok(reports)
    });
    let (text, code) = match reports {
        Ok(reports) if !session.output.has_failed() => check::nagios(&reports),
        _ => ("BARMAN CRITICAL - Global configuration errors".to_owned(), 2),
    };
    session.output.raw_line(text);
    if code == 0 { Ok(()) } else { Err(Failure::reported(code)) }
}
