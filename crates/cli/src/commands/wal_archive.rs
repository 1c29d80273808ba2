//! `barman-wal-archive` and `tapster wal-archive`.

use std::time::Duration;

use tapster_manager::wal_client::{self, RemoteBarman, SendOptions, SendWalError, SshError};
use walfile::codec::{Compression, Level};

use super::put_wal::receiving_server;
use super::signals::Deadly;
use crate::args::wal_archive::{LocalWalArchiveArgs, WalArchiveArgs};
use crate::failure::{Failure, chain};
use crate::session::Session;
use crate::startup::Setup;

/// Something here is wrong.
const LOCAL: u8 = 2;
/// There is no connection.
const CONNECTION: u8 = 3;

/// Sends the file over ssh.
pub(crate) fn run(args: &WalArchiveArgs, session: &Session) -> Result<(), Failure> {
    session.output.tolerate_lost_lines();
    let deadly = Deadly::watch()?;
    let send = &args.send;
    let mut remote = RemoteBarman::new(&*send.user, &*args.host, &*args.server);
    remote.port.clone_from(&send.port);
    remote.config.clone_from(&send.config);
    remote.patience = send.io_timeout.map(Duration::from_secs);
    if send.test {
        let tested = wal_client::test_put_wal(&remote, &deadly.stop);
        return show_test(tested, session, &deadly, LOCAL);
    }
    let mut options = SendOptions::default();
    options.md5 = send.md5;
    options.compression = send.compression().and_then(|name| name.parse().ok()).unwrap_or(Compression::None);
    options.level = level(send.compression_level.as_deref());
    options.temp_dir = std::env::temp_dir();
    wal_client::send_wal(&remote, &args.wal_path, &options, &deadly.stop).map_err(|error| match error {
        SendWalError::Ssh(SshError::Stopped) => deadly.die(),
        SendWalError::Ssh(error) => ssh_failure(&error, LOCAL, CONNECTION),
        error => Failure::user(chain(&error)).with_exit_code(LOCAL),
    })
}

/// Stores the file on this host.
pub(crate) fn run_local(args: &LocalWalArchiveArgs, session: &Session) -> Result<(), Failure> {
    if args.config.is_some() {
        return Err(Failure::user("without BARMAN_HOST the configuration file is named before the command")
            .with_hint(format!("{} -c FILE wal-archive SERVER_NAME WAL_PATH", session.program.name()))
            .with_exit_code(LOCAL));
    }
    let path = std::path::absolute(&args.wal_path).unwrap_or_else(|_| args.wal_path.clone());
    let setup = Setup::for_postgresql(session)?;
    let server = receiving_server(&setup, &args.server)?;
    let observer = setup.observer(&args.server);
    let context = setup.context(&observer);
    // Nothing here waits for anybody, so signals may end it as they do by themselves: then nothing was acknowledged.
    match server.archive_local_wal(&path, &context) {
        Ok(report) => {
            for (name, accepted) in report.files {
                tracing::info!("received {name} ({accepted:?})");
            }
            Ok(())
        }
        Err(error) => Err(Failure::put_wal(&error)),
    }
}

/// A remote code stays what it is; ssh's own failures have the codes of Barman's clients.
pub(super) fn ssh_failure(error: &SshError, local: u8, connection: u8) -> Failure {
    let code = match error {
        SshError::Remote { code, .. } => u8::try_from(*code).unwrap_or(local),
        SshError::Connection | SshError::Stalled { .. } | SshError::Signal { .. } => connection,
        _ => local,
    };
    Failure::user(chain(error)).with_exit_code(code)
}

/// Prints what a remote `--test` printed.
pub(super) fn show_test(
    tested: Result<(Vec<u8>, i32), SshError>,
    session: &Session,
    deadly: &Deadly,
    local: u8,
) -> Result<(), Failure> {
    match tested {
        Ok((output, code)) => {
            session.output.raw_line(String::from_utf8_lossy(&output));
            if code == 0 { Ok(()) } else { Err(Failure::reported(u8::try_from(code).unwrap_or(local))) }
        }
        Err(SshError::Stopped) => Err(deadly.die()),
        Err(error) => Err(Failure::user(chain(&error)).with_exit_code(local)),
    }
}

fn level(text: Option<&str>) -> Level {
    match text {
        Some("low") => Level::Low,
        Some("high") => Level::High,
        Some(text) => text.trim().parse().map_or(Level::Medium, Level::Exact),
        None => Level::Medium,
    }
}
