//! `verifybackup`: `pg_verifybackup` on a plain directory.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use tapster_copy::CopyObserver;
use tapster_manager::text::system_text;
use tapster_manager::tools::verifybackup::{
    BackupFormat, VerifyBackupError, VerifyBackupOptions, verify_backup,
};

use crate::args::pg::verifybackup::VerifyBackupTool;
use crate::failure::Failure;
use crate::output::verification::{manifest, problems, wal};
use crate::session::Session;

/// Kilobytes between two lines of progress.
const STEP: u64 = 16 * 1024;

/// Shows progress as the original does.
struct Shown<'a> {
    session: &'a Session,
    done: AtomicU64,
    /// Kilobytes; none when nothing is to be shown.
    total: Option<u64>,
}

impl CopyObserver for Shown<'_> {
    fn bytes(&self, count: u64) {
        let before = self.done.fetch_add(count, Ordering::Relaxed) / 1024;
        let now = before.saturating_add(count / 1024);
        if now / STEP != before / STEP {
            self.show(now);
        }
    }
}

impl Shown<'_> {
    fn show(&self, done: u64) {
        let Some(total) = self.total else { return };
        let percent = (done.min(total) * 100).checked_div(total).unwrap_or(100);
        let width = total.to_string().len();
        self.session.output.raw_error_line(format!(
            "{done:>width$}/{total} kB ({percent}%) verified",
            done = done.min(total)
        ));
    }
}

/// Verifies and exits with 1 when anything is wrong.
pub(crate) fn run(args: &VerifyBackupTool, session: &Session) -> Result<(), Failure> {
    let name = format!("{} verifybackup", session.program.name());
    let error = |text: &str| session.output.raw_error_line(format!("{name}: error: {text}"));
    session.watch_signals()?;
    let mut options = VerifyBackupOptions::new(&args.directory);
    options.manifest.clone_from(&args.manifest);
    options.wal_directory.clone_from(&args.wal_directory);
    options.format = args.tar.map(|tar| if tar { BackupFormat::Tar } else { BackupFormat::Plain });
    options.ignore.clone_from(&args.ignore);
    options.skip_checksums = args.skip_checksums;
    options.parse_wal = !args.no_parse_wal;
    options.exit_on_error = args.exit_on_error;
    let failed = |found: &VerifyBackupError| {
        error(&text(found));
        if matches!(found, VerifyBackupError::TarWal) {
            session.output.raw_error_line(format!(
                "{name}: hint: You must use -n/--no-parse-wal when verifying a tar-format backup."
            ));
        }
        Failure::reported(1)
    };
    let total = if args.progress && !args.skip_checksums {
        Some(options.total().map_err(|found| failed(&found))? / 1024)
    } else {
        None
    };
    let observer = Shown { session, done: AtomicU64::new(0), total };
    observer.show(0);
    let report = verify_backup(&options, &observer, &session.stop).map_err(|found| failed(&found))?;
    observer.show(observer.done.load(Ordering::Relaxed).div_ceil(1024));
    for line in problems(&report.files).iter().chain(&report.wal.iter().flat_map(wal).collect::<Vec<_>>()) {
        error(line);
    }
    if !report.is_ok() {
        return Err(Failure::reported(1));
    }
    if !args.quiet {
        session.output.raw_line("backup successfully verified");
    }
    Ok(())
}

fn text(error: &VerifyBackupError) -> String {
    let open =
        |path: &Path, source| format!("could not open file \"{}\": {}", path.display(), system_text(source));
    match error {
        VerifyBackupError::Open { path, source } => open(path, source),
        VerifyBackupError::Manifest(error) => manifest(error),
        VerifyBackupError::TarWal => "pg_waldump cannot read tar files".to_owned(),
        other => other.to_string(),
    }
}
