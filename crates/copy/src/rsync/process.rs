//! One child process: stopped on request, its standard error kept within bounds.

use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use thiserror::Error;

use crate::sync::SyncError;
use crate::tree::TreeError;

/// How often the stop flag is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Between asking a process to end and ending it.
const GRACE: Duration = Duration::from_secs(2);
/// Bytes of standard error that are kept, from its end.
const MAX_STDERR: usize = 32 * 1024;
/// Longest line of a list.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// A remote copy that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RsyncError {
    /// The program is not there, or cannot be started.
    #[error("cannot run {}: {source}", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It failed.
    #[error("rsync failed while {what} ({status}){}", last_line(stderr))]
    Failed {
        /// What it was to do, such as `copying pgdata`.
        what: String,
        /// Its exit code or signal.
        status: ExitStatus,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// ssh does not get to the other host.
    #[error("ssh failed ({status}){}", last_line(stderr))]
    Ssh {
        /// Its exit code or signal.
        status: ExitStatus,
        /// The end of what it wrote to standard error.
        stderr: String,
    },
    /// What it wrote is no list of files.
    #[error("rsync's list of {what} has a line that is none: {line:?}")]
    List {
        /// Of what.
        what: String,
        /// The line, cut.
        line: String,
    },
    /// What it wrote could not be read.
    #[error("cannot read from rsync: {0}")]
    Read(io::Error),
    /// A file that must be there is not.
    #[error("'{path}' is not on the server")]
    Missing {
        /// Its path there.
        path: String,
    },
    /// `global/pg_control` stays broken.
    #[error("'{}': {source}", path.display())]
    Control {
        /// The copy.
        path: PathBuf,
        /// What is wrong.
        source: walfile::ControlFileError,
    },
    /// A file operation here failed.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The caller's stop flag was raised.
    #[error("the copy was stopped")]
    Stopped,
}

impl From<SyncError> for RsyncError {
    fn from(error: SyncError) -> Self {
        Self::Tree(error.into())
    }
}

/// The last thing that was said and is a failure, or at least not rsync's own summary. What one of its processes says of the end of
/// another comes last, and explains nothing.
fn last_line(stderr: &str) -> String {
    let said = |is: fn(&str) -> bool| stderr.lines().rev().find(|line| !line.trim().is_empty() && is(line));
    let is_own = |line: &str| !is_forgiven(line) && !line.starts_with("rsync error:");
    let line = stderr
        .lines()
        .rev()
        .find(|line| is_own(line) && !line.ends_with("Broken pipe (32)"))
        .or_else(|| stderr.lines().rev().find(|line| is_own(line)))
        .or_else(|| said(|line| !line.starts_with("rsync error:")));
    line.map(|line| format!(": {line}")).unwrap_or_default()
}

/// Whether a line of standard error says no more than that something on the server is gone.
fn is_forgiven(line: &str) -> bool {
    // What is missing on this side is no file that vanished.
    let here = || line.contains("[receiver]") || line.contains("[Receiver]") || line.contains("[generator]");
    line.trim().is_empty()
        || line.contains("file has vanished")
        || (line.contains("No such file or directory (2)") && !here())
        || line.contains("symlink has no referent")
        || line.starts_with("rsync warning:")
        || (line.starts_with("rsync error:") && line.contains("code 23"))
}

/// How a process ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stderr: String,
    /// Standard error, all of it, says nothing but that files are gone.
    pub(super) forgiven: bool,
}

impl Ended {
    /// Whether everything was done, but for files that are gone: rsync's exit code 24, or 23 for nothing else.
    pub(super) fn is_fine(&self) -> bool {
        match self.status.code() {
            Some(0 | 24) => true,
            Some(23) => self.forgiven,
            _ => false,
        }
    }

    /// Whether the directory to be listed is not there: nothing was sent then, though the other end may complain of that.
    pub(super) fn has_no_root(&self) -> bool {
        let is_of_root =
            |line: &str| line.contains("change_dir") && line.contains("No such file or directory (2)");
        self.status.code() == Some(23) && self.stderr.lines().any(is_of_root)
    }

    /// Demands that everything was done.
    pub(super) fn complete(self, what: &str) -> Result<(), RsyncError> {
        if self.status.success() {
            return Ok(());
        }
        Err(RsyncError::Failed { what: what.to_owned(), status: self.status, stderr: self.stderr })
    }

