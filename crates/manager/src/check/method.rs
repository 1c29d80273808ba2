//! The lines of a backup method: whether it can get at the files.

use std::path::Path;

use tapster_catalog::{BackupRecord, BackupStatus};

use super::CheckReport;
use super::streaming::Streaming;
use crate::config::BackupMethod;
use crate::{Context, Server};

/// The first major version without exclusive backups.
const WITHOUT_EXCLUSIVE: u32 = 15;

impl Server {
    pub(super) fn check_method(
        &self,
        report: &mut CheckReport,
        context: &Context<'_>,
        streaming: &Streaming,
    ) {
        match self.config.backup_method {
            _ if !self.config.active => {}
            _ if self.config.is_passive() => drop(self.check_ssh(report, context)),
            BackupMethod::Postgres => {
                // Barman's names; Tapster speaks the protocol itself, so nothing can be missing.
                report.ok("pg_basebackup");
                streaming.compatible(report, "pg_basebackup", self, context);
                // Barman asks the server for its version first.
                if is_up(report) {
                    report.ok("pg_basebackup supports tablespaces mapping");
                }
            }
            BackupMethod::LocalRsync => {
                self.check_local_files(report, context);
                self.check_stale_label(report, None, context);
                self.check_exclusive(report, context);
            }
            BackupMethod::Rsync => {
                let ssh = self.check_ssh(report, context);
                if let Some(ssh) = ssh {
                    self.check_stale_label(report, Some(&ssh), context);
                }
                self.check_exclusive(report, context);
            }
            BackupMethod::Snapshot | BackupMethod::LocalToCloud => {}
        }
        if !self.config.problems.is_empty() {
            report.push("configuration", false, None).details.clone_from(&self.config.problems);
        }
    }

    /// A server that is down may be so because of a `backup_label` that an exclusive backup or a restore left in it. The line is
    /// there only when one is found where the last backup was taken. (Barman looks only over ssh.)
    fn check_stale_label(&self, report: &mut CheckReport, ssh: Option<&[String]>, context: &Context<'_>) {
        if is_up(report) {
            return;
        }
        let records = self.catalog.records().unwrap_or_default();
        let taken = |record: &&BackupRecord| record.status != BackupStatus::Empty;
        let Some(pgdata) = records.iter().rfind(taken).and_then(|record| record.pgdata.as_ref()) else {
            return;
        };
        let label = Path::new(pgdata).join("backup_label");
        let exists = match ssh {
            None => label.exists(),
            Some(ssh) => self.exists_there(ssh, &label, context),
        };
        if exists {
            let hint = "Check that the PostgreSQL server is up and no 'backup_label' file is in PGDATA.";
            report.failed("backup_label", hint);
        }
    }

    /// `exclusive_backup` is Barman's, for servers before version 15. None is taken here, so that the line never succeeds.
    fn check_exclusive(&self, report: &mut CheckReport, context: &Context<'_>) {
        if !self.config.backup_options.exclusive {
            return;
        }
        let asked = self.connect(context.stop.clone()).ok().and_then(|mut connection| {
            let major = connection.server_version().major();
            let in_recovery = crate::Remote::new(&mut connection).in_recovery().ok()?;
            Some((major, in_recovery))
        });
        match asked {
            Some((_, true)) => {
                report.failed("not in recovery", "cannot perform exclusive backup on a standby");
            }
            _ => report.ok("not in recovery"),
        }
        let hint = match asked {
            None => "unable to determine postgres version".to_owned(),
            Some((major, _)) if major >= WITHOUT_EXCLUSIVE => {
                format!("exclusive backups not supported on PostgreSQL {major}")
            }
            Some(_) => "not supported here, please set backup_options = concurrent_backup".to_owned(),
        };
        report.failed("exclusive backup supported", hint);
    }
}

/// Whether nothing was said against the server.
fn is_up(report: &CheckReport) -> bool {
    report.line("PostgreSQL").is_none_or(|line| line.ok)
}
