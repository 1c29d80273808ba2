//! What the daemon does, as lines for people and for the log, each with the name of its server.

use std::sync::Arc;

use tapster_manager::daemon::{DaemonObserver, TaskEvent};
use tapster_manager::text::human_elapsed;
use tapster_manager::{Event, Observer as _};

use crate::failure::{Failure, Place};
use crate::invocation::Program;
use crate::observer::ConsoleObserver;
use crate::output::Output;

/// Prints what happens to all servers.
#[derive(Debug)]
pub(super) struct Printer {
    output: Arc<Output>,
    program: Program,
}

impl Printer {
    pub(super) const fn new(output: Arc<Output>, program: Program) -> Self {
        Self { output, program }
    }
}

impl DaemonObserver for Printer {
    fn event(&self, server: &str, event: &Event) {
        match event {
            Event::Archived { wal } => self.output.info(format!("{server}: {wal} archived")),
            Event::Duplicate { wal, .. } => self.output.error_without_failing(format!(
                "{server}: {wal} is already present with other content. File moved to errors directory."
            )),
            Event::LeftInQueue { wal, reason } => {
                self.output.warning(format!("{server}: {wal} is left in the queue: {reason}"));
            }
            Event::Archiving { .. } => {}
            Event::Warning(text) => self.output.warning(format!("{server}: {text}")),
            _ => ConsoleObserver::new(&self.output, server).event(event),
        }
    }

    fn task(&self, server: &str, event: &TaskEvent<'_>) {
        let output = &self.output;
        match event {
            TaskEvent::NotStarted { reason } => {
                output.info(format!("{server}: left alone, because {reason}"))
            }
            TaskEvent::Started { task } => output.debug(format!("{server}: {task} begins")),
            TaskEvent::Ended { task } => output.debug(format!("{server}: {task} has ended")),
            TaskEvent::Waiting { task, pid } => {
                let pid = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                output.info(format!("{server}: {pid} does {task}; waiting until it ends"));
            }
            TaskEvent::Failed { task, error, retry_in } => {
                let failure = Failure::task(&Place { program: self.program, server }, error);
                let again = human_elapsed(*retry_in);
                output.error_without_failing(format!(
                    "{server}: {task} failed, next attempt in {again}: {}",
                    failure.text()
                ));
            }
            TaskEvent::Recovered { task } => output.info(format!("{server}: {task} works again")),
            TaskEvent::Checked { report } if report.passed() => {
                output.debug(format!("{server}: check passed"))
            }
            TaskEvent::Checked { report } => {
                for line in report.lines.iter().filter(|line| !line.ok) {
                    let hint = line.hint.as_deref().map_or_else(String::new, |hint| format!(" ({hint})"));
                    output.warning(format!("{server}: check of {} failed{hint}", line.name));
                }
            }
            _ => {}
        }
    }
}
