//! A command on the primary node, through `primary_ssh_command`.

use std::io::{self, BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use tapster_copy::rsync::SSH_OPTIONS;

use super::transfer::PATIENT_SSH;
use crate::wal_client::watch::{Ended, Watch};

/// How long the primary node may be silent. It may have a long index to read, or wait for its lock.
const PATIENCE: Duration = Duration::from_secs(300);
/// What is kept of complaints.
const MAX_COMPLAINTS: usize = 32 * 1024;

/// How a command ended that did not succeed.
#[derive(Debug)]
pub(super) enum RemoteFailure {
    /// It said no.
    Exit { status: ExitStatus, complaints: String },
    /// It was given up.
    Silent,
    /// Somebody asked to stop.
    Stopped,
    /// It cannot be run, or what it says not be taken.
    Io(io::Error),
}

/// Runs `words` there and hands its output to `take`. As Barman does, a shell here reads `ssh_command`, and gets the words for the other host as one argument.
pub(super) fn run(
    ssh_command: &str,
    path_prefix: Option<&str>,
    words: &str,
    stop: &Arc<AtomicBool>,
    take: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
) -> Result<(), RemoteFailure> {
    let mut command = Command::new("/bin/sh");
    // As rsync and the check have it: what they find in order must not fail here, where Barman leaves these out.
    let script = format!("{ssh_command} {PATIENT_SSH} {SSH_OPTIONS} \"$@\"");
    match path_prefix.filter(|prefix| !prefix.is_empty()) {
        None => command.args(["-c", &script, "sh", words]),
        Some(prefix) => command.args([
            "-c",
            r#"PATH=$1:$PATH; export PATH; exec /bin/sh -c "$2" sh "$3""#,
            "sh",
            prefix,
            &script,
            words,
        ]),
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(RemoteFailure::Io)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let moved = Arc::new(AtomicU64::new(0));
    let pid = Pid::from_child(&child);
    let watch = match Watch::start(pid, Arc::clone(stop), Arc::clone(&moved), Some(PATIENCE)) {
        Ok(watch) => watch,
        Err(error) => {
            drop(child.kill());
            drop(child.wait());
            return Err(RemoteFailure::Io(error));
        }
    };
    let complaints = std::thread::spawn(move || stderr.map(complaints).unwrap_or_default());
    let mut output = Counted { inner: stdout, moved };
    let taken = take(&mut output);
    if taken.is_err() {
        // Nobody reads what it writes any more.
        drop(child.kill());
    }
    drop(output);
    let (status, ended) = reap(&mut child, pid, watch).map_err(RemoteFailure::Io)?;
    // What it has left running may hold the pipe for ever.
    let complaints = if ended.is_some() { String::new() } else { complaints.join().unwrap_or_default() };
    match ended {
        Some(Ended::Stopped) => return Err(RemoteFailure::Stopped),
        Some(Ended::Stalled) => return Err(RemoteFailure::Silent),
        None => {}
    }
    taken.map_err(RemoteFailure::Io)?;
    if status.success() { Ok(()) } else { Err(RemoteFailure::Exit { status, complaints }) }
}

fn reap(child: &mut Child, pid: Pid, watch: Watch) -> io::Result<(ExitStatus, Option<Ended>)> {
    // First without reaping, so that the watch never signals a number that has passed to somebody else.
    while let Err(rustix::io::Errno::INTR) =
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
    {}
    let ended = watch.finish();
    Ok((child.wait()?, ended))
}

struct Counted<R> {
    inner: Option<R>,
    moved: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(inner) = &mut self.inner else { return Ok(0) };
        let got = inner.read(buffer)?;
        self.moved.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

/// The beginning of it; the rest is read so that the writer is not held up.
fn complaints(pipe: impl Read) -> String {
    let mut kept = Vec::new();
    let mut pipe = BufReader::new(pipe);
    loop {
        let used = match pipe.fill_buf() {
            Ok([]) => break,
            Ok(bytes) => {
                let room = MAX_COMPLAINTS.saturating_sub(kept.len());
                kept.extend(bytes.iter().take(room));
                bytes.len()
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(_) => break,
        };
        pipe.consume(used);
    }
    String::from_utf8_lossy(&kept).trim_end().to_owned()
}
