//! A PostgreSQL server that nobody but us can reach, and that reaches nobody.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tapster_protocol::{ConnInfo, ConnectError, ConnectOptions, Connection, Environment, Mode, QueryError};
use walfile::{ControlFile, WalLevel};

use super::account::Account;
use super::binaries::Binaries;
use super::blame::answer;
use super::log::{Recovery, last_words};
use super::scratch::{Scratch, new_file};
use super::{VerifyRestoreError, VerifyRestoreOptions};
use crate::Context;
use crate::restore::settings::quote;

/// The file a restore writes recovery settings to, instead of the old server's `postgresql.auto.conf`.
pub(super) const RECOVERY: &str = "verify-restore.conf";
const PORT: u16 = 5432;
/// Of a log that is read, at its beginning and at its end.
const MOST_LOG: u64 = 4 * 1024 * 1024;

/// A started server, stopped when dropped.
#[derive(Debug)]
pub(super) struct Instance<'a> {
    child: Child,
    scratch: &'a Scratch,
    account: Option<Account>,
    options: &'a VerifyRestoreOptions,
}

fn io_at(path: &Path) -> impl FnOnce(std::io::Error) -> VerifyRestoreError + '_ {
    move |source| VerifyRestoreError::Io { path: path.to_owned(), source }
}

/// Writes a file that the server is to read. What has its name is removed, not written through: in a backup it may be a link.
fn put(path: &Path, content: &str, account: Option<Account>) -> Result<(), VerifyRestoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_at(path)(error)),
        _ => {}
    }
    let written = new_file(path, 0o640).and_then(|mut file| {
        account.map_or(Ok(()), |account| account.show(&file))?;
        file.write_all(content.as_bytes())
    });
    written.map_err(io_at(path))
}

impl<'a> Instance<'a> {
    /// Starts PostgreSQL on the restored directory.
    pub(super) fn start(
        scratch: &'a Scratch,
        binaries: &Binaries,
        options: &'a VerifyRestoreOptions,
        account: Option<Account>,
    ) -> Result<Self, VerifyRestoreError> {
        let data = scratch.data();
        let control = data.join("global/pg_control");
        let mut bytes = Vec::new();
        File::open(&control)
            .and_then(|file| file.take(ControlFile::FILE_LEN as u64).read_to_end(&mut bytes))
            .map_err(io_at(&control))?;
        let found =
            ControlFile::parse(&bytes).map_err(|error| io_at(&control)(std::io::Error::other(error)))?;
        // What ALTER SYSTEM set on the old server holds there, not here.
        let auto = data.join("postgresql.auto.conf");
        put(&auto, "", account)?;
        put(&scratch.file("pg_hba.conf"), "local all all trust\n", account)?;
        put(&scratch.file("pg_ident.conf"), "", account)?;
        put(&scratch.file("postgresql.conf"), &configuration(scratch, &found, options)?, account)?;
        let log = scratch.log();
        let file = new_file(&log, 0o600).map_err(io_at(&log))?;
        std::fs::set_permissions(&data, Permissions::from_mode(0o700)).map_err(io_at(&data))?;
        if let Some(account) = account {
            scratch.give(account)?;
        }
        let program = binaries.postgres();
        let mut command = Account::command(account, &program, options);
        command.arg("-D").arg(&data).arg("-c");
        command.arg(format!("config_file={}", scratch.file("postgresql.conf").display()));
        let copy = file.try_clone().map_err(io_at(&log))?;
        // Signals from a terminal are for us; the server is stopped by us.
        command.stdin(Stdio::null()).stdout(copy).stderr(file).process_group(0);
        let child = command.spawn().map_err(io_at(&program))?;
        Ok(Self { child, scratch, account, options })
    }

    /// Waits until recovery has ended.
    pub(super) fn wait(
        &mut self,
        timeout: Duration,
        context: &Context<'_>,
    ) -> Result<(), VerifyRestoreError> {
        let patience = Instant::now() + timeout;
        let mut pause = Duration::from_millis(10);
        while !self.is_ready() {
            if context.stopped() {
                return Err(VerifyRestoreError::Stopped);
            }
            let ended = self.child.try_wait();
            if ended.is_ok_and(|status| status.is_some()) {
                let (reason, log) = last_words(&self.log());
                return Err(VerifyRestoreError::NotStarted { reason, log });
            }
            if Instant::now() >= patience {
                let log = self.log();
                let replayed = log.lines().rev().find_map(|line| {
                    let (_, rest) = line.split_once("restored log file \"")?;
                    rest.split_once('"').map(|(name, _)| name.to_owned())
                });
                return Err(VerifyRestoreError::Timeout {
                    after: timeout,
                    replayed,
                    log: last_words(&log).1,
                });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(200));
        }
        Ok(())
    }

    /// The last line of `postmaster.pid` says it, as `pg_ctl` reads it.
    fn is_ready(&self) -> bool {
        let mut text = String::new();
        // Its directory is another user's, who could put anything there.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(self.scratch.data().join("postmaster.pid"));
        if let Ok(file) = opened {
            drop(file.take(4096).read_to_string(&mut text));
        }
        text.lines().nth(7).is_some_and(|status| status.trim() == "ready")
    }

    /// What the server has logged: how it began and how it went on last.
    pub(super) fn log(&self) -> String {
        File::open(self.scratch.log()).and_then(|file| ends_of(file, MOST_LOG)).unwrap_or_default()
    }

    /// How far recovery came.
    pub(super) fn recovery(&self) -> Recovery {
        Recovery::read(&self.log())
    }

