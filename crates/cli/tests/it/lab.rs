//! A real PostgreSQL server, a catalog of its own, and the programs that work with both.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tapster_protocol::testing::{Builder, Cluster};
use tapster_protocol::{ConnectOptions, Connection, Environment, Mode};
use tempfile::TempDir;

use crate::program::{Run, original, run_as};

pub struct Lab {
    pub cluster: Cluster,
    home: TempDir,
}

/// The name this process's user has in a configuration.
pub fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Lab {
    /// `None` where there is no PostgreSQL.
    pub fn new() -> Option<Self> {
        Self::with(|builder| builder)
    }

    /// With a server that is not as usual.
    pub fn with(configure: impl FnOnce(Builder) -> Builder) -> Option<Self> {
        let cluster = configure(Cluster::builder().checksums(true)).start()?;
        let lab = Self { cluster, home: tempfile::tempdir().unwrap() };
        let conninfo = lab.cluster.conninfo().to_conninfo_string();
        lab.configure("tapster.conf", &conninfo, "");
        Some(lab)
    }

    /// Writes a configuration with the one server `main`.
    pub fn configure(&self, file: &str, conninfo: &str, extra: &str) -> PathBuf {
        let path = self.home.path().join(file);
        let text = format!(
            "[barman]\nbarman_home = {home}/home\nbarman_user = {user}\nlog_file = {home}/log\n[main]\n\
             description = the lab\nconninfo = {conninfo}\nstreaming_conninfo = {conninfo}\nbackup_method = postgres\n\
             streaming_archiver = on\nslot_name = tapster\ncompression = gzip\nimmediate_checkpoint = on\n{extra}",
            home = self.home.path().display(),
            user = user(),
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn server_dir(&self) -> PathBuf {
        self.path("home/main")
    }

    /// Runs the program under the name `barman`.
    pub fn run(&self, args: &[&str]) -> Run {
        self.run_with("tapster.conf", args)
    }

    pub fn run_with(&self, config: &str, args: &[&str]) -> Run {
        let config = self.path(config);
        run_as("barman", &[&["-c", config.to_str().unwrap()], args].concat())
    }

    /// Runs it and demands success.
    pub fn ok(&self, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?}: {run:?}");
        run.stdout
    }

    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[&["-f", "json"], args].concat())).unwrap()
    }

    /// Real Barman with the same configuration; `None` where it is not installed.
    pub fn barman(&self, args: &[&str]) -> Option<Run> {
        let config = self.path("tapster.conf");
        original("barman", &[&["-c", config.to_str().unwrap()], args].concat())
    }

    /// Creates the slot and starts a receiver that ends with the value.
    pub fn receive(&self) -> Receiver {
        self.ok(&["receive-wal", "--create-slot", "--if-not-exists", "main"]);
        let child = Command::new(assert_cmd::cargo::cargo_bin!("tapster"))
            .args(["-c", self.path("tapster.conf").to_str().unwrap(), "receive-wal", "main"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut receiver = Receiver(child);
        let patience = Instant::now() + Duration::from_secs(30);
        while self.cluster.sql("SELECT 1 FROM pg_replication_slots WHERE active").is_empty() {
            assert!(receiver.0.try_wait().unwrap().is_none(), "the receiver ended");
            assert!(Instant::now() < patience, "the receiver does not connect");
            std::thread::sleep(Duration::from_millis(50));
        }
        receiver
    }

    /// A directory next to the cluster that a restored server can use.
    pub fn destination(&self, name: &str) -> PathBuf {
        self.cluster.create_dir(name)
    }

    /// Starts PostgreSQL on a restored directory and asks it one question once recovery has ended.
    pub fn ask_restored(&self, data: &Path, sql: &str) -> String {
        self.ask_restored_in(data, &[("postgres", sql)]).remove(0)
    }

    /// The same with several questions, each in a database.
    pub fn ask_restored_in(&self, data: &Path, questions: &[(&str, &str)]) -> Vec<String> {
        let sockets = self.give(data);
        let log = sockets.join("log");
        let pg_ctl = |words: &[&str]| {
            let mut command = self.cluster.command("pg_ctl");
            command.arg("-D").arg(data).args(words).stdout(Stdio::null());
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(command.status().unwrap().success(), "{}", log());
        };
        let options = format!("-c listen_addresses='' -c unix_socket_directories={}", sockets.display());
        pg_ctl(&["-w", "-t", "60", "-l", log.to_str().unwrap(), "-o", &options, "start"]);
        let mut conninfo = self.cluster.conninfo();
        conninfo.set("host", sockets.to_str().unwrap()).unwrap();
        let options = ConnectOptions::resolve(&conninfo, &Environment::default()).unwrap();
        let mut connection = Connection::connect(&options, Mode::Sql).unwrap();
        let patience = Instant::now() + Duration::from_secs(60);
        while connection.query("SELECT pg_is_in_recovery() AS r").unwrap().get(0, "r") == Some("t") {
            assert!(Instant::now() < patience, "{}", std::fs::read_to_string(&log).unwrap());
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut ask = |(database, sql): &(&str, &str)| {
            conninfo.set("dbname", *database).unwrap();
            let options = ConnectOptions::resolve(&conninfo, &Environment::default()).unwrap();
            let mut connection = Connection::connect(&options, Mode::Sql).unwrap();
            connection.query(sql).unwrap().value(0, 0).unwrap_or_default().to_owned()
        };
        let answers = questions.iter().map(&mut ask).collect();
        pg_ctl(&["-m", "immediate", "stop"]);
        answers
    }

    /// Starts PostgreSQL on a restored directory where it is to give up by itself. Returns what it logged.
    pub fn fail_restored(&self, data: &Path) -> String {
        let sockets = self.give(data);
        let mut command = self.cluster.command("postgres");
        command.arg("-D").arg(data).args(["-c", "listen_addresses=", "-c"]);
        command.arg(format!("unix_socket_directories={}", sockets.display()));
        let path = self.path("failed.log");
        let mut server = command.stderr(std::fs::File::create(&path).unwrap()).spawn().unwrap();
        let patience = Instant::now() + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = server.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > patience {
                server.kill().unwrap();
                break server.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let log = std::fs::read_to_string(&path).unwrap();
        assert_eq!(status.code(), Some(1), "{log}");
        log
    }

    /// Gives a restored directory to the server's user. Returns a directory for sockets.
    pub fn give(&self, data: &Path) -> PathBuf {
        let mut chown = Command::new("chown");
        chown.arg("-R").arg("--reference").arg(self.cluster.data_dir()).arg(data);
        assert!(chown.status().unwrap().success());
        let name = format!("sockets-{}", data.file_name().unwrap().to_str().unwrap());
        let known = self.cluster.directory().join(&name);
        if known.exists() { known } else { self.cluster.create_dir(&name) }
    }
}

/// A running `receive-wal`.
pub struct Receiver(Child);

impl Receiver {
    /// Stops the process where it is: it holds its lock and receives nothing.
    pub fn freeze(&self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All keys of an object, with those of the objects in it, as `a.b`.
pub fn keys(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Value::Object(map) = value {
        for (key, inner) in map {
            found.push(key.clone());
            found.extend(keys(inner).into_iter().map(|inner| format!("{key}.{inner}")));
        }
    }
    found.sort();
    found
}
