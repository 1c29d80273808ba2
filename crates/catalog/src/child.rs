//! A program that makes other bytes of the bytes it is given, watched while it runs.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

/// How often the stop flag is looked at.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// How often an ended program's other end is looked at.
const BLINK: Duration = Duration::from_millis(1);
/// What is shown of a program's complaints.
const MAX_COMPLAINT: usize = 400;
/// What is kept of them; the rest is read so that the writer is not held up.
const MAX_COMPLAINTS: usize = 16 * 1024;
/// How long is waited for pipes to close once the program has ended. What it left running may hold them for ever.
const LINGER: Duration = Duration::from_secs(1);

/// How long a program may be silent, and who may end it.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) patience: Duration,
    pub(crate) stop: Option<Arc<AtomicBool>>,
    /// Whether it may ask somebody at the terminal, which only the processes of the foreground can: it then stays among ours, and
    /// what it has started is not ended with it.
    pub(crate) asks: bool,
}

/// A running program: reading gives its output, and an error where it failed, was asked to stop, or gave no byte for too long.
#[derive(Debug)]
pub(crate) struct Filter {
    child: Child,
    output: Option<ChildStdout>,
    complaints: Option<ChildStderr>,
    complained: Vec<u8>,
    feeder: Option<JoinHandle<io::Result<()>>>,
    name: &'static str,
    watch: Watch,
    last: Instant,
    ended: bool,
}

impl Filter {
    /// Starts the program; what is written to the second value is its input.
    pub(crate) fn start(
        command: &mut Command,
        name: &'static str,
        watch: Watch,
    ) -> io::Result<(Self, ChildStdin)> {
        if !watch.asks {
            // So that the processes of a pipeline can be ended, and not only the shell that waits for them.
            command.process_group(0);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("cannot start {name}: {e}")))?;
        let input = child.stdin.take().ok_or_else(|| io::Error::other("a pipe is missing"))?;
        let filter = Self {
            output: child.stdout.take(),
            complaints: child.stderr.take(),
            complained: Vec::new(),
            child,
            feeder: None,
            name,
            watch,
            last: Instant::now(),
            ended: false,
        };
        Ok((filter, input))
    }

    /// Its input comes from a thread of its own.
    pub(crate) fn fed_by(mut self, feed: impl FnOnce() -> io::Result<()> + Send + 'static) -> Self {
        self.feeder = Some(std::thread::spawn(feed));
        self
    }

    /// Waits for output, and reads the complaints meanwhile: who cannot complain does not work on.
    fn wait_for_output(&mut self) -> io::Result<()> {
        loop {
            let Some(output) = &self.output else { return Ok(()) };
            let output = PollFd::new(output, PollFlags::IN);
            let (has_output, has_complaints) = match &self.complaints {
                None => {
                    let mut pipes = [output];
                    (wait(&mut pipes)?, false)
                }
                Some(complaints) => {
                    let mut pipes = [output, PollFd::new(complaints, PollFlags::IN)];
                    wait(&mut pipes)?;
                    let [output, complaints] = pipes;
                    (!output.revents().is_empty(), !complaints.revents().is_empty())
                }
            };
            if has_output {
                return Ok(());
            }
            if has_complaints {
                self.hear()?;
            }
            self.is_over()?;
        }
    }

    /// Reads complaints that are there.
    fn hear(&mut self) -> io::Result<()> {
        let Some(complaints) = &mut self.complaints else { return Ok(()) };
        let mut buffer = [0; 4096];
        let got = match complaints.read(&mut buffer) {
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        };
        if got == 0 {
            self.complaints = None;
        }
        let room = MAX_COMPLAINTS.saturating_sub(self.complained.len());
        self.complained.extend(buffer.iter().take(got.min(room)));
        Ok(())
    }

    /// Reads the complaints that come within this time; whether there may be more.
    fn hear_for(&mut self, time: Duration) -> io::Result<bool> {
        let Some(complaints) = &self.complaints else { return Ok(false) };
        let mut pipes = [PollFd::new(complaints, PollFlags::IN)];
        let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
        match poll(&mut pipes, Some(&time)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => self.hear()?,
            Err(error) => return Err(error.into()),
        }
        Ok(self.complaints.is_some())
    }

    fn is_stopped(&self) -> bool {
        self.watch.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    fn is_over(&mut self) -> io::Result<()> {
        let stopped = self.is_stopped();
        let silent = self.last.elapsed() > self.watch.patience;
        if !stopped && !silent {
            return Ok(());
        }
        self.kill();
        let text = match stopped {
            true => format!("{} was stopped", self.name),
            false => format!("{} gave nothing for {} seconds", self.name, self.watch.patience.as_secs()),
        };
        // Of a kind that nobody takes for a statement about the data.
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    }

    fn kill(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            if !self.watch.asks {
                // Not reaped yet, so that the number is still its own.
                let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            }
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }

    /// The end of its output: how it ended decides what the output is worth.
    fn end(&mut self) -> io::Result<()> {
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            self.is_over()?;
            if !self.hear_for(BLINK)? {
                std::thread::sleep(BLINK);
            }
        };
        self.ended = true;
        while self.feeder.as_ref().is_some_and(|feeder| !feeder.is_finished()) {
            self.is_over()?;
            std::thread::sleep(BLINK);
        }
        let fed = self.feeder.take().map_or(Ok(()), |feeder| {
            feeder.join().unwrap_or_else(|_| Err(io::Error::other("the feeding thread panicked")))
        });
        match fed {
            // A program that has ended takes no more.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
        if status.success() {
            return Ok(());
        }
        let ended = Instant::now();
        while self.hear_for(BLINK)? && ended.elapsed() < LINGER && !self.is_stopped() {}
        let text = String::from_utf8_lossy(&self.complained);
        let mut complaint =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        if let Some((at, _)) = complaint.char_indices().nth(MAX_COMPLAINT) {
            complaint.truncate(at);
        }
        let complaint = if complaint.is_empty() { status.to_string() } else { complaint };
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} failed: {complaint}", self.name)))
    }
}

