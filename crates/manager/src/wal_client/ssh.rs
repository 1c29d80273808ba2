//! `barman` on another host, through the ssh of the system.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use thiserror::Error;

use super::watch::{Ended, Watch, Whom};

/// ssh's own exit code, as opposed to those of the remote command.
const CONNECTION_FAILED: i32 = 255;

/// Where `barman` runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RemoteBarman {
    /// The ssh client; `ssh` is looked up in `PATH`.
    pub ssh: PathBuf,
    /// The user there.
    pub user: String,
    /// The host, or whatever ssh's configuration calls it.
    pub host: String,
    /// The port, when it is not what ssh takes by itself.
    pub port: Option<String>,
    /// Barman's configuration file there.
    pub config: Option<String>,
    /// The server in that configuration.
    pub server: String,
    /// How long a connection may stand still before it is given up; `None` is for ever, as with Barman, as long as the other host
    /// answers ssh. A `barman` there that hangs otherwise blocks `archive_command` until the disk under `pg_wal` is full.
    pub patience: Option<Duration>,
    /// A socket by which later commands use the connection of the first (ssh's `ControlPath`), which stays for
    /// a minute after the last of them; `None` is a connection for each command.
    pub control: Option<PathBuf>,
}

/// For how long a shared connection waits for the next command: longer than PostgreSQL replays a few segments.
const KEPT_SECONDS: u32 = 60;

/// The remote command did not do its work.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SshError {
    /// There is no ssh here, or it cannot be started.
    #[error("Error executing ssh: {0}")]
    Start(io::Error),
    /// ssh could not connect, or the connection broke.
    #[error("Connection problem with ssh")]
    Connection,
    /// Nothing moved for too long, and the connection was given up.
    #[error("Connection problem with ssh: nothing received from {host} for {} seconds", patience.as_secs())]
    Stalled {
        /// The host.
        host: String,
        /// How long was waited.
        patience: Duration,
    },
    /// The remote command failed; it has said why on standard error.
    #[error("Remote 'barman {command}' command has failed!")]
    Remote {
        /// `put-wal` or `get-wal`.
        command: &'static str,
        /// Its exit code.
        code: i32,
    },
    /// ssh was ended by a signal.
    #[error("ssh was terminated by signal {signal}")]
    Signal {
        /// Which.
        signal: i32,
    },
    /// The program is to stop.
    #[error("stopped")]
    Stopped,
}

impl RemoteBarman {
    /// `barman` of `user` at `host`.
    pub fn new(user: impl Into<String>, host: impl Into<String>, server: impl Into<String>) -> Self {
        Self {
            ssh: PathBuf::from("ssh"),
            user: user.into(),
            host: host.into(),
            port: None,
            config: None,
            server: server.into(),
            patience: None,
            control: None,
        }
    }

    fn ssh(&self) -> Command {
        let mut command = Command::new(&self.ssh);
        if let Some(port) = &self.port {
            command.arg("-p").arg(port);
        }
        if let Some(control) = &self.control {
            command
                .args(["-o", "ControlMaster=auto", "-o"])
                .arg(format!("ControlPath={}", control.display()));
            command.args(["-o", &format!("ControlPersist={KEPT_SECONDS}")]);
        }
        // A host that vanished without a word: who only reads would wait for it for ever.
        command.args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"]);
        command.args(["-q", "-T"]).arg(format!("{}@{}", self.user, self.host)).arg("barman");
        command
    }

    /// `barman put-wal SERVER` there, in the words of `barman-wal-archive` 3.19.1, which forced commands may compare.
    pub(super) fn put_wal(&self, test: bool) -> Command {
        let mut command = self.ssh();
        if let Some(config) = &self.config {
            command.arg(format!("--config={}", single_quoted(config)));
        }
        command.arg("put-wal").arg(quoted_if_needed(&self.server));
        if test {
            command.arg("--test");
        }
        command
    }

    /// `barman get-wal OPTIONS SERVER WAL` there, in the words of `barman-wal-restore` 3.19.1.
    pub(super) fn get_wal(&self, options: &[String], wal: &str) -> Command {
        let mut command = self.ssh();
        if let Some(config) = &self.config {
            command.arg(format!("--config {}", quoted_if_needed(config)));
        }
        let mut words = String::from("get-wal");
        for option in options {
            words.push(' ');
            words.push_str(option);
        }
        command.arg(format!("{words} {} {}", single_quoted(&self.server), single_quoted(wal)));
        command
    }

    /// Starts `command`, whose name is `name`, with these ends of ours.
    pub(super) fn start(
        &self,
        mut command: Command,
        name: &'static str,
        stdin: Stdio,
        stdout: Stdio,
        stop: &Arc<AtomicBool>,
    ) -> Result<Running, SshError> {
        let mut child = command.stdin(stdin).stdout(stdout).spawn().map_err(SshError::Start)?;
        let moved = Arc::new(AtomicU64::new(0));
        let pid = Pid::from_child(&child);
        match Watch::start(Whom::Process(pid), Arc::clone(stop), Arc::clone(&moved), self.patience) {
            Ok(watch) => Ok(Running {
                stdin: child.stdin.take(),
                stdout: child.stdout.take(),
                child,
                pid,
                watch: Some(watch),
                moved,
                name,
                host: self.host.clone(),
                patience: self.patience.unwrap_or_default(),
            }),
            Err(error) => {
                drop(child.kill());
                drop(child.wait());
                Err(SshError::Start(error))
            }
        }
    }

