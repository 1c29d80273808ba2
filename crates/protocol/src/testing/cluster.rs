//! A server of one's own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;

use super::account::Account;
use super::binaries::{Binaries, servers};
use super::builder::Builder;
use crate::{ConnInfo, ConnectOptions, Connection, Environment, Mode};

/// A PostgreSQL cluster in a temporary directory; stopped and removed when dropped.
#[derive(Debug)]
pub struct Cluster {
    directory: TempDir,
    binaries: Binaries,
    account: Option<Account>,
    port: u16,
    variables: Vec<(String, String)>,
}

/// How to stop a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StopMode {
    /// Sessions are ended, a checkpoint is written, walsenders drain.
    Fast,
    /// As a crash.
    Immediate,
}

impl Cluster {
    /// A cluster to be configured.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The major versions on this machine, newest first.
    pub fn available_majors() -> Vec<u32> {
        servers().iter().map(|binaries| binaries.major).collect()
    }

    pub(super) fn empty(
        binaries: Binaries,
        account: Option<Account>,
        port: u16,
        variables: Vec<(String, String)>,
    ) -> Self {
        // Not below the target directory: the path of a socket has room for 107 bytes.
        let directory =
            tempfile::Builder::new().prefix("tpg").tempdir_in("/tmp").expect("create a directory");
        Account::own(account, directory.path());
        Self { directory, binaries, account, port, variables }
    }

    pub(super) const fn account(&self) -> Option<Account> {
        self.account
    }

    /// The programs it runs with.
    pub const fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Its major version.
    pub const fn major(&self) -> u32 {
        self.binaries.major
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The WAL directory.
    pub fn wal_dir(&self) -> PathBuf {
        self.data_dir().join("pg_wal")
    }

    /// The temporary directory around it, for tablespaces and the like; belongs to the server's user.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A new directory in [`Cluster::directory`] that the server can write to.
    ///
    /// # Panics
    /// When it exists.
    pub fn create_dir(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::create_dir(&path).expect("create a directory");
        Account::own(self.account, &path);
        path
    }

    /// Where the Unix socket is.
    pub fn socket_dir(&self) -> &Path {
        self.directory.path()
    }

    /// The port, of the Unix socket too.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read(self.log_file())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// A connection string over the Unix socket, as `postgres`.
    ///
    /// # Panics
    /// Never.
    pub fn conninfo(&self) -> ConnInfo {
        let socket = self.socket_dir().display();
        ConnInfo::parse(&format!("host={socket} port={} user=postgres dbname=postgres", self.port))
            .expect("a connection string")
    }

    /// The same over TCP.
    ///
    /// # Panics
    /// Never.
    pub fn tcp_conninfo(&self) -> ConnInfo {
        ConnInfo::parse(&format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port))
            .expect("a connection string")
    }

    /// [`Cluster::conninfo`] resolved without an environment.
    ///
    /// # Panics
    /// Never.
    pub fn options(&self) -> ConnectOptions {
        ConnectOptions::resolve(&self.conninfo(), &Environment::default()).expect("connection options")
    }

    /// An SQL connection.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn connect(&self) -> Connection {
        Connection::connect(&self.options(), Mode::Sql).expect("connect")
    }

    /// A replication connection.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn replication(&self) -> Connection {
        Connection::connect(&self.options(), Mode::PhysicalReplication).expect("connect for replication")
    }

    /// Runs SQL on a connection of its own; NULL is the empty string.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn sql(&self, sql: &str) -> Vec<Vec<String>> {
        let rows = self.connect().query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter()
            .map(|row| row.into_iter().map(|value| value.unwrap_or_default().to_owned()).collect())
            .collect()
    }

    /// The only value of the only row of a query.
    ///
    /// # Panics
    /// When there is none.
    pub fn value(&self, sql: &str) -> String {
        self.sql(sql).into_iter().flatten().next().unwrap_or_else(|| panic!("{sql}: no row"))
    }

    /// Starts the server and waits until it accepts connections.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(&self) {
        let started = self.pg_ctl(&["start", "-w", "-t", "120", "-l", &self.log_file().to_string_lossy()]);
        assert!(started, "server did not start:\n{}", self.log());
    }

    /// Stops the server and waits until it is down.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(&self, mode: StopMode) {
        assert!(self.try_stop(mode), "server did not stop:\n{}", self.log());
    }

    fn try_stop(&self, mode: StopMode) -> bool {
        let mode = if mode == StopMode::Fast { "fast" } else { "immediate" };
        self.pg_ctl(&["stop", "-w", "-t", "120", "-m", mode])
    }

    /// Whether the postmaster is there.
    pub fn is_running(&self) -> bool {
        self.pg_ctl(&["status"])
    }

    /// Stops and starts it.
    ///
    /// # Panics
    /// When either fails.
    pub fn restart(&self) {
        self.stop(StopMode::Fast);
        self.start();
    }

    /// Re-reads the configuration.
    ///
    /// # Panics
    /// When the server is not running.
    pub fn reload(&self) {
        assert!(self.pg_ctl(&["reload"]), "reload failed");
    }

    /// Promotes a standby and waits until it is a primary.
    ///
    /// # Panics
    /// When it does not.
    pub fn promote(&self) {
        assert!(self.pg_ctl(&["promote", "-w", "-t", "120"]), "not promoted:\n{}", self.log());
    }

    fn pg_ctl(&self, arguments: &[&str]) -> bool {
        self.command("pg_ctl")
            .args(arguments)
            .arg("-s")
            .arg("-D")
            .arg(self.data_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("run pg_ctl")
            .success()
    }

    /// Runs one of the server's programs as the server's user, in the server's environment.
    pub fn command(&self, program: &str) -> std::process::Command {
        let mut command = Account::command(self.account, self.binaries.program(program));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Adds to a file in the data directory.
    ///
    /// # Panics
    /// When that fails.
    pub fn append(&self, file: &str, text: &str) {
        let path = self.data_dir().join(file);
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        self.replace(file, &format!("{old}\n{text}"));
    }

    /// Writes a file in the data directory.
    ///
    /// # Panics
    /// When that fails.
    pub fn replace(&self, file: &str, text: &str) {
        let path = self.data_dir().join(file);
        std::fs::write(&path, text).expect("write into the data directory");
        Account::own(self.account, &path);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.data_dir().join("postmaster.pid").exists() {
            let _ = self.try_stop(StopMode::Immediate);
        }
    }
}
