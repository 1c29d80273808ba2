//! Encryption with GnuPG (`encryption = gpg`): the real `gpg`, called as Barman 3.19 calls it.
//!
//! Nothing is written in between: the bytes go through the program. The passphrase goes to its standard input, in front of what
//! is to be decrypted, so that it is in no command line, no file and no environment.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::child::{Filter, Watch};

/// How long `gpg` or the passphrase command may give no byte.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest passphrase.
const MAX_PASSPHRASE: u64 = 64 * 1024;

/// How to encrypt and decrypt. Clones share the passphrase, which is asked for once, when it is first needed.
#[derive(Clone)]
pub struct Gpg {
    program: OsString,
    recipient: Option<String>,
    command: Option<String>,
    passphrase: Arc<Mutex<Option<Arc<[u8]>>>>,
    stop: Option<Arc<AtomicBool>>,
    patience: Duration,
}

impl Default for Gpg {
    fn default() -> Self {
        Self::new()
    }
}

impl Gpg {
    /// The `gpg` of the search path, without a key to encrypt for, and with whatever passphrases its agent knows.
    pub fn new() -> Self {
        Self {
            program: "gpg".into(),
            recipient: None,
            command: None,
            passphrase: Arc::default(),
            stop: None,
            patience: PATIENCE,
        }
    }

    /// Another program.
    #[must_use]
    pub fn with_program(self, program: impl Into<OsString>) -> Self {
        Self { program: program.into(), ..self }
    }

    /// The key to encrypt for (`encryption_key_id`).
    #[must_use]
    pub fn with_recipient(self, recipient: Option<String>) -> Self {
        Self { recipient: recipient.filter(|text| !text.is_empty()), ..self }
    }

    /// The shell command that prints the passphrase (`encryption_passphrase_command`).
    #[must_use]
    pub fn with_passphrase_command(self, command: Option<String>) -> Self {
        Self { command: command.filter(|text| !text.is_empty()), passphrase: Arc::default(), ..self }
    }

    /// Running programs are ended when this is set.
    #[must_use]
    pub fn with_stop(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// How long a program may give no byte; a minute by default.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Whether running programs are being ended.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Whether there is a key to encrypt for.
    pub const fn can_encrypt(&self) -> bool {
        self.recipient.is_some()
    }

    /// Encrypts what `feed` writes, into `output`. The content is not compressed again, as in Barman.
    ///
    /// # Errors
    /// When there is no key to encrypt for, `gpg` fails (its words are in the error), or reading or writing does. What is in
    /// `output` is then worth nothing.
    pub fn encrypt(
        &self,
        feed: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send,
        mut output: impl Write,
    ) -> io::Result<()> {
        let recipient = self.recipient.as_ref().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "encryption is set as gpg, but encryption_key_id is unset",
            )
        })?;
        let mut command = self.command();
        command.args(["--compress-level", "0", "--recipient", recipient, "--encrypt"]);
        let (mut filter, input) = Filter::start(&mut command, "gpg", self.watch())?;
        std::thread::scope(|scope| {
            let feeder = scope.spawn(move || {
                let mut input = io::BufWriter::with_capacity(128 * 1024, input);
                feed(&mut input)?;
                input.flush()
            });
            let pumped = pump(&mut filter, &mut output);
            // With its reader gone the feeder does not wait for ever.
            drop(filter);
            let fed = feeder.join().unwrap_or_else(|_| Err(io::Error::other("the feeding thread panicked")));
            match fed {
                // What failed to give is the cause, but not that nobody took.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
                _ => pumped,
            }
        })
    }

    /// The content of an encrypted file, read from its start.
    ///
    /// # Errors
    /// When there is no passphrase to be had, or `gpg` cannot be started. That it cannot decrypt shows when reading.
    pub fn decrypt(&self, file: &File) -> io::Result<impl Read + Send + 'static> {
        let mut file = file.try_clone()?;
        file.rewind()?;
        let passphrase = self.passphrase()?;
        let mut command = self.command();
        if passphrase.is_some() {
            command.args(["--passphrase-fd", "0"]);
        }
        command.arg("--decrypt");
        let (filter, mut input) = Filter::start(&mut command, "gpg", self.watch())?;
        Ok(filter.fed_by(move || {
            if let Some(passphrase) = passphrase {
                input.write_all(&passphrase)?;
                input.write_all(b"\n")?;
            }
            pump(&mut file, &mut input)
        }))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--yes", "--batch", "--no-tty", "--pinentry-mode", "loopback"]);
        command
    }

    fn watch(&self) -> Watch {
        Watch { patience: self.patience, stop: self.stop.clone(), asks: false }
    }

    fn passphrase(&self) -> io::Result<Option<Arc<[u8]>>> {
        let Some(command) = &self.command else { return Ok(None) };
        let mut known = self.passphrase.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(passphrase) = &*known {
            return Ok(Some(Arc::clone(passphrase)));
        }
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command);
        let fail = |problem: String| {
            // Neither its output nor its complaints: either may be the passphrase.
            let text = format!("encryption_passphrase_command: {problem}");
            io::Error::new(io::ErrorKind::PermissionDenied, text)
        };
        let (mut output, input) =
            Filter::start(&mut shell, "the command", Watch { asks: true, ..self.watch() })
                .map_err(|e| fail(e.to_string()))?;
        drop(input);
        let mut text = Vec::new();
        (&mut output)
            .take(MAX_PASSPHRASE)
            .read_to_end(&mut text)
            .map_err(|_| fail("the command failed".to_owned()))?;
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.is_empty() {
            return Err(fail("The command returned an empty passphrase".to_owned()));
        }
        let passphrase: Arc<[u8]> = line.into();
        text.fill(0);
        *known = Some(Arc::clone(&passphrase));
        Ok(Some(passphrase))
    }

    /// Whether a trial succeeds: the key is there, and may be used.
    ///
    /// # Errors
    /// What `gpg` says.
    pub fn try_encrypt(&self) -> io::Result<()> {
        self.encrypt(|input| input.write_all(b"a trial"), io::sink())
    }

    /// Whether `gpg` is there at all.
    pub fn is_installed(&self) -> bool {
        let mut command = Command::new(&self.program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// Without the passphrase.
impl fmt::Debug for Gpg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpg")
            .field("program", &self.program)
            .field("recipient", &self.recipient)
            .finish_non_exhaustive()
    }
}

