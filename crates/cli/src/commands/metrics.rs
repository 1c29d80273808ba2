//! `metrics`.

use tapster_manager::metrics::{self, MetricsCollector};
use tapster_manager::{Context, Silent};

use crate::args::metrics::MetricsArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Prints metrics of the servers now; of inactive ones only when they are named.
pub(crate) fn run(args: &MetricsArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    session.output.own_json();
    let context = Context::new(&Silent).with_stop(session.stop.clone());
    let samples: Vec<_> = if args.servers.is_empty() {
        let collect = |server| MetricsCollector::default().collect(&server, &context);
        setup.working_servers().map(collect).collect()
    } else {
        let collect = |server| MetricsCollector::default().collect(&server, &context);
        setup.servers(&args.servers, Rules::LOOK).map(collect).collect()
    };
    if session.stopped() {
        return Err(Failure::interrupted());
    }
    for sample in &samples {
        for (_, problem) in &sample.problems {
            session.output.warning(format!("{}: {problem}", sample.server));
        }
    }
    session.output.raw_line(metrics::render(&samples, context.now()).trim_end());
    Ok(())
}
