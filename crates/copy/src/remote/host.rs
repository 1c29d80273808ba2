//! The way to another host.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use super::error::{RemoteError, last_line, printable};
use super::guard::Guard;
use super::process::Sending;
use crate::rsync::SSH_OPTIONS;

/// A host that vanished without a word is noticed after 45 seconds, unless the user's command says otherwise.
const ALIVE: [&str; 4] = ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3"];
/// Said by the other host when the connection stands.
const READY: &str = "tapster-is-connected";
/// What may be printed before it.
const MAX_NOISE: u64 = 64 * 1024;
/// The name of a socket, with what ssh appends while it makes it, fits into `sun_path`.
const MAX_SOCKET: usize = 80;

/// Another host, reached by an ssh command that ends in its name, such as `ssh -p 2222 postgres@db`.
///
/// Commands go over one connection where the ssh is OpenSSH's: a first ssh holds it (`ControlMaster`), the others use its socket
/// in a private directory. With another ssh, or where the connection cannot be shared, each command has its own. The
/// connection ends with the value, or with this process.
#[derive(Debug)]
pub struct Host {
    command: String,
    words: Vec<String>,
    shared: Option<Shared>,
}

/// A shell script for another host.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Script<'a> {
    /// What it does, for messages: `reading the configuration files`.
    pub what: &'a str,
    /// Its text, for a POSIX shell, without a newline.
    pub text: &'a str,
    /// Its `$1`, `$2` and so on, of any bytes but NUL.
    pub arguments: &'a [&'a OsStr],
    /// Its standard input.
    pub input: &'a [u8],
    /// Bytes it may print; 64 KiB if nothing else is said.
    pub limit: usize,
    /// After which time it is given up; never if nothing else is said, as long as the host answers ssh.
    pub patience: Option<Duration>,
    /// What goes before it.
    pub guard: Option<&'a Guard>,
}

impl<'a> Script<'a> {
    /// A script without input.
    pub const fn new(what: &'a str, text: &'a str, arguments: &'a [&'a OsStr]) -> Self {
        Self { what, text, arguments, input: &[], limit: 64 * 1024, patience: None, guard: None }
    }
}

/// The ssh that holds the connection.
#[derive(Debug)]
struct Shared {
    child: Mutex<Child>,
    socket: PathBuf,
    said: Arc<Mutex<Vec<u8>>>,
    _directory: TempDir,
}

/// How a first command went.
enum Hello {
    Connected { child: Child, noise: Option<String>, said: Arc<Mutex<Vec<u8>>> },
    Failed { said: String },
}

impl Host {
    /// Connects. `words` is `command` as the shell splits it.
    ///
    /// # Errors
    /// When ssh cannot be run, does not get there, or when the shell there prints something of its own.
    pub fn connect(command: &str, words: Vec<String>, stop: &Arc<AtomicBool>) -> Result<Self, RemoteError> {
        if words.first().is_none_or(String::is_empty) {
            return Err(RemoteError::Command { command: command.to_owned() });
        }
        let mut host = Self { command: command.to_owned(), words, shared: None };
        if let Some(directory) = private_directory() {
            let socket = directory.path().join("ssh");
            let options = [
                "-o".to_owned(),
                "ControlMaster=yes".to_owned(),
                "-o".to_owned(),
                control_path(&socket),
                "-o".to_owned(),
                "ControlPersist=no".to_owned(),
            ];
            if let Hello::Connected { child, noise, said } = host.hello(&options, stop)? {
                refuse(noise)?;
                if socket.exists() {
                    host.shared =
                        Some(Shared { child: Mutex::new(child), socket, said, _directory: directory });
                } else {
                    // The user's command has its own way of sharing, or none.
                    end(child);
                }
                return Ok(host);
            }
        }
        // An ssh that stumbles over those options may do without.
        match host.hello(&[], stop)? {
            Hello::Connected { child, noise, .. } => {
                end(child);
                refuse(noise)?;
                Ok(host)
            }
            Hello::Failed { said } => Err(RemoteError::Connect { command: host.command, said }),
        }
    }

    /// The command that leads there, as it was given.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Whether all commands use one connection.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// The ssh command for a program that adds the remote command itself, such as `rsync -e`; with `own`, for a connection of
    /// its own.
    pub fn ssh_command(&self, own: bool) -> String {
        let mut command = self.command.clone();
        for word in ALIVE {
            command.push(' ');
            command.push_str(word);
        }
        if let Some(shared) = self.shared.as_ref().filter(|_| !own) {
            command.push_str(" -o ControlMaster=no -o ");
            command.push_str(&control_path(&shared.socket));
        }
        command
    }

    /// Runs a script there. What it prints comes back.
    ///
    /// # Errors
    /// When ssh or the script fails, says too much, or is not done in time.
    pub fn run(&self, script: &Script<'_>, stop: &Arc<AtomicBool>) -> Result<Vec<u8>, RemoteError> {
        let mut sending = self.start(script, stop)?;
        // A script that failed has not read it all, and its exit code says so.
        let _ = sending.write_all(script.input);
        self.explained(sending.finish())
    }

    /// Runs a script without input that may print anything: it is handed over in pieces as it comes, and [`Script::limit`] is not
    /// for this.
    ///
    /// # Errors
    /// When ssh or the script fails or is not done in time, or what `take` says.
    pub fn read(
        &self,
        script: &Script<'_>,
        stop: &Arc<AtomicBool>,
        mut take: impl FnMut(&[u8]) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        let (sending, pieces) =
            Sending::start_reading(self.script(script), script.what, script.patience, stop)?;
        for piece in pieces {
            take(&piece)?;
        }
        self.explained(sending.finish().map(drop))
    }

