//! What PostgreSQL makes of the exit code of a `restore_command`: up to 125 the archive has no such file, and a server that
//! is no standby ends recovery there and opens for writing. Above that it stops (`RestoreArchivedFile`), and nothing is
//! lost. So the programs that give WAL must not end with a small code for any other reason.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use crate::invocation::Program;

/// Stops recovery. Not 126 or 127, which PostgreSQL's log explains as a command that cannot be run, and not 255, which is
/// how `ssh` itself fails.
pub(crate) const STOP: u8 = 200;

/// Whether this command line is a `restore_command`; right for one that cannot be understood, too.
pub(crate) fn is_restore_command(program: Program, words: &[OsString]) -> bool {
    program == Program::BarmanWalRestore
        || words.iter().any(|word| word == "wal-restore" || word == "get-wal")
}

/// The exit code of wrong arguments, which is `code` anywhere else. PostgreSQL runs commands in its data directory, where a
/// file says whether what comes next is the end of recovery; a standby only tries again, and may stream meanwhile.
pub(crate) fn usage_exit(code: u8, words: &[OsString], directory: &Path) -> u8 {
    let ends = directory.join("recovery.signal").exists() && !directory.join("standby.signal").exists();
    if ends || words.iter().any(|word| word == "--fail-hard") { STOP } else { code }
}

/// Runs the program; a defect in it (a panic, which Rust's runtime makes exit code 101) ends a `restore_command` with
/// [`STOP`].
pub(crate) fn contain(restore_command: bool, run: impl FnOnce() -> u8) -> u8 {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(code) => code,
        Err(_) if restore_command => STOP,
        Err(panic) => resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_never_looks_like_the_end_of_the_archive() {
        assert_eq!(contain(true, || 1), 1);
        assert_eq!(contain(true, || panic!("on purpose")), STOP);
        assert!(catch_unwind(|| contain(false, || panic!("on purpose"))).is_err());
    }

    #[test]
    fn all_ways_to_get_wal_are_known() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(is_restore_command(Program::BarmanWalRestore, &words("--nonsense")));
        assert!(is_restore_command(Program::Barman, &words("-q --nonsense get-wal main x")));
        assert!(is_restore_command(Program::Tapster, &words("wal-restore")));
        assert!(!is_restore_command(Program::Tapster, &words("wal-archive main x")));
    }
}
