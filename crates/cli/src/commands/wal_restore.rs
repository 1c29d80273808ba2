//! `barman-wal-restore` and `tapster wal-restore`.

use std::thread::sleep;
use std::time::Duration;

use tapster_manager::wal_client::{
    self, FetchOptions, FetchWalError, RemoteBarman, SshError, TransferCompression,
};

use super::signals::Deadly;
use super::wal_archive::{show_test, ssh_failure};
use crate::args::wal_restore::WalRestoreArgs;
use crate::failure::{Failure, chain};
use crate::session::Session;

/// The remote command failed, which PostgreSQL takes for "there is no such file".
const MISSING: u8 = 1;
/// No connection, or a spool that cannot be used.
const CONNECTION: u8 = 2;
/// The destination cannot be opened.
const DESTINATION: u8 = 3;
/// Above 125 PostgreSQL stops recovery instead of taking this for the end of the archive.
const STOP_RECOVERY: u8 = 255;

/// Fetches the file over ssh.
pub(crate) fn run(args: &WalRestoreArgs, session: &Session) -> Result<(), Failure> {
    let deadly = Deadly::watch()?;
    let mut remote = RemoteBarman::new(&*args.user, &*args.host, &*args.server);
    remote.port.clone_from(&args.port);
    remote.config.clone_from(&args.config);
    remote.patience = args.io_timeout.map(Duration::from_secs);
    for (given, name) in [(args.gzip, "gzip"), (args.bzip2, "bzip2")] {
        if given {
            // On standard output, where the original has it.
            session.output.raw_line(format!(
                "WARNING: `{name}` option is deprecated and will be removed in future versions. For WAL compression, please make \
                 sure to enable it directly on the Barman server via the `compression` configuration option"
            ));
        }
    }
    if args.test {
        let tested = wal_client::test_get_wal(&remote, &deadly.stop);
        return show_test(tested, session, &deadly, CONNECTION);
    }
    let fetched =
        wal_client::fetch_wal(&remote, &args.wal_name, &args.wal_dest, &options(args), &deadly.stop);
    match fetched {
        Ok(fetched) => {
            for warning in fetched.warnings {
                session.output.warning(warning);
            }
            Ok(())
        }
        Err(FetchWalError::Ssh(SshError::Stopped)) => Err(deadly.die()),
        Err(error) => {
            let failure = failure(&error, args.fail_hard);
            pause(args.sleep, &deadly);
            if deadly.came() { Err(deadly.die()) } else { Err(failure) }
        }
    }
}

fn options(args: &WalRestoreArgs) -> FetchOptions {
    let mut options = FetchOptions::default();
    options.partial = args.partial;
    options.compression = match (args.gzip, args.bzip2, args.keep_compression) {
        (true, _, _) => TransferCompression::Gzip,
        (_, true, _) => TransferCompression::Bzip2,
        (_, _, true) => TransferCompression::AsStored,
        _ => TransferCompression::Off,
    };
    options.parallel = args.parallel;
    options.spool_dir.clone_from(&args.spool_dir);
    options.ask_whether_missing = args.fail_hard;
    options
}

fn failure(error: &FetchWalError, hard: bool) -> Failure {
    let failure = match error {
        FetchWalError::IsDirectory { .. } | FetchWalError::Open { .. } => {
            Failure::user(chain(error)).with_exit_code(DESTINATION)
        }
        FetchWalError::Missing { .. } if hard => return Failure::user(chain(error)).with_exit_code(MISSING),
        FetchWalError::Ssh(error) => ssh_failure(error, CONNECTION, CONNECTION),
        // Barman hands such a file to PostgreSQL, which then stops. It must not be told that there is none.
        FetchWalError::Content { .. } | FetchWalError::Write { .. } => {
            Failure::user(chain(error)).with_exit_code(STOP_RECOVERY)
        }
        _ => Failure::user(chain(error)).with_exit_code(CONNECTION),
    };
    if hard { failure.with_exit_code(STOP_RECOVERY) } else { failure }
}

/// `--sleep`, which a signal shortens.
fn pause(seconds: Option<i64>, deadly: &Deadly) {
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
    for _ in 0..seconds.saturating_mul(20) {
        if deadly.came() {
            return;
        }
        sleep(Duration::from_millis(50));
    }
}
