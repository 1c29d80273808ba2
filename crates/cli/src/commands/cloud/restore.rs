//! `barman-cloud-restore`.

use std::path::PathBuf;

use tapster_manager::cloud::restore::{CloudRestoreOptions, CloudTarget};
use tapster_manager::restore::{TimelineTarget, parse_target_time};
use tapster_manager::{Context, Silent, local_now};
use walfile::Timeline;

use super::{Tool, jobs};
use crate::args::cloud::restore::CloudRestoreArgs;
use crate::args::values::TargetTli;
use crate::failure::Failure;
use crate::output::cloud_restore as output;
use crate::session::Session;

/// What errors call it.
const VERB: &str = "restore";

/// Restores a base backup, or shows how it would be done.
pub(crate) fn run(args: &CloudRestoreArgs, session: &Session) -> Result<(), Failure> {
    session.watch_signals()?;
    let tool = Tool { verb: VERB, args: &args.cloud, url: &args.url, server: &args.server };
    tool.run_with(args.memory.within(args.cloud.store_options()), |server| {
        if args.snapshot_recovery_instance.is_some() {
            return Err(Failure::cloud_refused(VERB, "Snapshots of disks are not supported"));
        }
        let Ok(choice) = args.backup.parse();
        let mut options = CloudRestoreOptions::new(choice, &args.destination);
        options.target = target(args)?;
        options.timeline = args.target_tli.map(timeline).transpose()?;
        options.tablespaces =
            args.tablespace.iter().map(|rule| relocation(rule)).collect::<Result<_, _>>()?;
        options.connections = jobs(args.jobs).unwrap_or(0);
        options.sync = args.sync_method.into();
        let failed = |error| Failure::cloud_restore(&error);
        let plan = server.plan_restore(&options).map_err(failed)?;
        output::warn(&plan);
        if args.dry_run {
            output::plan(&session.output, &plan);
            return Ok(());
        }
        let context = Context::new(&Silent).with_stop(session.stop.clone());
        let report = server.restore(&plan, &context).map_err(failed)?;
        output::log(&report);
        Ok(())
    })
}

fn target(args: &CloudRestoreArgs) -> Result<CloudTarget, Failure> {
    let targets = &args.targets;
    if let Some(text) = &targets.target_time {
        let time = parse_target_time(text, |_| local_now().offset()).map_err(|error| {
            let problem = format!("Unable to parse the target time parameter '{text}': {error}");
            Failure::cloud_refused(VERB, &problem)
        })?;
        return Ok(CloudTarget::Time(time));
    }
    let Some(text) = &targets.target_lsn else { return Ok(CloudTarget::End) };
    let lsn = text.parse().map_err(|_| Failure::cloud_refused(VERB, &format!("Invalid LSN: {text}")))?;
    Ok(CloudTarget::Lsn(lsn))
}

fn timeline(target: TargetTli) -> Result<TimelineTarget, Failure> {
    let refuse = |problem: &str| Failure::cloud_refused(VERB, problem);
    match target {
        TargetTli::Latest => Ok(TimelineTarget::Latest),
        TargetTli::Current => {
            Err(refuse("'current' is not a valid timeline keyword when recovering without a backup_id"))
        }
        TargetTli::Number(number) => Timeline::new(number)
            .map(TimelineTarget::Number)
            .ok_or_else(|| refuse(&format!("'{number}' is not a valid timeline"))),
    }
}

fn relocation(rule: &str) -> Result<(String, PathBuf), Failure> {
    match rule.split_once(':') {
        Some((name, location)) if !name.is_empty() && !location.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(location)))
        }
        _ => Err(Failure::cloud_rule(rule)),
    }
}