    pub(super) fn check(self, what: &str) -> Result<Self, RsyncError> {
        if self.is_fine() {
            return Ok(self);
        }
        Err(RsyncError::Failed { what: what.to_owned(), status: self.status, stderr: self.stderr })
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a command to its end; each line of its standard output goes to `line`, which may fail.
pub(super) fn run(
    mut command: Command,
    stop: &AtomicBool,
    line: &mut dyn FnMut(&[u8]) -> Result<(), RsyncError>,
) -> Result<Ended, RsyncError> {
    if stop.load(Ordering::Relaxed) {
        return Err(RsyncError::Stopped);
    }
    let program = PathBuf::from(command.get_program());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| RsyncError::Start { program, source })?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let child = Mutex::new(child);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stderr = scope.spawn(|| err.map(|err| judge(BufReader::new(err))));
        let watch = scope.spawn(|| watch(&child, stop, &done));
        let read = out.map_or(Ok(()), |out| lines(BufReader::new(out), line));
        if read.is_err() {
            // Nobody reads what it writes any more.
            terminate(&lock(&child), Signal::TERM);
        }
        // What was not read is not forgiven.
        let (stderr, forgiven) = stderr.join().ok().flatten().unwrap_or_default();
        done.store(true, Ordering::Relaxed);
        watch.thread().unpark();
        let status = watch.join().unwrap_or_else(|_| Err(io::Error::other("the watching thread panicked")));
        if stop.load(Ordering::Relaxed) {
            return Err(RsyncError::Stopped);
        }
        read?;
        Ok(Ended { status: status.map_err(RsyncError::Read)?, stderr, forgiven })
    })
}

/// Waits for the child, and ends it when it is to stop. It is reaped here only, so that its number stays its own.
fn watch(child: &Mutex<Child>, stop: &AtomicBool, done: &AtomicBool) -> io::Result<ExitStatus> {
    let mut asked: Option<Instant> = None;
    loop {
        {
            let mut child = lock(child);
            if done.load(Ordering::Relaxed)
                && let Some(status) = child.try_wait()?
            {
                return Ok(status);
            }
            if stop.load(Ordering::Relaxed) {
                match asked {
                    None => {
                        terminate(&child, Signal::TERM);
                        asked = Some(Instant::now());
                    }
                    Some(since) if since.elapsed() >= GRACE => terminate(&child, Signal::KILL),
                    Some(_) => {}
                }
            }
        }
        std::thread::park_timeout(TICK);
    }
}

fn terminate(child: &Child, signal: Signal) {
    // It may be gone already, which is what we want.
    let _ = kill_process(Pid::from_child(child), signal);
}

fn lines(
    mut out: impl BufRead,
    line: &mut dyn FnMut(&[u8]) -> Result<(), RsyncError>,
) -> Result<(), RsyncError> {
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let count =
            (&mut out).take(MAX_LINE as u64).read_until(b'\n', &mut buffer).map_err(RsyncError::Read)?;
        if count == 0 {
            return Ok(());
        }
        line(buffer.strip_suffix(b"\n").unwrap_or(&buffer))?;
    }
}

