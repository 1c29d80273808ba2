//! `barman-cloud-backup-delete`.

use tapster_cloud::Provider;
use tapster_manager::cloud::CloudServer;
use tapster_manager::cloud::delete::{
    CloudDeleteError, CloudDeleteOptions, CloudDeletePlan, ParsePolicyError, Policy,
};

use time::OffsetDateTime;

use super::{Tool, select};
use crate::args::cloud::backup_delete::CloudBackupDeleteArgs;
use crate::failure::Failure;
use crate::output::cloud_backup;
use crate::session::Session;

/// Deletes one backup, or those that a retention policy does not need.
pub(crate) fn run(args: &CloudBackupDeleteArgs, session: &Session) -> Result<(), Failure> {
    let tool = Tool { verb: "backup delete", args: &args.cloud, url: &args.url, server: &args.server };
    tool.run(|server| {
        if args.check_object_lock && server.store().url().provider() == Provider::Google {
            tracing::warn!("--check-object-lock is for S3 and Azure; locks are not looked for");
        }
        let options = options(args);
        let failed = |error: &CloudDeleteError| Failure::cloud_delete(tool.verb, error);
        let plan = match plan(args, server, &options, tool.verb)? {
            Ok(plan) => plan,
            // What is not there need not be deleted.
            Err(error @ CloudDeleteError::NoBackup { .. }) => {
                tracing::warn!("{error}");
                return Ok(());
            }
            Err(error) => return Err(failed(&error)),
        };
        for id in &plan.snapshots {
            let why = CloudDeleteError::Snapshots { id: *id };
            tracing::warn!("Not deleted, nor the WAL from there on: {why}");
        }
        if args.dry_run {
            let removals = server.preview(&plan).map_err(|error| Failure::cloud(tool.verb, &error))?;
            cloud_backup::removals(&session.output, server.store().url().prefix(), &removals);
            return Ok(());
        }
        server.execute(&plan, &options).map_err(|error| failed(&error))
    })
}

fn options(args: &CloudBackupDeleteArgs) -> CloudDeleteOptions {
    let mut options = CloudDeleteOptions::at(OffsetDateTime::now_utc());
    options.minimum_redundancy = u32::try_from(args.minimum_redundancy).unwrap_or(u32::MAX);
    options.batch_size = args.batch_size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    options.check_locks = args.check_object_lock;
    options
}

fn plan(
    args: &CloudBackupDeleteArgs,
    server: &CloudServer,
    options: &CloudDeleteOptions,
    verb: &str,
) -> Result<Result<CloudDeletePlan, CloudDeleteError>, Failure> {
    if let Some(text) = &args.backup_id {
        return Ok(server.plan_delete(&select(server, verb, text)?, options));
    }
    let text = args.retention_policy.as_deref().unwrap_or_default();
    let policy: Policy =
        text.parse().map_err(|error: ParsePolicyError| Failure::cloud_policy(text, &error.to_string()))?;
    Ok(server.plan_retention(&policy, options))
}
