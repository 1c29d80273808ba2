//! Short questions to programs of this host, or of another one over ssh: which version is there, what system is it.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long an answer may take. Over ssh, a host that is not there takes its time.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much of an answer is kept.
const MAX_ANSWER: u64 = 64 * 1024;
/// How often somebody looks whether the program has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// What `script` prints in a shell of this host, whose `PATH` begins with `path_prefix`; `$1`, `$2`, … are `args`.
/// `None` when it fails, or does not end in time.
pub(crate) fn ask_shell(
    script: &str,
    args: &[&str],
    path_prefix: Option<&str>,
    stop: &AtomicBool,
) -> Option<String> {
    let mut command = Command::new("/bin/sh");
    match path_prefix.filter(|prefix| !prefix.is_empty()) {
        None => command.args(["-c", script, "sh"]),
        Some(prefix) => {
            let with_path = format!("PATH=$1:$PATH; export PATH; shift; {script}");
            command.arg("-c").arg(with_path).args(["sh", prefix])
        }
    };
    command.args(args);
    ask(command, stop)
}

/// The same at the other end of `ssh`, which is a command and its options.
pub(crate) fn ask_host(ssh: &[String], script: &str, stop: &AtomicBool) -> Option<String> {
    let (program, options) = ssh.split_first()?;
    let mut command = Command::new(program);
    command.args(options).arg(script);
    ask(command, stop)
}

fn ask(mut command: Command, stop: &AtomicBool) -> Option<String> {
    // A group of its own, so that what a shell has started ends with it.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().ok()?;
    let pipe = child.stdout.take()?;
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        let mut pipe = pipe;
        let read = pipe.by_ref().take(MAX_ANSWER).read_to_end(&mut answer);
        // The rest is read so that the writer is not held up.
        let rest = std::io::copy(&mut pipe, &mut std::io::sink());
        (read.is_ok() && rest.is_ok()).then_some(answer)
    });
    let ended_well = wait(&mut child, stop);
    let answer = reader.join().ok().flatten();
    String::from_utf8(answer.filter(|_| ended_well)?).ok()
}

/// Whether it ended in time and with success; it has ended in any case.
fn wait(child: &mut Child, stop: &AtomicBool) -> bool {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if begun.elapsed() < PATIENCE && !stop.load(Ordering::Relaxed) => {
                std::thread::sleep(PAUSE);
            }
            Ok(None) | Err(_) => break,
        }
    }
    // Nothing to do about an error: what cannot be killed is gone.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_failures_and_ends() {
        let stop = AtomicBool::new(false);
        assert_eq!(ask_shell("echo $1-$2", &["a", "b c"], None, &stop).as_deref(), Some("a-b c\n"));
        let path = ask_shell("echo ${PATH%%:*} $1", &["a"], Some("/nowhere"), &stop);
        assert_eq!(path.as_deref(), Some("/nowhere a\n"));
        assert_eq!(ask_shell("echo a; exit 3", &[], None, &stop), None);
        assert_eq!(ask_host(&[], "true", &stop), None);
        assert_eq!(ask_host(&["/nonexistent/ssh".to_owned()], "true", &stop), None);
        let words = ["sh".to_owned(), "-c".to_owned()];
        assert_eq!(ask_host(&words, "echo there", &stop).as_deref(), Some("there\n"));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(ask_shell("sleep 100 & sleep 100", &[], None, &stop), None);
    }
}