/// Whether one of the pipes has something, or its end.
fn wait(pipes: &mut [PollFd<'_>]) -> io::Result<bool> {
    match poll(pipes, Some(&GLANCE)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Read for Filter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        self.wait_for_output()?;
        let Some(output) = &mut self.output else { return Ok(0) };
        let got = output.read(buffer)?;
        self.last = Instant::now();
        if got == 0 {
            self.end()?;
        }
        Ok(got)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // Whoever reads no further wants no more of it. Its feeder ends as well once nobody reads from it; what the program
        // has put out of our reach may hold the pipe for ever, and is not waited for.
        self.kill();
        self.output = None;
        let ended = Instant::now();
        while ended.elapsed() < LINGER && self.feeder.as_ref().is_some_and(|feeder| !feeder.is_finished()) {
            std::thread::sleep(BLINK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, watch: Watch) -> (Filter, ChildStdin) {
        Filter::start(Command::new("/bin/sh").args(["-c", script]), "the filter", watch).unwrap()
    }

    fn watch(asks: bool) -> Watch {
        Watch { patience: Duration::from_secs(60), stop: None, asks }
    }

    #[test]
    fn who_reads_no_further_does_not_wait_for_a_pipeline() {
        for asks in [false, true] {
            let (filter, mut input) = start("cat | cat", watch(asks));
            let mut filter = filter.fed_by(move || io::copy(&mut io::repeat(7), &mut input).map(|_| ()));
            filter.read_exact(&mut [0; 10]).unwrap();
            // In a thread, since what is tested is that it comes to an end.
            let (done, end) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                drop(filter);
                done.send(())
            });
            end.recv_timeout(Duration::from_secs(30)).expect("the drop ends");
        }
    }

    #[test]
    fn the_processes_of_a_pipeline_end_with_it() {
        let (mut filter, _input) = start("sleep 600 & echo $!; wait", watch(false));
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            filter.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        drop(filter);
        let stat = format!("/proc/{}/stat", String::from_utf8(line).unwrap().trim());
        let begin = Instant::now();
        // Ended is also what nobody has asked how it ended.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
            assert!(begin.elapsed() < Duration::from_secs(30), "a process is left");
            std::thread::sleep(BLINK);
        }
    }

    #[test]
    fn what_holds_the_complaints_is_not_waited_for() {
        let begin = Instant::now();
        let (mut filter, _input) = start("sleep 60 >/dev/null & echo out; echo bad >&2; exit 3", watch(true));
        let error = filter.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "the filter failed: bad");
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn many_complaints_block_nobody() {
        let script = "head -c 300000 /dev/zero >&2; echo out; exec >&-; head -c 300000 /dev/zero >&2";
        let (mut filter, _input) = start(script, watch(false));
        let mut output = Vec::new();
        filter.read_to_end(&mut output).unwrap();
        assert_eq!(output, b"out\n");
        assert!(filter.complained.len() <= MAX_COMPLAINTS);
    }
}
