//! `initdb` once per version and settings, then copies: it takes longer than most tests.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::account::Account;
use super::binaries::Binaries;

/// What `initdb` is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct InitOptions {
    pub(super) wal_segment_mb: u32,
    pub(super) checksums: bool,
}

/// Fills `data` with a fresh cluster.
pub(super) fn create(binaries: &Binaries, options: InitOptions, account: Option<Account>, data: &Path) {
    let template = template(binaries, options, account);
    let status = Account::command(account, "cp").arg("-a").arg("--").arg(&template).arg(data).status();
    assert!(status.expect("run cp").success(), "copying {} failed", template.display());
}

fn template(binaries: &Binaries, options: InitOptions, account: Option<Account>) -> PathBuf {
    let key = binaries.directory.to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let uid = rustix::process::geteuid().as_raw();
    let cache = Path::new("/tmp").join(format!("tapster-initdb-{uid}"));
    std::fs::create_dir_all(&cache).expect("create the cache of clusters");
    Account::own(account, &cache);
    let name = format!("{key}-{}-{}", options.wal_segment_mb, options.checksums);
    let template = cache.join(&name);
    if template.join("PG_VERSION").exists() {
        return template;
    }
    // Threads and processes race for the template; each builds its own and one wins.
    let build = tempfile::Builder::new().prefix("build").tempdir_in(&cache).expect("create a directory");
    Account::own(account, build.path());
    let new = build.path().join("data");
    let mut command = Account::command(account, binaries.program("initdb"));
    command.args(["--no-sync", "--auth=trust", "-U", "postgres", "-E", "UTF8", "--no-locale"]);
    // Before that it was an option of the build.
    if binaries.major >= 11 {
        command.arg(format!("--wal-segsize={}", options.wal_segment_mb));
    }
    command.arg("-D").arg(&new);
    if options.checksums {
        command.arg("--data-checksums");
    } else if binaries.major >= 18 {
        command.arg("--no-data-checksums");
    }
    let output = command.stdin(Stdio::null()).output().expect("run initdb");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    // Another test may have been faster; then its result serves as well.
    let _ = std::fs::rename(&new, &template);
    template
}
