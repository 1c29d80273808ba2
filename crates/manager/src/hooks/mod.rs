//! Hook scripts: what the administrator wants run before and after an operation (`pre_backup_script` and its nineteen like).
//!
//! Names, environment, order and exit codes are Barman 3.19's: before an operation the plain script and then the retry
//! script, after it the other way round; a retry script is run again until it ends with 0, 62 (go on without it) or 63 (stop,
//! which after an operation means nothing any more).

mod script;
mod variables;

pub(crate) use variables::BARMAN_VERSION;

use std::time::{Duration, Instant};

use thiserror::Error;

use self::script::{Outcome, Script};
pub(crate) use self::variables::wal_variables;
use crate::config::{HookEvent, HookPhase};
use crate::event::Event;
use crate::{Context, Server};

/// Exit code of a retry script that gives up; the operation goes on.
const GO_ON: i32 = 62;
/// Exit code of a retry script that wants the operation stopped.
const STOP: i32 = 63;
/// Failed attempts before the long pause.
const ATTEMPTS: u32 = 6;

/// A retry script before an operation that wants it stopped.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("Abort '{hook}' retry hook script ({script}, exit code: {STOP})")]
#[non_exhaustive]
pub struct HookAbort {
    /// Which, such as `pre_backup_retry_script`.
    pub hook: String,
    /// The command line.
    pub script: String,
}

/// Pauses after failed attempts of a retry script.
#[derive(Clone, Copy, Debug)]
struct Pauses {
    short: Duration,
    long: Duration,
}

const PAUSES: Pauses = Pauses { short: Duration::from_secs(3), long: Duration::from_secs(60) };

