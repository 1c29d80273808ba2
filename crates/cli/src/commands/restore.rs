//! `restore`.

use std::path::{Path, PathBuf};

use tapster_catalog::{Selector, UtcOffset};
use tapster_manager::restore::{
    BackupChoice, RecoveryTarget, TargetAction, TimelineTarget, parse_target_time,
};
use tapster_manager::{RestoreOptions, Server};
use time::PrimitiveDateTime;
use walfile::{Lsn, Timeline};

use super::{archive_wal, restore_remote};
use crate::args::restore::{RestoreArgs, Targets};
use crate::args::values;
use crate::failure::Failure;
use crate::invocation::Program;
use crate::output::restore as output;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Restores a backup, or shows how it would be done.
pub(crate) fn run(args: &RestoreArgs, session: &Session) -> Result<(), Failure> {
    refuse_unsupported(args)?;
    let targets = &args.targets;
    let target = target(targets)?;
    let tablespaces = args.tablespace.iter().map(|rule| relocation(rule)).collect::<Result<_, _>>()?;
    let setup = Setup::new(session)?;
    let server = setup.one(&args.server, Rules::CATALOG)?;
    if targets.target_time.as_deref().is_some_and(has_no_zone) {
        session.output.warning(
            "No time zone has been specified through '--target-time' command-line option. Barman assumed the same time zone from \
             the Barman host.",
        );
    }
    session.watch_signals()?;
    let mut options = RestoreOptions::new(choice(&args.backup, &server)?, destination(args)?);
    options.tablespaces = tablespaces;
    options.target = target;
    options.timeline = targets.target_tli.map(timeline).transpose()?;
    options.exclusive = targets.exclusive;
    options.action = args.target_action.map(action);
    options.get_wal = args.get_wal();
    options.partial_wal = args.partial_wal;
    options.standby_mode = args.standby_mode;
    options.primary_conninfo.clone_from(&args.primary_conninfo);
    options.primary_slot_name.clone_from(&args.primary_slot_name);
    options.staging_wal_directory.clone_from(&args.staging_wal_directory);
    options.recovery_conf_filename.clone_from(&args.recovery_conf_filename);
    options.restore_command.clone_from(&args.restore_command);
    options.combine_mode = args.combine_mode.map(|mode| mode.name().to_owned());
    options.jobs = args.jobs.map(jobs);
    options.sync = args.sync_method.into();
    options.program = program(session)?;
    restore_remote::apply(args, &setup, &server, &mut options)?;
    restore(args, &options, &setup, &server)
}

fn restore(
    args: &RestoreArgs,
    options: &RestoreOptions,
    setup: &Setup<'_>,
    server: &Server,
) -> Result<(), Failure> {
    let out = &setup.session.output;
    let observer = setup.observer(server.name());
    let context = setup.context(&observer);
    // A dry run changes nothing, so it judges by what is archived and queued now.
    if !args.dry_run
        && let Err(failure) = archive_wal::archive(setup, server, &observer)
    {
        out.warning(failure.text());
    }
    let plan = server.plan_restore(options, &context).map_err(|error| {
        let way = if Failure::may_have_another_way(&error) {
            server.other_way(options, &context)
        } else {
            Ok(None)
        };
        Failure::plan(&setup.place(server.name()), &error, way.ok().flatten().as_ref())
    })?;
    if args.dry_run {
        output::show_plan(out, server.name(), &plan);
        return Ok(());
    }
    if args.restore_command.is_some() && !plan.get_wal {
        out.warning("--restore-command is used together with get-wal only; it was ignored");
    }
    let result = server.restore(plan, &context);
    out.stop_progress();
    output::show(out, &result.map_err(|error| Failure::restore(&error))?);
    Ok(())
}

fn refuse_unsupported(args: &RestoreArgs) -> Result<(), Failure> {
    for (given, option) in [
        (args.snapshot_recovery_instance.is_some(), "--snapshot-recovery-instance"),
        (args.snapshot_recovery_zone.is_some(), "--snapshot-recovery-zone"),
        (args.gcp_zone.is_some(), "--gcp-zone"),
        (args.azure_resource_group.is_some(), "--azure-resource-group"),
        (args.aws_region.is_some(), "--aws-region"),
    ] {
        if given {
            return Err(Failure::user(format!("{option} is not supported by this version")));
        }
    }
    Ok(())
}

/// Threads, as many as are of use.
pub(super) fn jobs(jobs: u64) -> usize {
    usize::try_from(jobs).unwrap_or(usize::MAX).min(64)
}

