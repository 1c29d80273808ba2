//! What of `restore` is about another host, and about staging.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tapster_manager::restore::{BackupChoice, RemoteOptions};
use tapster_manager::{RestoreOptions, Server};

use crate::args::restore::{RestoreArgs, StagingLocation};
use crate::failure::Failure;
use crate::startup::Setup;

/// Adds it to the options.
pub(super) fn apply(
    args: &RestoreArgs,
    setup: &Setup<'_>,
    server: &Server,
    options: &mut RestoreOptions,
) -> Result<(), Failure> {
    let is_remote = args.remote_ssh_command.is_some();
    if args.network_compression() == Some(true) && !is_remote {
        return Err(Failure::user("Network compression can only be used with remote recovery.").with_hint(
            "If you want to do a remote recovery you have to use the --remote-ssh-command option",
        ));
    }
    let staging = absolute(args.staging_path.as_deref(), "staging")?;
    let config = server.config();
    let setting = |key| config.text(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    let recovery = absolute(args.recovery_staging_path.as_deref(), "recovery staging")?
        .or_else(|| setting("recovery_staging_path"));
    let local = absolute(args.local_staging_path.as_deref(), "local staging")?
        .or_else(|| setting("local_staging_path"));
    if args.staging_location == Some(StagingLocation::Remote) && !is_remote {
        return Err(Failure::user("--staging-location as remote requires --remote-ssh-command to be set"));
    }
    let is_there = match args.staging_location {
        Some(location) => location == StagingLocation::Remote,
        None => config.text("staging_location") == Some("remote"),
    };
    let delta = args.delta_restore().unwrap_or(config.recovery_options.delta_restore);
    if is_remote && delta && is_there {
        return Err(Failure::user(
            "Cannot restore a backup remotely with delta mode when 'staging_location=remote'.",
        ));
    }
    let out = &setup.session.output;
    let is_given = staging.is_some()
        || args.staging_location.is_some()
        || args.recovery_staging_path.is_some()
        || args.local_staging_path.is_some();
    let is_worked_on = match &options.backup {
        BackupChoice::Record(record) => {
            record.compression.is_some() || record.encryption.is_some() || record.parent_backup_id.is_some()
        }
        BackupChoice::Auto => true,
    };
    if is_worked_on
        && staging.is_none()
        && config.staging_path.is_none()
        && (recovery.is_some() || local.is_some())
    {
        out.warning(
            "recovery_staging_path and local_staging_path, and their equivalent CLI options --recovery-staging-path and \
             --local-staging-path, are deprecated and will be removed in a future release. Please use staging_path and \
             staging_location, and their equivalent CLI options --staging-path and --staging-location, instead.",
        );
    }
    options.delta = args.delta_restore();
    // A path of the other host is of no use here.
    let local = local.filter(|_| config.staging_path.is_none() || args.local_staging_path.is_some());
    options.staging_path = staging.filter(|_| !is_there).or(local);
    options.staging_is_given = is_given;
    let number = |value: Option<u64>| value.map(|value| u32::try_from(value).unwrap_or(u32::MAX));
    options.bandwidth_limit = number(args.bwlimit);
    let Some(command) = &args.remote_ssh_command else { return Ok(()) };
    let mut remote = RemoteOptions::default();
    remote.ssh_command.clone_from(command);
    remote.network_compression = args.network_compression();
    remote.retry_times = number(args.retry_times());
    remote.retry_sleep = args.retry_sleep.map(Duration::from_secs);
    remote.jobs_start_batch_size = number(args.jobs_start_batch_size);
    remote.jobs_start_batch_period = number(args.jobs_start_batch_period);
    remote.port.clone_from(&args.recovery_option_port);
    remote.user.clone_from(&setup.config.global.barman_user);
    if options.get_wal.unwrap_or(config.recovery_options.get_wal) {
        remote.this_host = own_name();
    }
    remote.wal_jobs = number(args.jobs).unwrap_or(config.parallel_jobs);
    options.remote = Some(remote);
    Ok(())
}

/// The name of this host, with its domain where the system knows one.
fn own_name() -> String {
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let full = std::process::Command::new("hostname").arg("-f").stderr(Stdio::null()).output();
    let full = full.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let full = full.and_then(|name| String::from_utf8(name).ok()).unwrap_or_default();
    let full = full.trim();
    // Nobody else reaches this host by that.
    let is_useful = !full.is_empty() && full.len() < 256 && !full.starts_with("localhost");
    if is_useful { full.to_owned() } else { own }
}

fn absolute(path: Option<&Path>, name: &str) -> Result<Option<PathBuf>, Failure> {
    match path {
        Some(path) if !path.is_absolute() => Err(Failure::user(format!(
            "Cannot parse {name} path: Invalid value : '{}' (must be an absolute path)",
            path.display()
        ))),
        path => Ok(path.map(Path::to_owned)),
    }
}