    /// Runs a `--test` and gives back what it printed, on both streams, and its exit code.
    pub(super) fn output(
        &self,
        mut command: Command,
        name: &'static str,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Vec<u8>, i32), SshError> {
        use std::io::Read as _;
        let (mut reader, writer) = io::pipe().map_err(SshError::Start)?;
        command.stderr(writer.try_clone().map_err(SshError::Start)?);
        let running = self.start(command, name, Stdio::null(), Stdio::from(writer), stop)?;
        // `start` took the command, and with it our copies of the writing end.
        let mut output = Vec::new();
        drop(reader.by_ref().take(64 * 1024).read_to_end(&mut output));
        drop(reader);
        let code = match running.finish() {
            Ok(()) => 0,
            Err(SshError::Connection) => CONNECTION_FAILED,
            Err(SshError::Remote { code, .. }) => code,
            Err(error) => return Err(error),
        };
        Ok((output, code))
    }
}

/// A running ssh. Dropped, it is ended.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    pid: Pid,
    watch: Option<Watch>,
    name: &'static str,
    host: String,
    patience: Duration,
    /// Bytes that went through; the watch wants to see it grow.
    pub(super) moved: Arc<AtomicU64>,
    /// Our end of its standard input.
    pub(super) stdin: Option<ChildStdin>,
    /// Our end of its standard output.
    pub(super) stdout: Option<ChildStdout>,
}

impl Running {
    /// Waits for its end. Only an exit code of 0 is success.
    pub(super) fn finish(mut self) -> Result<(), SshError> {
        self.stdin = None;
        let (status, ended) = self.reap().map_err(SshError::Start)?;
        match ended {
            Some(Ended::Stopped) => return Err(SshError::Stopped),
            Some(Ended::Stalled) => {
                return Err(SshError::Stalled { host: self.host.clone(), patience: self.patience });
            }
            None => {}
        }
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(()),
            (Some(CONNECTION_FAILED), _) => Err(SshError::Connection),
            (Some(code), _) => Err(SshError::Remote { command: self.name, code }),
            (None, signal) => Err(SshError::Signal { signal: signal.unwrap_or_default() }),
        }
    }

    fn reap(&mut self) -> io::Result<(ExitStatus, Option<Ended>)> {
        // First without reaping, so that the watch never signals a number that has passed to somebody else.
        while let Err(rustix::io::Errno::INTR) =
            waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {}
        let ended = self.watch.take().and_then(Watch::finish);
        Ok((self.child.wait()?, ended))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.watch.is_some() {
            drop(self.child.kill());
            drop(self.reap());
        }
    }
}

fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Barman does not quote these; a plain word stays one.
fn quoted_if_needed(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| single_quoted(text), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> Vec<String> {
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    /// The lines that Barman 3.19.1's programs gave a recording `ssh`.
    #[test]
    fn command_lines_are_barmans() {
        let mut remote = RemoteBarman::new("bk", "host", "main");
        remote.port = Some("22".to_owned());
        remote.config = Some("/etc/b m.conf".to_owned());
        let words = |command: &Command| {
            let words = words(command);
            words
                .into_iter()
                .filter(|word| word != "-o" && !word.starts_with("ServerAlive"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            words(&remote.put_wal(false)),
            ["-p", "22", "-q", "-T", "bk@host", "barman", "--config='/etc/b m.conf'", "put-wal", "main"]
        );
        remote.port = None;
        remote.config = None;
        assert_eq!(
            words(&remote.put_wal(true)),
            ["-q", "-T", "bk@host", "barman", "put-wal", "main", "--test"]
        );
        let options = ["--peek '3'".to_owned(), "--bzip2".to_owned()];
        assert_eq!(
            words(&remote.get_wal(&options, "0000000100000000000000F0")),
            ["-q", "-T", "bk@host", "barman", "get-wal --peek '3' --bzip2 'main' '0000000100000000000000F0'"]
        );
    }

    #[test]
    fn a_name_cannot_become_a_command() {
        let remote = RemoteBarman::new("bk", "host", "it's; rm -rf /");
        assert_eq!(words(&remote.put_wal(false)).last().unwrap(), "\"it's; rm -rf /\"");
        assert_eq!(words(&remote.get_wal(&[], "x")).last().unwrap(), "get-wal 'it'\\''s; rm -rf /' 'x'");
    }

    #[test]
    fn exit_codes_are_told_apart() {
        let stop = Arc::new(AtomicBool::new(false));
        let mut remote = RemoteBarman::new("bk", "host", "main");
        let run = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            remote.start(command, "put-wal", Stdio::null(), Stdio::null(), &stop).unwrap().finish()
        };
        assert!(run("exit 0").is_ok());
        assert!(matches!(run("exit 255"), Err(SshError::Connection)));
        assert!(matches!(run("exit 7"), Err(SshError::Remote { code: 7, .. })));
        assert!(matches!(run("kill -9 $$"), Err(SshError::Signal { signal: 9 })));
        remote.patience = Some(Duration::from_millis(100));
        let mut command = Command::new("sleep");
        command.arg("60");
        let running = remote.start(command, "put-wal", Stdio::null(), Stdio::null(), &stop).unwrap();
        assert!(matches!(running.finish(), Err(SshError::Stalled { .. })));
    }
}
