//! A program that makes other bytes of the bytes it is given, watched while it runs.

use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How often the stop flag is looked at.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// What is shown of a program's complaints.
const MAX_COMPLAINT: usize = 400;

/// How long a program may be silent, and who may end it.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) patience: Duration,
    pub(crate) stop: Option<Arc<AtomicBool>>,
}

/// A running program: reading gives its output, and an error where it failed, was asked to stop, or gave no byte for too long.
#[derive(Debug)]
pub(crate) struct Filter {
    child: Child,
    output: ChildStdout,
    complaints: ChildStderr,
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
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("cannot start {name}: {e}")))?;
        let pipe = || io::Error::other("a pipe is missing");
        let input = child.stdin.take().ok_or_else(pipe)?;
        let output = child.stdout.take().ok_or_else(pipe)?;
        let complaints = child.stderr.take().ok_or_else(pipe)?;
        let filter =
            Self { child, output, complaints, feeder: None, name, watch, last: Instant::now(), ended: false };
        Ok((filter, input))
    }

    /// Its input comes from a thread of its own.
    pub(crate) fn fed_by(mut self, feed: impl FnOnce() -> io::Result<()> + Send + 'static) -> Self {
        self.feeder = Some(std::thread::spawn(feed));
        self
    }

    fn wait_for_output(&mut self) -> io::Result<()> {
        loop {
            let mut output = [PollFd::new(&self.output, PollFlags::IN)];
            match poll(&mut output, Some(&GLANCE)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => self.is_over()?,
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn is_over(&mut self) -> io::Result<()> {
        let stopped = self.watch.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed));
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
            std::thread::sleep(Duration::from_millis(1));
        };
        self.ended = true;
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
        let mut text = String::new();
        // What has ended writes no more, so that this does not wait.
        let _ = (&mut self.complaints).take(16 * 1024).read_to_string(&mut text);
        let mut complaint =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        if let Some((at, _)) = complaint.char_indices().nth(MAX_COMPLAINT) {
            complaint.truncate(at);
        }
        let complaint = if complaint.is_empty() { status.to_string() } else { complaint };
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} failed: {complaint}", self.name)))
    }
}

impl Read for Filter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        self.wait_for_output()?;
        let _ = self.output.as_fd();
        let got = self.output.read(buffer)?;
        self.last = Instant::now();
        if got == 0 {
            self.end()?;
        }
        Ok(got)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // Whoever reads no further wants no more of it; its feeder then ends as well.
        self.kill();
        if let Some(feeder) = self.feeder.take() {
            drop(feeder.join());
        }
    }
}