fn pump(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => output.write_all(buffer.get(..got).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(dir: &std::path::Path, text: &str) -> Gpg {
        let path = dir.join("gpg");
        // Written by another process: a file that a thread of this one is just forking with cannot be executed.
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", "printf '#!/bin/sh\n%s\n' \"$1\" > \"$2\"; chmod 755 \"$2\"", "sh", text])
            .arg(&path);
        assert!(shell.status().unwrap().success());
        Gpg::new().with_program(path).with_recipient(Some("k".to_owned()))
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let gpg = script(dir.path(), "exec sleep 600").with_patience(Duration::from_millis(300));
        let feed = |pipe: &mut dyn Write| pipe.write_all(&[7; 1 << 20]);
        let error = gpg.encrypt(feed, io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        let stop = Arc::new(AtomicBool::new(false));
        let gpg = script(dir.path(), "exec sleep 600").with_stop(Arc::clone(&stop));
        stop.store(true, Ordering::Relaxed);
        let error = gpg.encrypt(feed, io::sink()).unwrap_err();
        assert_eq!(error.to_string(), "gpg was stopped");
    }

    #[test]
    fn who_gives_and_who_takes_may_fail() {
        let dir = tempfile::tempdir().unwrap();
        let gpg = script(dir.path(), "exec cat");
        let mut output = Vec::new();
        gpg.encrypt(|pipe| pipe.write_all(&[7; 1 << 20]), &mut output).unwrap();
        assert_eq!(output.len(), 1 << 20);
        let gives = |_: &mut dyn Write| Err(io::Error::other("a bad sector"));
        assert_eq!(gpg.encrypt(gives, io::sink()).unwrap_err().to_string(), "a bad sector");
        let mut full = [0; 100];
        let takes = gpg.encrypt(|pipe| pipe.write_all(&[7; 1 << 20]), &mut full[..]).unwrap_err();
        assert_eq!(takes.kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn the_passphrase_is_told_to_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let gpg = script(dir.path(), "head -n 1; echo \"$@\" >&2; exit 2")
            .with_passphrase_command(Some("echo secret; echo secret >&2; true".to_owned()));
        let file = tempfile::tempfile().unwrap();
        let mut content = Vec::new();
        let error = gpg.decrypt(&file).unwrap().read_to_end(&mut content).unwrap_err();
        assert_eq!(content, b"secret\n", "it comes first");
        assert!(!format!("{error} {gpg:?}").contains("secret"), "{error} {gpg:?}");
        let gpg = gpg.with_passphrase_command(Some("echo secret; exit 1".to_owned()));
        let error = gpg.decrypt(&file).err().unwrap();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