    /// Starts a script that reads its standard input; [`Script::input`] is not for this.
    ///
    /// # Errors
    /// When ssh cannot be run.
    pub fn start(&self, script: &Script<'_>, stop: &Arc<AtomicBool>) -> Result<Sending, RemoteError> {
        Sending::start(self.script(script), script.what, script.limit, script.patience, stop)
    }

    /// What the ssh that holds the connection said last, where the one that used it has nothing to say.
    fn explained<T>(&self, result: Result<T, RemoteError>) -> Result<T, RemoteError> {
        result.map_err(|error| match (error, &self.shared) {
            (RemoteError::Broken { what, said }, Some(shared)) if said.is_empty() => {
                let heard = shared.said.lock().unwrap_or_else(PoisonError::into_inner);
                RemoteError::Broken { what, said: last_line(&heard) }
            }
            (error, _) => error,
        })
    }

    fn ssh(&self) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map(String::as_str).unwrap_or_default());
        command.env("LC_ALL", "C").args(words).args(SSH_OPTIONS.split(' ')).args(ALIVE);
        command
    }

    fn script(&self, script: &Script<'_>) -> Command {
        let mut command = self.ssh();
        if let Some(shared) = &self.shared {
            command.args(["-o", "ControlMaster=no", "-o", &control_path(&shared.socket)]);
        }
        let mut line = b"exec ".to_vec();
        let text = format!("LC_ALL=C; export LC_ALL; {}", script.text);
        let text = match script.guard {
            None => text,
            Some(guard) => {
                let (environment, text) = guard.around(&text);
                line.extend_from_slice(environment);
                line.push(b' ');
                text
            }
        };
        line.extend_from_slice(b"sh -c ");
        quote(&mut line, text.as_bytes());
        line.extend_from_slice(b" sh");
        for argument in script.arguments {
            line.push(b' ');
            quote(&mut line, argument.as_bytes());
        }
        command.arg(OsStr::from_bytes(&line));
        command
    }

    /// Connects with these further options, and holds the connection for as long as our end of its input is open.
    fn hello(&self, options: &[String], stop: &Arc<AtomicBool>) -> Result<Hello, RemoteError> {
        if stop.load(Ordering::Relaxed) {
            return Err(RemoteError::Stopped);
        }
        let mut command = self.ssh();
        command.args(options).arg(format!("echo {READY}; exec cat"));
        let program = command.get_program().into();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| RemoteError::Start { program, source })?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let listening = child.stderr.take().map(|err| {
            let said = Arc::clone(&said);
            std::thread::spawn(move || listen(err, &said))
        });
        let (report, answer) = channel();
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || {
                let mut out = BufReader::new(out.take(MAX_NOISE));
                let _ = report.send(wait_for_ready(&mut out));
                // What comes after it is nobody's business.
                let _ = std::io::copy(&mut out.into_inner().into_inner(), &mut std::io::sink());
            });
        }
        let outcome = loop {
            if stop.load(Ordering::Relaxed) {
                end(child);
                return Err(RemoteError::Stopped);
            }
            match answer.recv_timeout(Duration::from_millis(50)) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(outcome) => break outcome,
                Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        if let Some(noise) = outcome {
            return Ok(Hello::Connected { child, noise, said });
        }
        end(child);
        // A program that ssh has started may hold its standard error open for longer.
        for _ in 0..40 {
            if listening.as_ref().is_none_or(std::thread::JoinHandle::is_finished) {
                break;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        let said = last_line(&said.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Hello::Failed { said })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // Without its input the command there ends, and with it the connection; a host that does not answer is not waited for.
        drop(child.stdin.take());
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The line that was waited for; with the first that came before it.
#[expect(clippy::option_option, reason = "connected or not, with noise or without")]
fn wait_for_ready(out: &mut impl BufRead) -> Option<Option<String>> {
    let (mut noise, mut line) = (None, Vec::new());
    loop {
        line.clear();
        match out.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        if text.trim_end_matches(['\r', '\n']) == READY {
            return Some(noise);
        }
        noise.get_or_insert_with(|| printable(text.trim_end()));
    }
}

fn listen(mut err: impl Read, said: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = err.read(&mut buffer) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let excess = said.len().saturating_sub(4096);
        said.drain(..excess);
    }
}

fn refuse(noise: Option<String>) -> Result<(), RemoteError> {
    noise.map_or(Ok(()), |said| Err(RemoteError::Noise { said }))
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// A directory of ours whose name is short enough for a socket in it.
fn private_directory() -> Option<TempDir> {
    let make = |place: &Path| {
        let ours = Permissions::from_mode(0o700);
        tempfile::Builder::new().prefix("tapster-").permissions(ours).tempdir_in(place).ok()
    };
    let fits = |made: &TempDir| {
        let name = made.path().as_os_str().as_bytes();
        // `rsync -e` splits at blanks.
        name.len() < MAX_SOCKET
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(byte))
    };
    make(&std::env::temp_dir()).filter(fits).or_else(|| make(Path::new("/tmp")).filter(fits))
}

fn control_path(socket: &Path) -> String {
    format!("ControlPath={}", socket.display())
}

/// One word of a shell, whatever is in it.
pub(super) fn quote(line: &mut Vec<u8>, word: &[u8]) {
    line.push(b'\'');
    for byte in word {
        if *byte == b'\'' { line.extend_from_slice(b"'\\''") } else { line.push(*byte) }
    }
    line.push(b'\'');
}
