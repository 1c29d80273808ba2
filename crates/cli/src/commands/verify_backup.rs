//! `verify-backup`.

use std::path::Path;

use tapster_catalog::Selector;
use tapster_copy::manifest::VerifyReport;
use tapster_manager::{BackupVerifyOptions, BackupVerifyReport};

use crate::args::verify_backup::VerifyBackupArgs;
use crate::failure::Failure;
use crate::output::verification::{problems, wal};
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Verifies one backup. The lines on stdout are Barman's; what Barman does not look at is only told when it is wrong.
pub(crate) fn run(args: &VerifyBackupArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::new(session)?;
    let server = setup.one(&args.server, Rules::LOOK)?;
    let record = server.catalog().select(&Selector::from(args.backup.as_str()))?;
    let output = &session.output;
    output.info(format!("Verifying backup '{}' on server ['{}']", args.backup, args.server));
    // Barman says no more of one that is in an object store than that it cannot be verified.
    if !server.has_backups_in_bucket() && !server.has_wals_in_bucket() {
        output.info("Calling pg_verifybackup");
    }
    session.watch_signals()?;
    let mut options = BackupVerifyOptions::default();
    options.wal = !args.no_wal;
    let observer = setup.observer(server.name());
    let result = server.verify_backup(&record, &options, &setup.context(&observer));
    output.stop_progress();
    let report = result.map_err(|error| session.unless_stopped(Failure::verify_backup(&error)))?;
    let place = setup.place(server.name());
    let remarks = |text: String| output.warning(text);
    if !report.uncovered.is_empty() {
        remarks(format!(
            "the manifest does not list the files of tablespace {}: they were not verified",
            report.uncovered.join(", ")
        ));
    }
    if report.waits_for_wal && report.wal.iter().any(|fault| fault.missing) {
        remarks(format!("backup {} still waits for WAL that it needs", record.id));
    }
    if report.files.is_none() {
        remarks(format!(
            "backup {} has no backup_manifest: its files cannot be verified. '{} {}' makes one of what is there now",
            record.id,
            place.command("generate-manifest"),
            args.backup
        ));
    }
    if report.is_ok() {
        output.info("backup successfully verified");
        return Ok(());
    }
    tell(&report, session);
    Err(Failure::reported(1))
}

/// Barman prints what `pg_verifybackup` wrote to stderr as one error.
fn tell(report: &BackupVerifyReport, session: &Session) {
    let mut lines = files(&report.data, report.files.as_ref());
    lines.extend(report.chain.iter().map(ToString::to_string));
    lines.extend(report.wal.iter().filter(|fault| !(fault.missing && report.waits_for_wal)).flat_map(wal));
    if !lines.is_empty() {
        block(&report.data, &lines, session);
    }
    for member in report.members.iter().filter(|member| !member.is_ok()) {
        block(&member.data, &files(&member.data, member.files.as_ref()), session);
    }
}

fn files(data: &Path, found: Option<&VerifyReport>) -> Vec<String> {
    let path = data.join("backup_manifest");
    let missing = || vec![format!("could not open file \"{}\": No such file or directory", path.display())];
    found.map_or_else(missing, problems)
}

fn block(data: &Path, lines: &[String], session: &Session) {
    session.output.error(format!("verify backup failure on directory '{}'", data.display()));
    let text: String = lines.iter().map(|line| format!("pg_verifybackup: error: {line}\n")).collect();
    session.output.error(text);
}
