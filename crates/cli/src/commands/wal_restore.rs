//! `barman-wal-restore` and `tapster wal-restore`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use tapster_catalog::WalStoreError;
use tapster_manager::GetWalError;
use tapster_manager::wal_client::{
    self, FetchOptions, FetchWalError, RemoteBarman, SshError, TransferCompression,
};

use super::signals::Deadly;
use super::wal_archive::{show_test, ssh_failure};
use crate::args::wal_restore::{FetchArgs, LocalWalRestoreArgs, WalRestoreArgs};
use crate::failure::{Failure, chain};
use crate::invocation::Program;
use crate::recovery::WAL_RESTORE as STOP_RECOVERY;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// The remote command failed, which PostgreSQL takes for "there is no such file".
const MISSING: u8 = 1;
/// No connection, or a spool that cannot be used.
const CONNECTION: u8 = 2;
/// The destination cannot be opened.
const DESTINATION: u8 = 3;

/// Fetches the file over ssh.
pub(crate) fn run(args: &WalRestoreArgs, session: &Session) -> Result<(), Failure> {
    session.output.tolerate_lost_lines();
    let deadly = Deadly::watch().map_err(|failure| failure.with_exit_code(STOP_RECOVERY))?;
    let fetch = &args.fetch;
    let mut remote = RemoteBarman::new(&*fetch.user, &*args.host, &*args.server);
    remote.port.clone_from(&fetch.port);
    remote.config.clone_from(&fetch.config);
    remote.patience = fetch.io_timeout.map(Duration::from_secs);
    for (given, name) in [(fetch.gzip, "gzip"), (fetch.bzip2, "bzip2")] {
        if given {
            // On standard output, where the original has it.
            session.output.raw_line(format!(
                "WARNING: `{name}` option is deprecated and will be removed in future versions. For WAL compression, please make \
                 sure to enable it directly on the Barman server via the `compression` configuration option"
            ));
        }
    }
    if fetch.test {
        let tested = wal_client::test_get_wal(&remote, &deadly.stop);
        return show_test(tested, session, &deadly, CONNECTION);
    }
    let hard = fetch.fail_hard || wal_client::ends_recovery(&args.wal_dest);
    let options = options(fetch, hard);
    if fetch.fetch_ahead {
        // Nobody reads what this says: what did not come is fetched when its turn comes.
        if let Ok(after) = args.wal_name.parse() {
            drop(wal_client::fetch_ahead(&remote, after, &args.wal_dest, &options, &deadly.stop));
        }
        return if deadly.came() { Err(deadly.die()) } else { Ok(()) };
    }
    let fetched = wal_client::fetch_wal(&remote, &args.wal_name, &args.wal_dest, &options, &deadly.stop);
    match fetched {
        Ok(fetched) => {
            for warning in fetched.warnings {
                session.output.warning(warning);
            }
            if fetched.fetch_ahead {
                start_fetching_ahead(session);
            }
            Ok(())
        }
        Err(FetchWalError::Ssh(SshError::Stopped)) => Err(deadly.die()),
        Err(error) => {
            let failure = failure(&error, hard);
            pause(fetch.sleep, &deadly);
            if deadly.came() { Err(deadly.die()) } else { Err(failure) }
        }
    }
}

/// This program once more, beside PostgreSQL's replay. It stays in PostgreSQL's process group, and so ends with it; it has none of its
/// streams, whose readers would wait for their end.
pub(super) fn start_fetching_ahead(session: &Session) {
    let mut words = std::env::args_os();
    let own = words.next().unwrap_or_else(|| session.program.name().into());
    // Before the positional arguments, which may stand behind `--`.
    let mut words: Vec<OsString> = words.collect();
    let options = if matches!(session.program, Program::Tapster | Program::Barman) {
        words
            .iter()
            .position(|word| word == "wal-restore" || word == "cloud-wal-restore")
            .map_or(0, |at| at + 1)
    } else {
        0
    };
    words.insert(options.min(words.len()), "--fetch-ahead".into());
    let mut command = Command::new("/proc/self/exe");
    command.arg0(own).args(words);
    drop(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn());
}

/// Puts the file where PostgreSQL waits for it, from an archive of this host.
pub(crate) fn run_local(args: &LocalWalRestoreArgs, session: &Session) -> Result<(), Failure> {
    if args.config.is_some() {
        return Err(Failure::user("without BARMAN_HOST the configuration file is named before the command")
            .with_hint(format!(
                "{} -c FILE wal-restore SERVER_NAME WAL_NAME WAL_DEST",
                session.program.name()
            ))
            .with_exit_code(STOP_RECOVERY));
    }
    let hard = |failure: Failure| failure.with_exit_code(STOP_RECOVERY);
    let destination = std::path::absolute(&args.wal_dest).unwrap_or_else(|_| args.wal_dest.clone());
    let setup = Setup::for_postgresql(session).map_err(hard)?;
    let server = setup.one(&args.server, Rules::CATALOG).map_err(hard)?;
    let name = args
        .wal_name
        .parse()
        .map_err(|_| hard(Failure::user(format!("'{}' is not a valid wal file name", args.wal_name))))?;
    match server.restore_wal(name, args.partial, &destination) {
        Ok(_) => Ok(()),
        Err(error @ GetWalError::Store(WalStoreError::NotFound { .. })) => {
            Err(Failure::get_wal(&error).with_exit_code(MISSING))
        }
        Err(error) => Err(hard(Failure::get_wal(&error))),
    }
}

fn options(fetch: &FetchArgs, hard: bool) -> FetchOptions {
    let mut options = FetchOptions::default();
    options.partial = fetch.partial;
    options.compression = match (fetch.gzip, fetch.bzip2, fetch.keep_compression) {
        (true, _, _) => TransferCompression::Gzip,
        (_, true, _) => TransferCompression::Bzip2,
        (_, _, true) => TransferCompression::AsStored,
        _ => TransferCompression::Off,
    };
    options.parallel = fetch.parallel;
    options.spool_dir.clone_from(&fetch.spool_dir);
    options.ask_whether_missing = hard;
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
