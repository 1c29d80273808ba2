//! `tapster basebackup` and `tapster receivewal` beside PostgreSQL's programs, against a real server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tapster_protocol::testing::Cluster;
use tempfile::TempDir;

use crate::program::Run;

/// A server with some data, and a directory for what is made of it.
pub struct Bench {
    pub cluster: Cluster,
    pub directory: TempDir,
}

impl Bench {
    /// `None`: there is no server on this machine.
    pub fn new() -> Option<Self> {
        Self::with(|builder| builder)
    }

    pub fn with(
        configure: impl FnOnce(tapster_protocol::testing::Builder) -> tapster_protocol::testing::Builder,
    ) -> Option<Self> {
        let cluster = configure(Cluster::builder()).start()?;
        cluster
            .sql("CREATE TABLE kept AS SELECT i, md5(i::text) AS text FROM generate_series(1, 20000) AS i");
        Some(Self { cluster, directory: tempfile::tempdir().unwrap() })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `tapster COMMAND ARGS` with the server in the environment.
    pub fn ours(&self, command: &str, args: &[&str]) -> Run {
        let mut program = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
        program.arg(command);
        self.finish(program, args)
    }

    /// PostgreSQL's program with the same arguments.
    pub fn theirs(&self, program: &str, args: &[&str]) -> Run {
        self.finish(Command::new(self.cluster.binaries().program(program)), args)
    }

    pub fn spawn(&self, command: &str, args: &[&str]) -> std::process::Child {
        let mut program = Command::new(assert_cmd::cargo::cargo_bin!("tapster"));
        program.arg(command).args(args);
        self.surround(&mut program);
        program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn surround(&self, command: &mut Command) {
        command
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .env("LC_ALL", "C")
            .env("PGHOST", self.cluster.socket_dir())
            .env("PGPORT", self.cluster.port().to_string())
            .env("PGUSER", "postgres")
            .env_remove("PGPASSWORD");
    }

    fn finish(&self, mut command: Command, args: &[&str]) -> Run {
        self.surround(&mut command);
        let output = command.args(args).output().unwrap();
        Run {
            // An archive on stdout is no text.
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code().unwrap(),
        }
    }

    /// The same message and exit code from both programs, apart from the name.
    pub fn same(&self, command: &str, args: &[&str]) {
        let original = format!("pg_{command}");
        let theirs = self.theirs(&original, args);
        let ours = self.ours(command, args);
        let expected = theirs.stderr.replace(&format!("{original}: "), &format!("tapster {command}: "));
        assert_eq!((ours.stderr.as_str(), ours.code), (expected.as_str(), theirs.code), "{args:?}");
    }

    pub fn verify(&self, directory: &Path, wal: bool) {
        let directory = directory.to_str().unwrap();
        let args: &[&str] = if wal { &["-e", directory] } else { &["-e", "-n", directory] };
        let run = self.theirs("pg_verifybackup", args);
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    }

    /// Starts a server of its own on a data directory, asks it one question, and stops it.
    pub fn value_on(&self, data: &Path, settings: &[&str], sql: &str) -> String {
        let data = data.to_str().unwrap();
        self.own(data);
        let socket = self.directory.path().to_str().unwrap();
        self.own_directory(socket);
        let mut options = format!("-c unix_socket_directories={socket} -c listen_addresses= -c port=5499");
        for setting in settings {
            options.push_str(&format!(" -c {setting}"));
        }
        let log = format!("{socket}/log");
        let start = ["start", "-w", "-s", "-D", data, "-l", &log, "-o", &options];
        let status =
            self.cluster.command("pg_ctl").args(start).stdin(Stdio::null()).stdout(Stdio::null()).status();
        assert!(status.unwrap().success(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
        let ask = ["-X", "-A", "-t", "-h", socket, "-p", "5499", "-U", "postgres", "-c", sql, "postgres"];
        let answer = self.cluster.command("psql").args(ask).output().unwrap();
        let stop = ["stop", "-w", "-s", "-m", "immediate", "-D", data];
        assert!(self.cluster.command("pg_ctl").args(stop).status().unwrap().success());
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        String::from_utf8(answer.stdout).unwrap().trim().to_owned()
    }

    /// The server runs as the user that owns its data directory.
    fn own(&self, path: &str) {
        let like = format!("--reference={}", self.cluster.data_dir().display());
        assert!(Command::new("chown").args(["-R", &like, path]).status().unwrap().success());
    }

    fn own_directory(&self, path: &str) {
        let like = format!("--reference={}", self.cluster.data_dir().display());
        assert!(Command::new("chown").args([&like, path]).status().unwrap().success());
    }

    pub fn unpack(&self, archive: &Path, into: &Path) {
        std::fs::create_dir_all(into).unwrap();
        std::fs::set_permissions(into, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let done = {
            let mut tar = Command::new("tar");
            // tar knows the others by their content.
            if archive.extension().is_some_and(|extension| extension == "lz4") {
                tar.args(["-I", "lz4"]);
            }
            tar.arg("-xf").arg(archive).arg("-C").arg(into).status().unwrap()
        };
        assert!(done.success(), "{}", archive.display());
    }
}

/// Every file below `root` but the directories, by relative name.
pub fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                pending.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}
