//! `config-switch`.

use tapster_manager::{CronJob, ModelSwitched, ReceiverRestart};

use crate::args::config_switch::ConfigSwitchArgs;
use crate::commands::cron;
use crate::failure::Failure;
use crate::output::fact::Fact;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Changes the active model of a server.
pub(crate) fn run(args: &ConfigSwitchArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let output = &session.output;
    if args.model.is_none() && !args.reset {
        return Err(Failure::user("Either a model name or '--reset' flag need to be given"));
    }
    let server = setup.one(&args.server, Rules::LOOK)?;
    let name = server.name();
    if let Some(model) = args.model.as_ref().filter(|_| !args.reset) {
        match server.switch_model(&setup.config, model)? {
            ModelSwitched::Applied(changes) => {
                output.info(format!("Applying model '{model}' to server '{name}'"));
                for change in changes {
                    let [from, to] =
                        [&change.from, &change.to].map(|v| Fact::setting(change.key, v).to_text());
                    output.info(format!(
                        "Changing value of option '{}' for server '{name}' from '{from}' to '{to}' through the model \
                         '{model}'",
                        change.key
                    ));
                }
            }
            _ => output.info(format!("Model '{model}' is already active for server '{name}', skipping...")),
        }
    } else {
        output.info(format!("Resetting the active model for the server {name}"));
        server.reset_model().map_err(|error| Failure::user(error.to_string()))?;
    }
    restart_receivers(&setup, &[name.to_owned()])
}

/// Has the receivers of these servers begin anew with the configuration as it is now.
pub(super) fn restart_receivers(setup: &Setup<'_>, names: &[String]) -> Result<(), Failure> {
    let output = &setup.session.output;
    let config = setup.read_again()?;
    let mut told = None;
    // A changed model changes the servers that work by it.
    let concerned = config.servers.values().filter(|server| {
        let is_named = |name: &str| names.iter().any(|n| n == name);
        is_named(server.name.as_str()) || server.active_model.as_deref().is_some_and(is_named)
    });
    for server in concerned {
        let server = setup.open(&config, server.name.as_str())?;
        let name = server.name().to_owned();
        let observer = setup.observer(&name);
        let mut launch = |job: &CronJob| cron::start(setup, &job.command(&name), false);
        match server.restart_receiver(&mut launch, &setup.context(&observer)) {
            Ok(ReceiverRestart::DaemonTold { pid }) => told = Some(pid),
            Ok(ReceiverRestart::Restarted { stopped }) => {
                for process in &stopped {
                    output.info(format!("Stopped process {}({})", process.task, process.pid));
                }
                if !stopped.is_empty() && server.config().disabled {
                    let problems = server.config().problems.join("; ");
                    output.error(format!(
                        "No WAL is received from server {name}, which is disabled: {problems}"
                    ));
                }
            }
            Ok(_) => {}
            Err(error) => output.failure(&Failure::cron(&error)),
        }
    }
    if let Some(pid) = told {
        output.info(format!("The daemon (process {pid}) reads the configuration again"));
    }
    Ok(())
}