    /// Connects to a database.
    pub(super) fn connect(
        &self,
        user: &str,
        database: &str,
        context: &Context<'_>,
    ) -> Result<Connection, VerifyRestoreError> {
        let refused =
            |error: &dyn std::fmt::Display| VerifyRestoreError::Unasked { reason: error.to_string() };
        let mut conninfo =
            ConnInfo::parse("application_name=verify-restore").map_err(|error| refused(&error))?;
        let sockets = self.scratch.sockets().display().to_string();
        let port = PORT.to_string();
        for (key, value) in
            [("host", sockets.as_str()), ("port", &port), ("user", user), ("dbname", database)]
        {
            conninfo.set(key, value).map_err(|error| refused(&error))?;
        }
        let options =
            ConnectOptions::resolve(&conninfo, &Environment::default()).map_err(|error| refused(&error))?;
        let stop = std::sync::Arc::clone(&context.stop);
        Connection::connect_with_stop(&options, Mode::Sql, stop).map_err(|error| match error {
            ConnectError::Server { error, .. } => answer(&QueryError::Server(error), "", ""),
            error => refused(&error),
        })
    }

    /// A client program that connects to this server.
    pub(super) fn client(&self, program: &Path, user: &str) -> std::process::Command {
        let mut command = Account::command(self.account, program, self.options);
        command.arg("-h").arg(self.scratch.sockets()).args(["-p", &PORT.to_string(), "-U", user]);
        command
    }

    /// Ends the server: as quickly as can be, or so that its directory can be used again.
    pub(super) fn stop(&mut self, cleanly: bool) {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        let (signal, patience) = if cleanly {
            (Signal::INT, Duration::from_secs(120))
        } else {
            (Signal::QUIT, Duration::from_secs(10))
        };
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = kill_process(pid, signal);
        let patience = Instant::now() + patience;
        while Instant::now() < patience {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = kill_process_group(pid, Signal::KILL);
        drop(self.child.wait());
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        self.stop(false);
    }
}

/// The first and the last `most` bytes of a file.
fn ends_of(mut file: File, most: u64) -> std::io::Result<String> {
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    (&mut file).take(most).read_to_end(&mut bytes)?;
    let tail = length.saturating_sub(most);
    if tail > most {
        // Both lines are cut.
        bytes.push(b'\n');
        file.seek(SeekFrom::Start(tail))?;
    }
    (&mut file).take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The whole configuration of the server: nothing comes from that of the old one.
fn configuration(
    scratch: &Scratch,
    control: &ControlFile,
    options: &VerifyRestoreOptions,
) -> Result<String, VerifyRestoreError> {
    let text = |path: PathBuf| quote(&path.display().to_string());
    let data = scratch.data();
    let mut conf = String::new();
    let mut set = |key: &str, value: &str| {
        let _ = writeln!(conf, "{key} = {value}");
    };
    // Reachable by nobody else.
    set("listen_addresses", "''");
    set("port", &PORT.to_string());
    set("unix_socket_directories", &quote(&scratch.sockets().display().to_string()));
    set("unix_socket_permissions", "0700");
    set("hba_file", &text(scratch.file("pg_hba.conf")));
    set("ident_file", &text(scratch.file("pg_ident.conf")));
    set("ssl", "off");
    // Reaching nobody.
    set("archive_mode", "off");
    set("max_logical_replication_workers", "0");
    set("shared_preload_libraries", &quote(&options.preload));
    if control.major >= 17 {
        set("event_triggers", "off");
    }
    // What replay needs at least, and no more memory than that.
    set("max_connections", &control.max_connections.max(20).to_string());
    set("max_worker_processes", &control.max_worker_processes.max(8).to_string());
    set("max_wal_senders", &control.max_wal_senders.unwrap_or(10).max(10).to_string());
    set("max_prepared_transactions", &control.max_prepared_xacts.max(20).to_string());
    set("max_locks_per_transaction", &control.max_locks_per_xact.max(64).to_string());
    set("track_commit_timestamp", if control.track_commit_timestamp { "on" } else { "off" });
    set("wal_level", if control.wal_level == WalLevel::Logical { "logical" } else { "replica" });
    set("shared_buffers", "128MB");
    set("huge_pages", "off");
    set("max_wal_size", "4GB");
    set("checkpoint_timeout", "1h");
    // Settings of the primary that are raised in the WAL must not end recovery.
    set("hot_standby", "off");
    // It is thrown away.
    for key in ["fsync", "full_page_writes", "synchronous_commit", "autovacuum", "restart_after_crash"] {
        set(key, "off");
    }
    set("logging_collector", "off");
    set("log_destination", "stderr");
    set("log_line_prefix", "'%m [%p] '");
    set("lc_messages", "'C'");
    if has_inner_tablespaces(&data)? {
        set("allow_in_place_tablespaces", "on");
    }
    set("include_if_exists", &text(data.join(RECOVERY)));
    if control.major >= 12 {
        set("primary_conninfo", "''");
        set("primary_slot_name", "''");
        set("recovery_end_command", "''");
        set("archive_cleanup_command", "''");
    }
    Ok(conf)
}

fn has_inner_tablespaces(data: &Path) -> Result<bool, VerifyRestoreError> {
    let links = data.join("pg_tblspc");
    for entry in std::fs::read_dir(&links).map_err(io_at(&links))? {
        let entry = entry.map_err(io_at(&links))?;
        if entry.file_type().map_err(io_at(&links))?.is_dir() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_beginning_and_the_end_are_read() {
        let ends = |text: &str| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.rewind().unwrap();
            ends_of(file, 4).unwrap()
        };
        assert_eq!(ends("abc"), "abc");
        assert_eq!(ends("abcdefgh"), "abcdefgh");
        assert_eq!(ends("abcdefghij"), "abcd\nghij");
    }
}
