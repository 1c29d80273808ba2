//! One run of one script.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::Variables;
use super::variables;
use crate::config::{HookEvent, HookPhase};
use crate::{Context, Server};

/// How much of each output is kept for the message.
const MAX_OUTPUT: u64 = 64 * 1024;
/// How often a running script is looked at.
const PAUSE: Duration = Duration::from_millis(20);

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
        let mut child = command.spawn()?;
        let readers = [
            child.stdout.take().map(|pipe| std::thread::spawn(move || read(pipe))),
            child.stderr.take().map(|pipe| std::thread::spawn(move || read(pipe))),
        ];
        let (status, is_killed) = wait(&mut child, was_stopped, context)?;
        let mut output = String::new();
        for reader in readers.into_iter().flatten() {
            // What a killed shell has started may hold the pipe for ever.
            if !is_killed && let Ok(bytes) = reader.join() {
                output.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        Ok((status, output))
    }
}

fn wait(child: &mut Child, was_stopped: bool, context: &Context<'_>) -> io::Result<(ExitStatus, bool)> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, false));
        }
        if context.stopped() && !was_stopped {
            child.kill()?;
            return Ok((child.wait()?, true));
        }
        std::thread::sleep(PAUSE);
    }
}

/// The beginning; the rest is read so that the writer is not held up.
fn read(mut pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = pipe.by_ref().take(MAX_OUTPUT).read_to_end(&mut bytes);
    let _ = io::copy(&mut pipe, &mut io::sink());
    bytes
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