/// Names and values for a script's environment, besides those all scripts get.
pub(crate) type Variables = Vec<(&'static str, String)>;

impl Server {
    /// Runs the scripts before an operation.
    ///
    /// # Errors
    /// When the retry script wants the operation stopped. Nothing else a script does is an error.
    pub(crate) fn hooks_before(
        &self,
        event: HookEvent,
        variables: &Variables,
        context: &Context<'_>,
    ) -> Result<(), HookAbort> {
        self.plain_hook(HookPhase::Pre, event, variables, context);
        self.retry_hook(HookPhase::Pre, event, variables, PAUSES, context)
    }

    /// Runs the scripts after an operation, successful or not; `BARMAN_ERROR` says which.
    pub(crate) fn hooks_after(&self, event: HookEvent, variables: &Variables, context: &Context<'_>) {
        self.hooks_after_each(event, variables, variables, context);
    }

    /// [`Self::hooks_after`] where the two scripts are not told the same.
    pub(crate) fn hooks_after_each(
        &self,
        event: HookEvent,
        retry: &Variables,
        plain: &Variables,
        context: &Context<'_>,
    ) {
        if let Err(abort) = self.retry_hook(HookPhase::Post, event, retry, PAUSES, context) {
            context.tell(Event::Warning(format!(
                "Ignoring stop request after receiving abort (exit code {STOP}) from {}: {}",
                abort.hook, abort.script
            )));
        }
        self.plain_hook(HookPhase::Post, event, plain, context);
    }

    /// Whether any script is configured for this: where not, nothing need be found out for its environment.
    pub(crate) fn has_hooks(&self, event: HookEvent) -> bool {
        [HookPhase::Pre, HookPhase::Post]
            .into_iter()
            .any(|phase| [false, true].into_iter().any(|retry| self.script(phase, event, retry).is_some()))
    }

    fn script(&self, phase: HookPhase, event: HookEvent, retry: bool) -> Option<&str> {
        self.config.hook(phase, event, retry).filter(|script| !script.trim().is_empty())
    }

    fn plain_hook(&self, phase: HookPhase, event: HookEvent, variables: &Variables, context: &Context<'_>) {
        if let Some(command) = self.script(phase, event, false) {
            let script = Script::new(self, command, phase, event, false, variables);
            tell(command, &script.run(context), context);
        }
    }

    fn retry_hook(
        &self,
        phase: HookPhase,
        event: HookEvent,
        variables: &Variables,
        pauses: Pauses,
        context: &Context<'_>,
    ) -> Result<(), HookAbort> {
        let Some(command) = self.script(phase, event, true) else { return Ok(()) };
        let script = Script::new(self, command, phase, event, true, variables);
        let mut attempts = 0;
        loop {
            let outcome = script.run(context);
            tell(command, &outcome, context);
            match outcome.code() {
                Some(0) => return Ok(()),
                Some(GO_ON) => {
                    context.tell(Event::Warning(format!(
                        "{command} was aborted (got exit status {GO_ON}, Barman resumes)"
                    )));
                    return Ok(());
                }
                Some(STOP) => {
                    let hook = variables::hook_name(phase, event, true);
                    return Err(HookAbort { hook, script: command.to_owned() });
                }
                _ => {}
            }
            attempts += 1;
            let pause = if attempts < ATTEMPTS { pauses.short } else { pauses.long };
            attempts %= ATTEMPTS;
            if !pause_for(pause, context) {
                // The operation sees the request by itself.
                return Ok(());
            }
        }
    }
}

fn tell(command: &str, outcome: &Outcome, context: &Context<'_>) {
    if let Some(problem) = outcome.problem() {
        context.tell(Event::Warning(format!("{command} {problem}")));
    }
}

/// False when somebody asked to stop.
fn pause_for(pause: Duration, context: &Context<'_>) -> bool {
    let end = Instant::now() + pause;
    while Instant::now() < end {
        if context.stopped() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50).min(pause));
    }
    !context.stopped()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;
    use std::sync::atomic::Ordering;

    use tapster_protocol::Environment;

    use super::*;
    use crate::config::{Config, ConfigSources};
    use crate::{Observer, Silent};

    fn server(home: &Path, extra: &str) -> Server {
        let path = home.join("tapster.conf");
        let text = format!(
            "[barman]\nbarman_home = {}\n[main]\nconninfo = host=none\nbackup_method = postgres\n\
             streaming_archiver = on\nslot_name = x\n{extra}",
            home.display()
        );
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&ConfigSources::file(path)).unwrap();
        Server::open(&config, "main", Environment::default()).unwrap()
    }

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Observer for Told {
        fn event(&self, event: &Event) {
            if let Event::Warning(text) = event {
                self.0.lock().unwrap().push(text.clone());
            }
        }
    }

    #[test]
    fn plain_scripts_see_their_environment_and_only_warn() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        let server = server(
            home.path(),
            &format!(
                "pre_backup_script = env | grep ^BARMAN_ | sort > {0}; echo said; echo wrong >&2; exit 7\n\
                 post_backup_script = echo \"$BARMAN_PHASE $BARMAN_HOOK\" > {0}\n",
                out.display()
            ),
        );
        let told = Told::default();
        let context = Context::new(&told);
        let variables = vec![("BARMAN_STATUS", "EMPTY".to_owned()), ("BARMAN_ERROR", String::new())];
        server.hooks_before(HookEvent::Backup, &variables, &context).unwrap();
        let seen = std::fs::read_to_string(&out).unwrap();
        let conf = home.path().join("tapster.conf");
        let expected = format!(
            "BARMAN_CONFIGURATION={}\nBARMAN_ERROR=\nBARMAN_HOOK=backup_script\nBARMAN_PHASE=pre\nBARMAN_RETRY=0\n\
             BARMAN_SERVER=main\nBARMAN_STATUS=EMPTY\nBARMAN_VERSION=3.19.1\n",
            conf.display()
        );
        assert_eq!(seen, expected);
        let warnings = told.0.lock().unwrap().join("|");
        assert!(warnings.ends_with("returned 7\nOutput details:\nsaid\nwrong\n"), "{warnings:?}");
        server.hooks_after(HookEvent::Backup, &variables, &context);
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "post backup_script\n");
        assert!(server.has_hooks(HookEvent::Backup) && !server.has_hooks(HookEvent::Delete));
    }

    #[test]
    fn retry_scripts_are_run_until_they_have_decided() {
        let home = tempfile::tempdir().unwrap();
        let count = home.path().join("count");
        let script = |code: u32| {
            format!(
                "pre_delete_retry_script = echo x >> {0}; test $(wc -l < {0}) -lt 8 && exit 1; exit {code}\n",
                count.display()
            )
        };
        let pauses = Pauses { short: Duration::from_millis(1), long: Duration::from_millis(20) };
        for (code, aborts) in [(0, false), (62, false), (63, true)] {
            let server = server(home.path(), &script(code));
            let told = Told::default();
            let context = Context::new(&told);
            let result = server.retry_hook(HookPhase::Pre, HookEvent::Delete, &Vec::new(), pauses, &context);
            assert_eq!(result.is_err(), aborts, "{code}");
            assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), 8, "{code}");
            std::fs::remove_file(&count).unwrap();
            if let Err(abort) = result {
                assert!(abort.to_string().starts_with("Abort 'pre_delete_retry_script' retry hook script ("));
                assert!(abort.to_string().ends_with("exit code: 63)"));
            }
        }
    }

    #[test]
    fn a_request_to_stop_ends_the_script_and_its_repetition() {
        let home = tempfile::tempdir().unwrap();
        let server = server(home.path(), "pre_backup_retry_script = sleep 600\n");
        let context = Context::new(&Silent);
        let stop = std::sync::Arc::clone(&context.stop);
        let asking = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            stop.store(true, Ordering::Relaxed);
        });
        let begin = Instant::now();
        server.hooks_before(HookEvent::Backup, &Vec::new(), &context).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(60));
        asking.join().unwrap();
    }

    #[test]
    fn what_a_script_leaves_running_is_not_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let server = server(home.path(), "post_delete_script = sleep 90 & echo said; exit 4\n");
        let told = Told::default();
        let begin = Instant::now();
        server.hooks_after(HookEvent::Delete, &Vec::new(), &Context::new(&told));
        assert!(begin.elapsed() < Duration::from_secs(60), "waited for what is in the background");
        let warnings = told.0.lock().unwrap().join("");
        assert!(warnings.ends_with("returned 4\nOutput details:\nsaid\n"), "{warnings:?}");
    }

    /// The script's own end is not enough: what it waits for may hold locks and files.
    #[test]
    fn all_that_a_stopped_script_has_started_ends() {
        let home = tempfile::tempdir().unwrap();
        let (deaf, polite) = (home.path().join("deaf"), home.path().join("polite"));
        let server = server(
            home.path(),
            &format!(
                "pre_backup_script = (trap '' TERM; sh -c 'echo $$ > {}; sleep 600'; sleep 600) & \
                 trap 'echo bye > {}; exit 3' TERM; wait\n",
                deaf.display(),
                polite.display()
            ),
        );
        let context = Context::new(&Silent);
        let (stop, started) = (std::sync::Arc::clone(&context.stop), deaf.clone());
        let asking = std::thread::spawn(move || {
            while !std::fs::read_to_string(&started).is_ok_and(|text| text.ends_with('\n')) {
                std::thread::sleep(Duration::from_millis(10));
            }
            std::thread::sleep(Duration::from_millis(200));
            stop.store(true, Ordering::Relaxed);
        });
        server.hooks_before(HookEvent::Backup, &Vec::new(), &context).unwrap();
        asking.join().unwrap();
        assert_eq!(std::fs::read_to_string(&polite).unwrap(), "bye\n");
        let process = std::fs::read_to_string(&deaf).unwrap().trim().parse().unwrap();
        let process = rustix::process::Pid::from_raw(process).unwrap();
        let begin = Instant::now();
        while !is_gone(process) {
            assert!(begin.elapsed() < Duration::from_secs(30), "it still runs");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it has ended, which it also has where nobody has asked how.
    fn is_gone(process: rustix::process::Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
        stat.map_or(true, |stat| stat.contains(") Z"))
    }

    #[test]
    fn more_output_than_is_kept_blocks_nobody() {
        let home = tempfile::tempdir().unwrap();
        let script = "head -c 3000000 /dev/zero | tr '\\\\0' x; head -c 3000000 /dev/zero >&2; exit 1";
        let server = server(home.path(), &format!("post_delete_script = {script}\n"));
        let told = Told::default();
        server.hooks_after(HookEvent::Delete, &Vec::new(), &Context::new(&told));
        let warnings = told.0.lock().unwrap().join("");
        assert!(warnings.contains("returned 1") && warnings.len() < 200_000, "{}", warnings.len());
    }
}
