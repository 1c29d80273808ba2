//! The whole of a test restore.

use std::time::Duration;

use tapster_copy::SyncMethod;
use time::OffsetDateTime;

use super::account::Account;
use super::binaries::Binaries;
use super::checks;
use super::instance::{Instance, RECOVERY};
use super::memory::{RestoreTest, remember};
use super::reach::{Ended, Planned};
use super::scratch::Scratch;
use super::{VerifyRestoreError, VerifyRestoreOptions, VerifyRestoreReport};
use crate::event::Event;
use crate::restore::{BackupChoice, RecoveryTarget, TargetAction, TimelineTarget};
use crate::{Context, RestoreOptions, Server};

impl Server {
    /// Restores a backup into a scratch directory, starts PostgreSQL there, waits until it has replayed WAL up to the target
    /// and opened for writing, connects to every database, runs the checks asked for, stops it and removes the directory.
    /// The result is remembered: [`last`](super::last).
    ///
    /// # Errors
    /// Why the backup is not proven, or why that could not be found out. What `pg_amcheck` and the SQL file found is in the
    /// report instead: [`VerifyRestoreReport::is_proven`].
    pub fn verify_restore(
        &self,
        options: &VerifyRestoreOptions,
        context: &Context<'_>,
    ) -> Result<VerifyRestoreReport, VerifyRestoreError> {
        let started = context.now();
        let mut backup = None;
        let result = self.test_restore(options, started, &mut backup, context);
        let ended = context.now();
        let mut test = RestoreTest {
            backup_id: backup,
            time: ended.unix_timestamp(),
            proven: false,
            reached_lsn: None,
            timeline: None,
            last_transaction: None,
            elapsed_seconds: (ended - started).whole_seconds().unsigned_abs(),
            amcheck: options.amcheck,
            sql: options.sql.is_some(),
            failure: None,
        };
        match &result {
            Ok(report) => {
                test.proven = report.is_proven();
                test.reached_lsn = report.reached.or(report.consistent).map(|lsn| lsn.to_string());
                test.timeline = Some(report.timeline.get());
                test.last_transaction.clone_from(&report.last_transaction);
                if !test.proven {
                    let failed = || "a check of the restored server failed".to_owned();
                    test.failure = Some(report.shortfall.clone().unwrap_or_else(failed));
                }
            }
            // Whatever broke off for it.
            Err(_) if context.stopped() => return result,
            Err(error) if error.is_about_backup() => test.failure = Some(error.to_string()),
            // It says nothing about the backup.
            Err(_) => return result,
        }
        if let Err(error) = remember(self.catalog.disk(), self.layout(), test) {
            context
                .tell(Event::Warning(format!("the result of the test restore is not remembered: {error}")));
        }
        result
    }

