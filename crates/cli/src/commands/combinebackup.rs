//! `combinebackup`: `pg_combinebackup` on plain directories.

use std::path::Path;

use tapster_copy::combine::CopyMethod;
use tapster_copy::{CopyObserver, SyncMethod};
use tapster_manager::tools::combinebackup::{CombineBackupOptions, combine_backups};

use crate::args::pg::combinebackup::{CombineBackup, Way};
use crate::failure::{Failure, chain};
use crate::session::Session;

/// Names the files with `-d`.
struct Named<'a> {
    session: &'a Session,
    name: &'a str,
    debug: bool,
}

impl CopyObserver for Named<'_> {
    fn file(&self, path: &Path) {
        if self.debug {
            self.session.output.raw_error_line(format!("{}: wrote \"{}\"", self.name, path.display()));
        }
    }
}

/// Combines, and exits with 1 when that is not possible.
pub(crate) fn run(args: &CombineBackup, session: &Session) -> Result<(), Failure> {
    let name = format!("{} combinebackup", session.program.name());
    let say = |text: &str| session.output.raw_error_line(format!("{name}: {text}"));
    session.watch_signals()?;
    let mut options = CombineBackupOptions::new(args.backups.clone(), &args.output);
    options.tablespaces = args.tablespaces.iter().map(|m| (m.old.clone(), m.new.clone())).collect();
    options.method = match args.way {
        Way::Any => CopyMethod::Auto,
        Way::Copy => CopyMethod::Copy,
        Way::Clone => CopyMethod::Clone,
        Way::CopyFileRange => CopyMethod::CopyFileRange,
        Way::Link => CopyMethod::Link,
    };
    options.manifest = args.manifest;
    options.verify = !args.no_verify;
    options.dry_run = args.dry_run;
    options.sync = match (args.no_sync, args.syncfs) {
        (true, _) => SyncMethod::None,
        (false, true) => SyncMethod::Syncfs,
        (false, false) => SyncMethod::Fsync,
    };
    let observer = Named { session, name: &name, debug: args.debug };
    let report = combine_backups(&options, &observer, &session.stop).map_err(|error| {
        say(&format!("error: {}", chain(&error)));
        Failure::reported(1)
    })?;
    for path in &report.skipped {
        say(&format!("warning: skipping \"{}\": neither a file nor a directory", path.display()));
    }
    if report.mixed_checksums {
        say("warning: only some backups have checksums enabled");
        say("hint: Disable, and optionally reenable, checksums on the output directory to avoid failures.");
    }
    if report.oversized > 0 {
        say(&format!(
            "warning: {} incremental files name more blocks than a segment has, as servers before the fix wrote; \
             they were taken as whole segments",
            report.oversized
        ));
    }
    if args.way == Way::Link {
        say("warning: --link mode was used; any modifications to the output directory might destructively \
             modify input directories");
    }
    if args.debug {
        let (files, bytes, rebuilt) = (report.files, report.bytes, report.rebuilt);
        say(&format!("{files} files with {bytes} bytes, {rebuilt} of them from several backups"));
    }
    Ok(())
}
