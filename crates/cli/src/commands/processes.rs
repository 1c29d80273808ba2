//! `list-processes` and `terminate-process`.

use serde_json::{Value, json};

use crate::args::processes::{ListProcessesArgs, TerminateProcessArgs};
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Lists the processes that work for a server.
pub(crate) fn list(args: &ListProcessesArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let Some(server) = setup.server(&args.server, Rules::ACTIVE)? else { return Ok(()) };
    let output = &session.output;
    let processes = server.processes().map_err(|error| Failure::process(&error))?;
    if output.is_json() {
        let list = processes
            .iter()
            .map(|process| json!({"name": process.task.as_str(), "pid": process.pid}))
            .collect();
        output.json_insert(server.name(), Value::Array(list));
    } else if processes.is_empty() {
        output.info(format!("No active subprocesses found for server {}.", server.name()));
    } else {
        output.info(format!("Active subprocesses for server {}:", server.name()));
        for process in processes {
            output.info(format!("{} {}", process.pid, process.task));
        }
    }
    Ok(())
}

/// Ends what processes do for a server.
pub(crate) fn terminate(args: &TerminateProcessArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let Some(server) = setup.server(&args.server, Rules::ACTIVE)? else { return Ok(()) };
    for process in server.terminate(&args.task).map_err(|error| Failure::process(&error))? {
        session.output.info(format!("Stopped process {}({})", process.task, process.pid));
    }
    Ok(())
}