    fn test_restore(
        &self,
        options: &VerifyRestoreOptions,
        started: OffsetDateTime,
        backup: &mut Option<String>,
        context: &Context<'_>,
    ) -> Result<VerifyRestoreReport, VerifyRestoreError> {
        let account = Account::for_server(options.os_user.as_deref())?;
        if let BackupChoice::Record(record) = &options.restore.backup {
            *backup = Some(record.id.to_string());
        }
        let parent = options.scratch.as_deref().unwrap_or(&self.layout().root);
        let scratch = Scratch::create(parent, self.name(), started, account, options, context)?;
        let plan = self.plan_restore(&restore_options(options, &scratch, account), context)?;
        *backup = Some(plan.record.id.to_string());
        let version = plan.record.version.unwrap_or_default();
        let major = u16::try_from(version / 10_000).unwrap_or_default();
        let binaries = Binaries::find(major, options.bindir.as_deref(), &options.path)?;
        let program =
            |name: &'static str| binaries.client(name).ok_or(VerifyRestoreError::NoProgram { program: name });
        let amcheck = options.amcheck.then(|| program("pg_amcheck")).transpose()?;
        let (timeline, warnings) = (plan.wal.timeline, plan.warnings.clone());
        let id = plan.record.id;
        let planned = Planned::of(self, &plan, context)?;
        // Without the scripts around a restore: they are to know of real ones.
        self.execute_restore(plan, context)?;
        let restored = context.now();
        context
            .tell(Event::TestServerStarting { version: binaries.version.clone(), directory: scratch.data() });
        let mut instance = Instance::start(&scratch, &binaries, options, account)?;
        instance.wait(options.timeout, context)?;
        let recovered = context.now();
        let recovery = instance.recovery();
        context.tell(Event::TestServerStarted { reached: recovery.done.or(recovery.consistent) });
        let user = checks::superuser(&instance, &self.roles(), context)?;
        let ended = Ended::ask(&instance, &user, context)?;
        let shortfall = planned.shortfall(ended, recovery.stopped.as_deref());
        let databases = checks::databases(&instance, &user, context)?;
        let output = scratch.file("output");
        let mut amchecked = None;
        if let Some(program) = &amcheck {
            context.tell(Event::TestServerCheck { what: "pg_amcheck".to_owned() });
            amchecked = Some(checks::amcheck(&instance, program, &user, options, &output, context)?);
        }
        let mut sql = None;
        if let Some(file) = &options.sql {
            context.tell(Event::TestServerCheck { what: file.display().to_string() });
            sql = Some(checks::sql(&instance, &binaries, &user, file, options, &output, context)?);
        }
        instance.stop(options.keep);
        drop(instance);
        let kept = if options.keep { Some(scratch.keep()?) } else { scratch.remove().map(|()| None)? };
        let since =
            |from: OffsetDateTime, to: OffsetDateTime| Duration::try_from(to - from).unwrap_or_default();
        Ok(VerifyRestoreReport {
            backup: id,
            postgres: binaries.version,
            timeline,
            consistent: recovery.consistent,
            reached: recovery.done,
            last_transaction: recovery.last_transaction,
            stopped: recovery.stopped,
            shortfall,
            databases,
            amcheck: amchecked,
            sql,
            warnings,
            started,
            restore_elapsed: since(started, restored),
            recovery_elapsed: since(restored, recovered),
            elapsed: since(started, context.now()),
            kept,
        })
    }

    /// Roles to try first; the bootstrap superuser may have any name.
    fn roles(&self) -> Vec<String> {
        let configured = [&self.config.conninfo, &self.config.streaming_conninfo].into_iter().flatten();
        let named = configured.filter_map(|text| {
            let conninfo = tapster_protocol::ConnInfo::parse(text).ok()?;
            conninfo.get("user").map(str::to_owned)
        });
        std::iter::once("postgres".to_owned()).chain(named).chain(self.environment.os_user.clone()).collect()
    }
}

/// A restore as it is asked for, but for what it must not do here.
fn restore_options(
    options: &VerifyRestoreOptions,
    scratch: &Scratch,
    account: Option<Account>,
) -> RestoreOptions {
    let mut restore = options.restore.clone();
    restore.destination = scratch.data();
    restore.tablespaces = Vec::new();
    restore.tablespace_root = Some(scratch.tablespaces());
    restore.remote = None;
    // PostgreSQL reads it at once, and then it is removed.
    restore.sync = SyncMethod::None;
    restore.delta = Some(false);
    restore.standby_mode = false;
    restore.staging_wal_directory = None;
    restore.recovery_conf_filename = Some(RECOVERY.to_owned());
    // Another user may not read the catalog: then WAL is copied before.
    restore.restore_command = None;
    restore.get_wal = Some(options.get_wal && account.is_none());
    if restore.target == RecoveryTarget::End {
        // As a restore with get-wal: to the end of the newest timeline that the backup leads to.
        restore.timeline = restore.timeline.or(Some(TimelineTarget::Latest));
        restore.action = None;
    } else {
        restore.action = Some(TargetAction::Promote);
    }
    restore
}
