//! `config-update`.

use tapster_catalog::durable::RealDisk;
use tapster_catalog::locks::LockError;
use tapster_manager::config::{Config, UpdateError, UpdateStep};

use crate::args::config_update::ConfigUpdateArgs;
use crate::commands::config_switch::restart_receivers;
use crate::failure::{Failure, chain};
use crate::output::Output;
use crate::session::Session;
use crate::startup::Setup;

/// Changes the configuration files.
pub(crate) fn run(args: &ConfigUpdateArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let mut told = |step: &UpdateStep| show(&session.output, step);
    let sections = setup
        .config
        .update(&args.changes, &RealDisk, &mut told)
        .map_err(|error| Failure::update(&session.output, &error))?;
    if sections.is_empty() { Ok(()) } else { restart_receivers(&setup, &sections) }
}

/// Makes the changes that an earlier run left in the queue. Whether any were made; then the configuration is to be read again.
///
/// # Errors
/// A change cannot be made; it stays in the queue.
pub(super) fn work_off_queue(config: &Config, output: &Output) -> Result<bool, Failure> {
    match config.apply_queue(&RealDisk, &mut |step| show(output, step)) {
        Ok(sections) => return Ok(!sections.is_empty()),
        Err(UpdateError::Lock(LockError::Busy { .. })) => {
            output.warning("another process is updating barman configuration files");
        }
        Err(UpdateError::Queue { path, reason }) => output
            .warning(format!("Malformed or empty configuration change queue: {} ({reason})", path.display())),
        Err(error) => return Err(Failure::user(chain(&error))),
    }
    Ok(false)
}

/// Tells of a change that was made, or never can be.
fn show(output: &Output, step: &UpdateStep) {
    let change = match step {
        UpdateStep::Applied(change) => change,
        UpdateStep::Dropped(dropped) => {
            return output.warning(format!(
                "Dropping the queued change of {} for section '{}': {}",
                dropped.keys.join(", "),
                dropped.section,
                dropped.reason
            ));
        }
        UpdateStep::Waiting(waiting) => {
            return output.warning(format!(
                "The queued change of {} for section '{}' cannot be made until all of the configuration can be read: {}",
                waiting.keys.join(", "),
                waiting.section,
                waiting.reason
            ));
        }
        _ => return,
    };
    let from = change.from.as_deref().unwrap_or("None");
    output.info(format!(
        "Changing value of option '{}' for section '{}' from '{from}' to '{}' through config-update.",
        change.key, change.section, change.to
    ));
}
