//! `delete`.

use serde_json::json;
use tapster_catalog::Selector;
use tapster_catalog::delete::{DeleteError, DeletePlan};
use tapster_manager::Server;
use tapster_manager::text::pretty_bytes;

use crate::args::delete::DeleteArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Deletes one backup, what builds on it, and the WAL that nothing else needs.
pub(crate) fn run(args: &DeleteArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let server = setup.one(&args.server, Rules::CATALOG)?;
    let record = server.catalog().select(&Selector::from(args.backup.as_str()))?;
    session.watch_signals()?;
    let refuse = |error: &DeleteError| {
        let (reason, last) = Failure::delete(&setup.place(server.name()), record.id.as_str(), error);
        match reason {
            Some(reason) => session.output.failure(&reason),
            None => session.output.warning(error.to_string()),
        }
        last
    };
    let plan = server.plan_delete(&record).map_err(|error| refuse(&error))?;
    if args.dry_run {
        return show_plan(&setup, &server, &plan).map_err(|error| refuse(&error));
    }
    if plan.steps.len() > 1 {
        session.output.warning(format!(
            "Backup {} has incremental backups which depend on it. Deleting all backups in the tree",
            record.id
        ));
    }
    let observer = setup.observer(server.name());
    server.delete(&plan, &setup.context(&observer)).map_err(|error| refuse(&error))
}

/// What would go, without touching it.
fn show_plan(setup: &Setup<'_>, server: &Server, plan: &DeletePlan) -> Result<(), DeleteError> {
    let output = &setup.session.output;
    let mut steps = Vec::new();
    for step in &plan.steps {
        let wals = match &step.trim {
            Some(trim) => trim.listed(server.catalog(), &setup.session.stop)?,
            None => Vec::new(),
        };
        let size = step.record.size.unwrap_or(0);
        if output.is_json() {
            let wals: Vec<_> = wals.iter().map(ToString::to_string).collect();
            steps.push(json!({"backup_id": step.record.id.to_string(), "size_bytes": size, "wals": wals}));
            continue;
        }
        output.line(format!(
            "Would delete backup {} of server {} ({})",
            step.record.id,
            server.name(),
            pretty_bytes(size)
        ));
        if !wals.is_empty() {
            output.line("Would delete associated WAL segments:");
            for wal in wals {
                output.line(format!("\t{wal}"));
            }
        }
    }
    output.json_insert(server.name(), steps);
    if !output.is_json() {
        output.line("Nothing was deleted.");
    }
    Ok(())
}
