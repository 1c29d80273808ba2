//! A command on the primary node, through `primary_ssh_command`.

use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use tapster_copy::rsync::SSH_OPTIONS;

use super::transfer::PATIENT_SSH;
use crate::wal_client::watch::{Ended, Watch, Whom};

/// How long the primary node may be silent. It may have a long index to read, or wait for its lock.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long is waited for complaints once it has ended. What it left running (a shared connection of ssh's) may hold the pipe for
/// as long as it likes.
const LINGER: Duration = Duration::from_secs(1);
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
    run_within(PATIENCE, ssh_command, path_prefix, words, stop, take)
}

fn run_within(
    patience: Duration,
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
    // So that ssh can be ended, and not only a shell that waits for it: ssh holds the pipe that is read here.
    command.process_group(0);
    let mut child = command.spawn().map_err(RemoteFailure::Io)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let moved = Arc::new(AtomicU64::new(0));
    let pid = Pid::from_child(&child);
    let watch = match Watch::start(Whom::Group(pid), Arc::clone(stop), Arc::clone(&moved), Some(patience)) {
        Ok(watch) => watch,
        Err(error) => {
            drop(child.kill());
            drop(child.wait());
            return Err(RemoteFailure::Io(error));
        }
    };
    let (said, complaints) = mpsc::channel();
    std::thread::spawn(move || stderr.map(|pipe| listen(pipe, &said)));
    let mut output = Counted { inner: stdout, moved };
    let taken = take(&mut output);
    if taken.is_err() {
        // Nobody reads what it writes any more. It is not reaped yet, so that the number is still its own.
        let _ = kill_process_group(pid, Signal::KILL);
    }
    drop(output);
    let (status, ended) = reap(&mut child, pid, watch).map_err(RemoteFailure::Io)?;
    match ended {
        Some(Ended::Stopped) => return Err(RemoteFailure::Stopped),
        Some(Ended::Stalled) => return Err(RemoteFailure::Silent),
        None => {}
    }
    taken.map_err(RemoteFailure::Io)?;
    if status.success() {
        return Ok(());
    }
    let (mut kept, deadline) = (Vec::new(), Instant::now() + LINGER);
    while let Ok(bytes) = complaints.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        let room = MAX_COMPLAINTS.saturating_sub(kept.len());
        kept.extend(bytes.iter().take(room));
    }
    let complaints = String::from_utf8_lossy(&kept).trim_end().to_owned();
    Err(RemoteFailure::Exit { status, complaints })
}

fn reap(child: &mut Child, pid: Pid, watch: Watch) -> io::Result<(ExitStatus, Option<Ended>)> {
    // First without reaping, so that the watch never signals a number that has passed to somebody else.
    while let Err(rustix::io::Errno::INTR) =
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
    {}
    let ended = watch.finish();
    if ended.is_some() {
        let _ = kill_process_group(pid, Signal::KILL);
    }
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

/// Passes on the beginning of it; the rest is read so that the writer is not held up.
fn listen(pipe: impl Read, said: &mpsc::Sender<Vec<u8>>) {
    let mut left = MAX_COMPLAINTS;
    let mut pipe = BufReader::new(pipe);
    loop {
        let used = match pipe.fill_buf() {
            Ok([]) => break,
            Ok(bytes) => {
                let kept: Vec<u8> = bytes.iter().copied().take(left).collect();
                left = left.saturating_sub(kept.len());
                // Nobody may want it any more.
                let _ = said.send(kept);
                bytes.len()
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(_) => break,
        };
        pipe.consume(used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes everything and says that it has begun to.
    fn stop_at_the_first_byte<'a>(stop: &'a AtomicBool) -> impl FnMut(&mut dyn Read) -> io::Result<()> + 'a {
        move |output| {
            let mut byte = [0];
            while output.read(&mut byte)? == 1 {
                stop.store(true, Ordering::Relaxed);
            }
            Ok(())
        }
    }

    /// A shell that forks, and a wrapper: what holds the pipe is another process than the one that was started.
    const FORKING: [&str; 3] = [
        "echo begun; sleep 60; :",
        "sh -c 'echo begun; sleep 60; :'; :",
        // Whoever does not listen is killed a little later.
        "trap '' TERM; echo begun; sleep 60; sleep 60; :",
    ];

    #[test]
    fn stopping_ends_what_holds_the_output() {
        let begin = Instant::now();
        for script in FORKING {
            let stop = Arc::new(AtomicBool::new(false));
            let mut take = stop_at_the_first_byte(&stop);
            let failure = run(&format!("{script} #"), None, "words", &stop, &mut take).unwrap_err();
            assert!(matches!(failure, RemoteFailure::Stopped), "{script}: {failure:?}");
        }
        assert!(begin.elapsed() < Duration::from_secs(50));
    }

    #[test]
    fn silence_ends_what_holds_the_output() {
        let begin = Instant::now();
        for script in FORKING {
            let (script, patience) = (format!("{script} #"), Duration::from_millis(500));
            let mut take = |output: &mut dyn Read| io::copy(output, &mut io::sink()).map(drop);
            let failure =
                run_within(patience, &script, None, "words", &Arc::default(), &mut take).unwrap_err();
            assert!(matches!(failure, RemoteFailure::Silent), "{script}: {failure:?}");
        }
        assert!(begin.elapsed() < Duration::from_secs(50));
    }

    fn run_script(
        script: &str,
        take: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>,
    ) -> Result<(), RemoteFailure> {
        // What follows is read by the shell as the words of a comment.
        run(&format!("{script} #"), None, "words", &Arc::default(), take)
    }

    #[test]
    fn an_answer_that_is_not_taken_ends_the_command_behind_the_shell_too() {
        let mut pid = String::new();
        let mut take = |output: &mut dyn Read| {
            let mut byte = [0];
            while output.read(&mut byte)? == 1 && byte != *b"\n" {
                pid.push(char::from(byte[0]));
            }
            Err(io::Error::other("not wanted"))
        };
        let begin = Instant::now();
        let failure = run_script("sleep 600 & echo $!; wait", &mut take).unwrap_err();
        assert!(matches!(failure, RemoteFailure::Io(error) if error.to_string() == "not wanted"));
        // Ended is also what nobody has asked how it ended.
        let stat = format!("/proc/{pid}/stat");
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
            assert!(begin.elapsed() < Duration::from_secs(30), "a process is left");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn what_holds_the_complaints_is_not_waited_for() {
        let begin = Instant::now();
        let mut take = |output: &mut dyn Read| io::copy(output, &mut io::sink()).map(drop);
        run_script("sleep 60 >/dev/null &", &mut take).unwrap();
        let failure = run_script("sleep 60 >/dev/null & echo bad >&2; exit 3", &mut take).unwrap_err();
        let RemoteFailure::Exit { status, complaints } = failure else { panic!("{failure:?}") };
        assert_eq!((status.code(), complaints.as_str()), (Some(3), "bad"));
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
}
