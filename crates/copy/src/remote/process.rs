//! One ssh, ended when it is to stop, its output kept within bounds.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::error::{RemoteError, last_line};

/// How often the stop flag is looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long the output of a process that was killed is waited for.
const GRACE: Duration = Duration::from_secs(1);
/// Bytes of standard error that are kept, from its end.
const MAX_STDERR: usize = 8 * 1024;
/// ssh's own exit code, as opposed to those of the remote command.
const CONNECTION_FAILED: i32 = 255;

/// Bytes of output handed over at a time, and how many of these pieces may wait.
const PIECE: usize = 64 * 1024;
const QUEUE: usize = 4;

/// A command on the other host and its standard input. Dropped, it is ended.
#[derive(Debug)]
pub struct Sending {
    what: String,
    child: Arc<Mutex<Child>>,
    stdin: Option<ChildStdin>,
    stdout: Option<JoinHandle<io::Result<Head>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    watch: Option<JoinHandle<()>>,
    state: Arc<State>,
    limit: usize,
    patience: Option<Duration>,
}

/// The beginning of what was printed, and whether there was more.
type Head = (Vec<u8>, bool);

#[derive(Debug)]
struct State {
    stop: Arc<AtomicBool>,
    done: AtomicBool,
    timed_out: AtomicBool,
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sending {
    /// Starts it. `limit` bounds what it may print.
    pub(super) fn start(
        command: Command,
        what: &str,
        limit: usize,
        patience: Option<Duration>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, RemoteError> {
        Self::spawn(command, what, limit, patience, stop, move |out| head(out, limit))
    }

    /// Starts one that gets no input and may print anything.
    pub(super) fn start_reading(
        command: Command,
        what: &str,
        patience: Option<Duration>,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Self, Receiver<Vec<u8>>), RemoteError> {
        let (queue, pieces) = sync_channel(QUEUE);
        let mut sending = Self::spawn(command, what, 0, patience, stop, move |out| forward(out, &queue))?;
        sending.stdin = None;
        Ok((sending, pieces))
    }

    fn spawn(
        mut command: Command,
        what: &str,
        limit: usize,
        patience: Option<Duration>,
        stop: &Arc<AtomicBool>,
        read: impl FnOnce(ChildStdout) -> io::Result<Head> + Send + 'static,
    ) -> Result<Self, RemoteError> {
        if stop.load(Ordering::Relaxed) {
            return Err(RemoteError::Stopped);
        }
        let program = command.get_program().into();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| RemoteError::Start { program, source })?;
        let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let child = Arc::new(Mutex::new(child));
        let state = Arc::new(State {
            stop: Arc::clone(stop),
            done: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
        });
        let stdout = std::thread::spawn(move || out.map_or(Ok((Vec::new(), false)), read));
        let stderr = std::thread::spawn(move || err.map(tail).unwrap_or_default());
        let watch = {
            let (child, state) = (Arc::clone(&child), Arc::clone(&state));
            std::thread::spawn(move || watch(&child, &state, patience))
        };
        Ok(Self {
            what: what.to_owned(),
            child,
            stdin,
            stdout: Some(stdout),
            stderr: Some(stderr),
            watch: Some(watch),
            state,
            limit,
            patience,
        })
    }

    /// Ends its input and waits for its end. What it printed comes back.
    ///
    /// # Errors
    /// When it, or ssh, failed.
    pub fn finish(mut self) -> Result<Vec<u8>, RemoteError> {
        self.end()
    }

    /// Why a write failed: what the other end says, where it says something.
    pub fn reason(&mut self, error: io::Error) -> RemoteError {
        self.end().err().unwrap_or(RemoteError::Io { what: self.what.clone(), source: error })
    }

    fn end(&mut self) -> Result<Vec<u8>, RemoteError> {
        let what = self.what.clone();
        let ended = self.wait();
        if self.state.stop.load(Ordering::Relaxed) {
            return Err(RemoteError::Stopped);
        }
        if self.state.timed_out.load(Ordering::Relaxed) {
            return Err(RemoteError::Silent { what, seconds: self.patience.unwrap_or_default().as_secs() });
        }
        let (status, out, said) = match ended {
            Ok(ended) => ended,
            Err(source) => return Err(RemoteError::Io { what, source }),
        };
        if matches!(out, Ok((_, true))) {
            return Err(RemoteError::TooMuch { what, limit: self.limit });
        }
        match status.code() {
            Some(0) => {}
            Some(CONNECTION_FAILED) => return Err(RemoteError::Broken { what, said }),
            _ => return Err(RemoteError::Failed { what, status, said }),
        }
        Ok(out.map_err(|source| RemoteError::Io { what, source })?.0)
    }

    fn wait(&mut self) -> io::Result<(ExitStatus, io::Result<Head>, String)> {
        self.stdin = None;
        let lost = || io::Error::other("its output is lost");
        let out = self.stdout.take().and_then(|thread| self.collect(thread)).unwrap_or_else(|| Err(lost()));
        let said = self.stderr.take().and_then(|thread| self.collect(thread)).unwrap_or_default();
        let status = loop {
            // Its output has ended, so this is soon; the watch must be able to get at it.
            if let Some(status) = lock(&self.child).try_wait()? {
                break status;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        self.unwatch();
        Ok((status, out, last_line(&said)))
    }

    /// What a thread has read. After its process was killed that is not waited for long: another one may have inherited the
    /// other end.
    fn collect<T>(&self, thread: JoinHandle<T>) -> Option<T> {
        let mut killed = None;
        let mut pause = Duration::from_micros(200);
        while !thread.is_finished() {
            if self.state.stop.load(Ordering::Relaxed) || self.state.timed_out.load(Ordering::Relaxed) {
                let since: &mut Instant = killed.get_or_insert_with(Instant::now);
                if since.elapsed() > GRACE {
                    return None;
                }
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(TICK / 5);
        }
        thread.join().ok()
    }

    fn unwatch(&mut self) {
        self.state.done.store(true, Ordering::Relaxed);
        if let Some(watch) = self.watch.take() {
            watch.thread().unpark();
            let _ = watch.join();
        }
    }
}

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.stdin {
            Some(stdin) => stdin.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if self.watch.is_some() {
            let _ = lock(&self.child).kill();
            let _ = self.wait();
            self.unwatch();
        }
    }
}

/// Who goes on after that has nobody left to read it, and ends.
fn head(mut out: impl Read, limit: usize) -> io::Result<Head> {
    let mut kept = Vec::new();
    out.by_ref().take(limit as u64).read_to_end(&mut kept)?;
    let more = out.read(&mut [0])?;
    Ok((kept, more > 0))
}

/// Hands on what is printed until nobody takes it any more.
fn forward(mut out: impl Read, queue: &SyncSender<Vec<u8>>) -> io::Result<Head> {
    loop {
        let mut piece = vec![0; PIECE];
        match out.read(&mut piece) {
            Ok(0) => return Ok((Vec::new(), false)),
            Ok(count) => {
                piece.truncate(count);
                if queue.send(piece).is_err() {
                    return Ok((Vec::new(), true));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The end of what is said.
fn tail(mut err: impl Read) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match err.read(&mut buffer) {
            Ok(0) => return kept,
            Ok(count) => {
                kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
                let excess = kept.len().saturating_sub(MAX_STDERR);
                kept.drain(..excess);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return kept,
        }
    }
}

fn watch(child: &Mutex<Child>, state: &State, patience: Option<Duration>) {
    let begin = Instant::now();
    while !state.done.load(Ordering::Relaxed) {
        let late = patience.is_some_and(|patience| begin.elapsed() > patience);
        if late {
            state.timed_out.store(true, Ordering::Relaxed);
        }
        if late || state.stop.load(Ordering::Relaxed) {
            // It may have ended by itself, which is as good; one that was reaped is not signalled.
            let _ = lock(child).kill();
        }
        std::thread::park_timeout(TICK);
    }
}