/// Reads to the end and returns the end of it, led by the first failure where that is older, and whether each line is
/// forgiven.
fn judge(mut err: impl BufRead) -> (String, bool) {
    let mut kept = Vec::new();
    let mut first: Option<Vec<u8>> = None;
    let mut line = Vec::new();
    let (mut read_all, mut total) = (true, 0);
    loop {
        line.clear();
        match (&mut err).take(MAX_STDERR as u64 / 2).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(count) => total += count,
            Err(_) => {
                read_all = false;
                break;
            }
        }
        if first.is_none() && !is_forgiven(&String::from_utf8_lossy(&line)) {
            first = Some(line.clone());
        }
        kept.extend_from_slice(&line);
        if kept.len() > 2 * MAX_STDERR {
            kept.drain(..kept.len() - MAX_STDERR);
        }
    }
    let forgiven = read_all && first.is_none();
    if total > MAX_STDERR {
        let mut end = first.unwrap_or_default();
        let from = kept.len().saturating_sub(MAX_STDERR - end.len());
        // From the first whole line on.
        let rest = kept.get(from..).unwrap_or_default();
        let begin = rest.iter().position(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        end.extend_from_slice(rest.get(begin..).unwrap_or_default());
        kept = end;
    }
    (String::from_utf8_lossy(&kept).trim_end().to_owned(), forgiven)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn the_cause_is_named_rather_than_what_follows_from_it() {
        let cause = "rsync: [receiver] write failed on \"/b/1\": No space left on device (28)";
        let rest = "rsync error: error in file IO (code 11) at receiver.c(380) [receiver=3.2.7]\n\
                    rsync: [generator] write error: Broken pipe (32)";
        assert_eq!(last_line(&format!("{cause}\n{rest}")), format!(": {cause}"));
        assert_eq!(last_line(rest), ": rsync: [generator] write error: Broken pipe (32)");
        assert_eq!(last_line("rsync error: some (code 1)"), "");
    }

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_is_read_in_lines_and_errors_are_bounded() {
        let mut seen = Vec::new();
        let script = "printf 'a b\\nc'; i=0; while [ $i -lt 3000 ]; do echo 'rsync: x1234567890123456789' >&2; i=$((i+1)); done; \
                      echo last >&2; exit 12";
        let ended = run(sh(script), &AtomicBool::new(false), &mut |line| {
            seen.push(line.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [b"a b".to_vec(), b"c".to_vec()]);
        assert!(ended.stderr.len() <= MAX_STDERR && ended.stderr.ends_with("last"));
        let error = ended.check("copying pgdata").err().unwrap();
        assert_eq!(error.to_string(), "rsync failed while copying pgdata (exit status: 12): last");
        let missing = run(Command::new("/no/rsync"), &AtomicBool::new(false), &mut |_| Ok(()));
        assert!(matches!(missing, Err(RsyncError::Start { .. })));
    }

    #[test]
    fn a_stop_ends_the_child() {
        let stop = AtomicBool::new(false);
        let begin = Instant::now();
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(100));
                stop.store(true, Ordering::Relaxed);
            });
            run(sh("exec sleep 60"), &stop, &mut |_| Ok(()))
        });
        assert!(matches!(result, Err(RsyncError::Stopped)));
        assert!(begin.elapsed() < Duration::from_secs(30));
        assert!(matches!(run(sh("true"), &stop, &mut |_| Ok(())), Err(RsyncError::Stopped)));
    }

    #[test]
    fn only_vanished_files_are_forgiven() {
        let ended = |code: i32, stderr: &str| {
            let (stderr, forgiven) = judge(stderr.as_bytes());
            Ended { status: ExitStatus::from_raw(code << 8), stderr, forgiven }
        };
        assert!(ended(0, "").is_fine() && ended(24, "file has vanished: \"/x\"").is_fine());
        let gone = "rsync: [sender] link_stat \"/x/base/5/1\" failed: No such file or directory (2)\n\
                    file has vanished: \"/x/base/5/2\"\n\
                    rsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1865)";
        assert!(ended(23, gone).is_fine());
        let denied = "rsync: [sender] send_files failed to open \"/x\": Permission denied (13)\n";
        assert!(!ended(23, &format!("{denied}{gone}")).is_fine());
        // However much is said after it.
        let flood = "file has vanished: \"/x/base/5/2\"\n".repeat(4000);
        let failed = ended(23, &format!("{denied}{flood}"));
        assert!(failed.stderr.len() <= MAX_STDERR && failed.stderr.starts_with("rsync: [sender] send_files"));
        let error = failed.check("copying pgdata").err().unwrap().to_string();
        assert!(error.ends_with("Permission denied (13)"), "{error}");
        assert!(ended(23, &flood).is_fine());
        let no_root = "rsync: [sender] change_dir \"/x\" failed: No such file or directory (2)\n\
                       rsync: [Receiver] write error: Broken pipe (32)";
        assert!(ended(23, no_root).has_no_root() && !ended(12, no_root).has_no_root());
        assert!(!ended(23, gone).has_no_root());
        let here = "rsync: [receiver] mkstemp \"/t/.1.abc\" failed: No such file or directory (2)";
        assert!(!ended(23, here).is_fine());
        assert!(!ended(12, "").is_fine() && !ended(255, "").is_fine());
        let killed = Ended { status: ExitStatus::from_raw(9), stderr: String::new(), forgiven: true };
        assert!(!killed.is_fine());
    }
}
