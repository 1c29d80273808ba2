//! `run`.

mod metrics_file;
mod notify;
mod printer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::SIGHUP;
use tapster_manager::daemon::{DaemonMetrics, DaemonOptions, Supervisor};
use tapster_manager::local_now;
use tapster_manager::metrics::{self, MetricsListener};

use crate::args::run::RunArgs;
use crate::commands::config_update;
use crate::failure::Failure;
use crate::logging;
use crate::session::Session;
use crate::startup::Setup;
use metrics_file::MetricsFile;
use notify::Notifier;
use printer::Printer;

/// How often changes of the configuration that `config-update` could not make are tried again.
const QUEUE_INTERVAL: Duration = Duration::from_secs(60);

/// How often signals and times are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Looks after all servers until a signal ends it.
pub(crate) fn run(args: &RunArgs, session: &Session) -> Result<(), Failure> {
    if session.output.is_json() {
        return Err(Failure::user("run has no result that could be shown as JSON"));
    }
    let reload = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGHUP, Arc::clone(&reload))
        .map_err(|error| Failure::unexpected(format!("cannot install signal handlers: {error}")))?;
    let setup = Setup::new(session)?;
    session.watch_signals()?;
    let mut options = DaemonOptions::default();
    options.check_interval = args.check_interval.map(Duration::from_secs);
    let interval = Duration::from_secs(args.metrics_interval);
    options.metrics_interval =
        (args.metrics_listen.is_some() || args.metrics_file.is_some()).then_some(interval);
    #[cfg(feature = "cloud")]
    {
        options.object_stores = crate::environment::of_clouds();
    }
    let printer = Printer::new(Arc::clone(&session.output), session.program);
    let mut daemon = Supervisor::start(setup.config.clone(), setup.libpq(), options, Arc::new(printer))?;
    let _listener = listen(args, &daemon, session)?;
    let mut file =
        args.metrics_file.as_ref().map(|path| MetricsFile::new(path.clone(), daemon.metrics(), interval));

    let mut notifier = Notifier::new(&session.environment);
    notifier.send(&format!("READY=1\nSTATUS={}", status(&daemon)));
    session.output.info(status(&daemon));
    let servers: Vec<String> = daemon.servers().map(str::to_owned).collect();
    show_warnings(&daemon, &servers, &setup);
    let mut next_look = Instant::now();
    while !session.stopped() {
        if Instant::now() >= next_look {
            next_look = Instant::now() + QUEUE_INTERVAL;
            match config_update::work_off_queue(daemon.config(), &session.output) {
                Ok(changed) => drop(reload.fetch_or(changed, Ordering::Relaxed)),
                Err(failure) => session.output.error_without_failing(failure.text()),
            }
        }
        if reload.swap(false, Ordering::Relaxed) {
            notifier.reloading();
            if let Some(problem) = logging::reopen() {
                session.output.warning(problem);
            }
            read_again(&mut daemon, &setup, &mut || notifier.alive());
            notifier.send(&format!("READY=1\nSTATUS={}", status(&daemon)));
        }
        if let Some(file) = &mut file {
            file.write_when_due(session);
        }
        notifier.alive();
        std::thread::sleep(LOOK);
    }
    notifier.send("STOPPING=1\nSTATUS=Stopping");
    session.output.info("Stopping");
    daemon.stop_with(&mut || notifier.alive());
    session.output.info("Stopped");
    Ok(())
}

fn status(daemon: &Supervisor) -> String {
    let names: Vec<&str> = daemon.servers().collect();
    match names.as_slice() {
        [] => "Looking after no server".to_owned(),
        names => format!("Looking after {}", names.join(", ")),
    }
}

fn listen(
    args: &RunArgs,
    daemon: &Supervisor,
    session: &Session,
) -> Result<Option<MetricsListener>, Failure> {
    let Some(address) = args.metrics_listen else { return Ok(None) };
    let source = daemon.metrics();
    let listener = MetricsListener::start(address, Arc::new(move || text(&source)))
        .map_err(|error| Failure::user(format!("cannot listen on {address}: {error}")))?;
    session.output.info(format!("Metrics at http://{}/metrics", listener.address()));
    Ok(Some(listener))
}

fn text(source: &DaemonMetrics) -> String {
    metrics::render(&source.samples(), local_now())
}

/// What is wrong with the new configuration is told; the old one stays in force then.
fn read_again(daemon: &mut Supervisor, setup: &Setup<'_>, meanwhile: &mut dyn FnMut()) {
    let output = &setup.session.output;
    let done = match daemon.reload_with(&setup.sources(), meanwhile) {
        Ok(done) => done,
        Err(error) => {
            let failure = Failure::from(error);
            output.error_without_failing(format!("the configuration stays as it was: {}", failure.text()));
            return;
        }
    };
    for warning in &daemon.config().warnings {
        setup.show_warning(warning);
    }
    show_warnings(daemon, &done.changed, setup);
    show_warnings(daemon, &done.added, setup);
    for (server, problems) in &done.kept {
        let problems = problems.join("; ");
        output.error_without_failing(format!("{server}: its settings stay as they were: {problems}"));
    }
    let parts = [("new", &done.added), ("changed", &done.changed), ("gone", &done.removed)];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<String> = parts.map(|(word, names)| format!("{word}: {}", names.join(", "))).collect();
    let parts = if parts.is_empty() { "no server changed".to_owned() } else { parts.join("; ") };
    output.info(format!("Configuration read again; {parts}"));
}

fn show_warnings(daemon: &Supervisor, servers: &[String], setup: &Setup<'_>) {
    let servers = servers.iter().filter_map(|name| daemon.config().servers.get(name));
    servers.flat_map(|server| &server.warnings).for_each(|warning| setup.show_warning(warning));
}
