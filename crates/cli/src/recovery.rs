//! What PostgreSQL makes of the exit code of a `restore_command`: up to 125 the archive has no such file, and a server that
//! is no standby ends recovery there and opens for writing. Above that it stops (`RestoreArchivedFile`), and nothing is
//! lost. So the programs that give WAL must not end with a small code for any other reason.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use crate::invocation::Program;

/// With which `get-wal` stops recovery. Not 126 or 127, which PostgreSQL's log explains as a command that cannot be run, and
/// not 255, which is how `ssh` itself fails.
pub(crate) const GET_WAL: u8 = 200;

/// With which `wal-restore` does, which calls `ssh` and is not called over it.
pub(crate) const WAL_RESTORE: u8 = 255;

/// The exit code that stops recovery, when this command line is a `restore_command`; right for one that cannot be understood,
/// too.
pub(crate) fn stop_code(program: Program, words: &[OsString]) -> Option<u8> {
    if matches!(program, Program::BarmanWalRestore | Program::BarmanCloudWalRestore) {
        return Some(WAL_RESTORE);
    }
    words.iter().find_map(|word| match word.to_str() {
        Some("wal-restore" | "cloud-wal-restore") => Some(WAL_RESTORE),
        Some("get-wal") => Some(GET_WAL),
        _ => None,
    })
}

/// Whether wrong arguments are to stop recovery. PostgreSQL runs commands in its data directory, where a file says whether
/// what comes next is the end of recovery; a standby only tries again, and may stream meanwhile.
pub(crate) fn is_fatal(words: &[OsString], directory: &Path) -> bool {
    let ends = directory.join("recovery.signal").exists() && !directory.join("standby.signal").exists();
    ends || words.iter().any(|word| word == "--fail-hard")
}

/// Runs the program; a defect in it (a panic, which Rust's runtime makes exit code 101) ends a `restore_command` with `stop`.
pub(crate) fn contain(stop: Option<u8>, run: impl FnOnce() -> u8) -> u8 {
    match (catch_unwind(AssertUnwindSafe(run)), stop) {
        (Ok(code), _) => code,
        (Err(_), Some(stop)) => stop,
        (Err(panic), None) => resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_never_looks_like_the_end_of_the_archive() {
        assert_eq!(contain(Some(200), || 1), 1);
        assert_eq!(contain(Some(200), || panic!("on purpose")), 200);
        assert!(catch_unwind(|| contain(None, || panic!("on purpose"))).is_err());
    }

    #[test]
    fn all_ways_to_get_wal_are_known() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(stop_code(Program::BarmanWalRestore, &words("--nonsense")), Some(255));
        assert_eq!(stop_code(Program::Barman, &words("-q --nonsense get-wal main x")), Some(200));
        assert_eq!(stop_code(Program::Tapster, &words("wal-restore")), Some(255));
        assert_eq!(stop_code(Program::Barman, &words("cloud-wal-restore")), Some(255));
        assert_eq!(stop_code(Program::Tapster, &words("wal-archive main x")), None);
    }
}