/// Which backup was meant.
pub(super) fn choice(backup: &str, server: &Server) -> Result<BackupChoice, Failure> {
    if backup == "auto" {
        return Ok(BackupChoice::Auto);
    }
    let record = server.catalog().select(&Selector::from(backup))?;
    if !record.status.is_copied() {
        return Err(Failure::user(format!(
            "Cannot restore from backup '{}' of server '{}': backup status is not DONE",
            backup,
            server.name()
        )));
    }
    Ok(BackupChoice::Record(Box::new(record)))
}

fn destination(args: &RestoreArgs) -> Result<PathBuf, Failure> {
    if args.destination.to_string_lossy().contains(':') {
        return Err(Failure::user("The destination directory parameter cannot contain the ':' character")
            .with_hint(
                "If you want to do a remote recovery you have to use the --remote-ssh-command option",
            ));
    }
    Ok(args.destination.clone())
}

fn relocation(rule: &str) -> Result<(String, PathBuf), Failure> {
    match rule.split_once(':') {
        Some((name, location)) if !name.is_empty() && !location.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(location)))
        }
        _ => Err(Failure::user(format!("Invalid tablespace relocation rule '{rule}'"))
            .with_hint("The valid syntax for a relocation rule is NAME:LOCATION")),
    }
}

/// How far recovery is to go.
pub(super) fn target(args: &Targets) -> Result<RecoveryTarget, Failure> {
    let given = [
        args.target_time.is_some(),
        args.target_xid.is_some(),
        args.target_lsn.is_some(),
        args.target_name.is_some(),
        args.target_immediate,
    ];
    if given.into_iter().filter(|given| *given).count() > 1 {
        return Err(Failure::user("You cannot specify multiple targets for the recovery operation"));
    }
    if let Some(text) = &args.target_time {
        let time = parse_target_time(text, local_offset);
        return Ok(RecoveryTarget::Time(time.map_err(|error| Failure::target_time(text, &error))?));
    }
    if let Some(text) = &args.target_lsn {
        let lsn: Lsn = text.parse().map_err(|_| Failure::user(format!("Invalid LSN: '{text}'")))?;
        return Ok(RecoveryTarget::Lsn(lsn));
    }
    if let Some(text) = &args.target_xid {
        let xid =
            text.trim().parse().map_err(|_| Failure::user(format!("Invalid transaction ID: '{text}'")))?;
        return Ok(RecoveryTarget::Xid(xid));
    }
    if let Some(name) = &args.target_name {
        return Ok(RecoveryTarget::Name(name.clone()));
    }
    Ok(if args.target_immediate { RecoveryTarget::Immediate } else { RecoveryTarget::End })
}

/// Whether a time is meant in the zone of this host.
fn has_no_zone(text: &str) -> bool {
    let asked = std::cell::Cell::new(false);
    let time = parse_target_time(text, |_| {
        asked.set(true);
        UtcOffset::UTC
    });
    time.is_ok() && asked.get()
}

/// The offset in force at a local wall-clock time, by the system's zone.
pub(super) fn local_offset(naive: PrimitiveDateTime) -> UtcOffset {
    // The zone at the same instant read as UTC is right but near a change; a second look from there settles that.
    let guess = UtcOffset::local_offset_at(naive.assume_utc()).unwrap_or(UtcOffset::UTC);
    UtcOffset::local_offset_at(naive.assume_offset(guess)).unwrap_or(guess)
}

/// `--target-tli`.
pub(super) fn timeline(target: values::TargetTli) -> Result<TimelineTarget, Failure> {
    Ok(match target {
        values::TargetTli::Current => TimelineTarget::Current,
        values::TargetTli::Latest => TimelineTarget::Latest,
        values::TargetTli::Number(number) => TimelineTarget::Number(
            Timeline::new(number).ok_or_else(|| Failure::user("--target-tli: there is no timeline 0"))?,
        ),
    })
}

fn action(action: values::TargetAction) -> TargetAction {
    match action {
        values::TargetAction::Pause => TargetAction::Pause,
        values::TargetAction::Shutdown => TargetAction::Shutdown,
        values::TargetAction::Promote => TargetAction::Promote,
    }
}

/// What the generated `restore_command` calls. Under our own name it also says which configuration was used: the
/// PostgreSQL server's environment does not.
fn program(session: &Session) -> Result<String, Failure> {
    let config = session.global.config.as_deref().filter(|_| session.program == Program::Tapster);
    let Some(config) = config else { return Ok(session.program.name().to_owned()) };
    let path = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    let quoted = shlex::try_quote(&path.to_string_lossy())
        .map_err(|error| Failure::user(format!("{}: {error}", Path::display(&path))))?
        // PostgreSQL takes percent signs of a restore_command for placeholders.
        .replace('%', "%%");
    Ok(format!("{} -c {quoted}", session.program.name()))
}
