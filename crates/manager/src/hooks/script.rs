//! One run of one script.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::Variables;
use super::variables;
use crate::config::{HookEvent, HookPhase};
use crate::{Context, Server};

/// How much of each output is kept for the message.
const MAX_OUTPUT: usize = 64 * 1024;
/// How often a running script is looked at.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the outputs may stay open after the end of the script: what it has left in the background may hold them for ever.
const LINGER: Duration = Duration::from_secs(3);
/// How long a script that was asked to end may take, with all that it has started.
const GRACE: Duration = Duration::from_secs(5);

/// A script with its environment.
pub(super) struct Script<'a> {
    command: &'a str,
    path_prefix: Option<&'a str>,
    variables: Vec<(&'static str, String)>,
}

/// How a run ended.
pub(super) struct Outcome(io::Result<(ExitStatus, String)>);

impl<'a> Script<'a> {
    pub(super) fn new(
        server: &'a Server,
        command: &'a str,
        phase: HookPhase,
        event: HookEvent,
        retry: bool,
        more: &Variables,
    ) -> Self {
        let mut variables = variables::common(server, phase, event, retry);
        variables.extend(more.iter().cloned());
        let path_prefix = server.config.path_prefix.as_deref().filter(|prefix| !prefix.is_empty());
        Self { command, path_prefix, variables }
    }

    /// Runs it to its end, or to that of the work around it: a request to stop that comes meanwhile ends it too.
    pub(super) fn run(&self, context: &Context<'_>) -> Outcome {
        Outcome(self.finish(context))
    }

    fn finish(&self, context: &Context<'_>) -> io::Result<(ExitStatus, String)> {
        let was_stopped = context.stopped();
        let mut command = Command::new("/bin/sh");
        match self.path_prefix {
            None => command.args(["-c", self.command]),
            Some(prefix) => command.args([
                "-c",
                r#"PATH=$1:$PATH; export PATH; exec /bin/sh -c "$2""#,
                "sh",
                prefix,
                self.command,
            ]),
        };
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // So that what a shell waits for can be asked to end, and not only the shell.
        command.process_group(0);
        let mut child = command.spawn()?;
        let outputs = [child.stdout.take().map(Output::of), child.stderr.take().map(Output::of)];
        let outputs = outputs.into_iter().flatten().collect::<io::Result<Vec<_>>>();
        let outputs = match outputs {
            Ok(outputs) => outputs,
            Err(error) => {
                end(&mut child, &[])?;
                return Err(error);
            }
        };
        let is_stopped = || context.stopped() && !was_stopped;
        let status = wait(&mut child, &outputs, &is_stopped)?;
        let ended = Instant::now();
        while !outputs.iter().all(Output::is_closed) && ended.elapsed() < LINGER && !is_stopped() {
            std::thread::sleep(PAUSE);
        }
        Ok((status, outputs.iter().map(Output::text).collect()))
    }
}

fn wait(child: &mut Child, outputs: &[Output], is_stopped: &dyn Fn() -> bool) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if is_stopped() {
            return end(child, outputs);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks the script and all that it has started to end, and ends by force what does not.
fn end(child: &mut Child, outputs: &[Output]) -> io::Result<ExitStatus> {
    let group = Pid::from_child(child);
    // Nothing to do about an error: what cannot be asked is gone.
    let _ = kill_process_group(group, Signal::TERM);
    let asked = Instant::now();
    // Without reaping, so that the number stays that of the group.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    let has_ended = || matches!(waitid(WaitId::Pid(group), look), Ok(Some(_)));
    while !(has_ended() && outputs.iter().all(Output::is_closed)) {
        if asked.elapsed() >= GRACE {
            let _ = kill_process_group(group, Signal::KILL);
            break;
        }
        std::thread::sleep(PAUSE);
    }
    child.wait()
}

/// What comes from a pipe, by a thread that ends with it.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> io::Result<Self> {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&bytes);
        let thread = std::thread::Builder::new().name("hook".to_owned()).spawn(move || read(pipe, &kept))?;
        Ok(Self { bytes, thread })
    }

    fn is_closed(&self) -> bool {
        self.thread.is_finished()
    }

    /// As far as it was read.
    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Keeps the beginning; the rest is read so that the writer is not held up.
fn read(mut pipe: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 8192];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(got) => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = MAX_OUTPUT.saturating_sub(kept.len());
                kept.extend(buffer.iter().take(got.min(room)));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

impl Outcome {
    pub(super) fn code(&self) -> Option<i32> {
        self.0.as_ref().ok().and_then(|(status, _)| status.code())
    }

    /// What is wrong, as it goes behind the name of the script.
    pub(super) fn problem(&self) -> Option<String> {
        match &self.0 {
            Ok((status, _)) if status.success() => None,
            Ok((status, output)) => {
                let end = match (status.code(), status.signal()) {
                    (Some(code), _) => format!("returned {code}"),
                    (None, Some(signal)) => format!("was ended by signal {signal}"),
                    (None, None) => "ended without an exit code".to_owned(),
                };
                Some(format!("{end}\nOutput details:\n{output}"))
            }
            Err(error) => Some(format!("cannot be run: {error}")),
        }
    }
}
