//! Streams, prefixes and exit codes, seen through memory instead of a terminal.

use std::sync::Arc;

use super::*;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(lock(&self.0).clone()).unwrap()
    }
}

struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run(settings: Settings, work: impl FnOnce(&Output)) -> (String, String, u8) {
    let (out, err) = (Memory::default(), Memory::default());
    let output = Output::with_sinks(settings, Box::new(out.clone()), Box::new(err.clone()));
    work(&output);
    let code = output.finish();
    (out.text(), err.text(), code)
}

fn talk(output: &Output) {
    output.info("one password=x");
    output.debug("two");
    output.warning("three");
    output.error("four");
    output.exception("five");
}

#[test]
fn the_console_prefixes_all_but_info() {
    let (out, err, code) = run(Settings { debug: true, ..Settings::default() }, talk);
    assert_eq!(out, "one password=*REDACTED*\n");
    assert_eq!(
        err,
        "DEBUG: two\nWARNING: three\nERROR: four\nEXCEPTION: five\nSee log file for more details.\n"
    );
    assert_eq!(code, 1);
}

#[test]
fn quiet_drops_info_alone() {
    let (out, err, code) = run(Settings { quiet: true, ..Settings::default() }, |output| {
        output.info("one");
        output.warning("three");
    });
    assert_eq!((out.as_str(), err.as_str(), code), ("", "WARNING: three\n", 0));
}

#[test]
fn json_collects_messages_and_results_unmasked() {
    let json = Settings { format: Format::Json, debug: true, ..Settings::default() };
    let (out, err, code) = run(json, |output| {
        output.json_insert("main", serde_json::json!({"size": 1.0}));
        talk(output);
    });
    assert_eq!(
        out,
        "{\"_DEBUG\": [\"two\"], \"_ERROR\": [\"four\"], \"_EXCEPTION\": [\"five\\nSee log file for more \
         details.\"], \"_INFO\": [\"one password=x\"], \"_WARNING\": [\"three\"], \"main\": {\"size\": 1.0}}"
    );
    assert_eq!((err.as_str(), code), ("", 1));
    assert_eq!(run(Settings { quiet: true, ..json }, talk).0, "");
}

#[test]
fn colours_wrap_the_whole_message() {
    let (_, err, _) = run(Settings { colour: true, ..Settings::default() }, |output| {
        output.error("no");
        assert_eq!(output.paint(Colour::Green, "OK"), "\x1b[32mOK\x1b[0m");
    });
    assert_eq!(err, "\x1b[31mERROR: no\x1b[0m\n");
}

#[test]
fn a_failure_brings_its_exit_code_and_lines() {
    let (_, err, code) = run(Settings::default(), |output| {
        output.failure(&Failure::user("bad").with_hint("good").with_exit_code(3));
    });
    assert_eq!((err.as_str(), code), ("ERROR: bad\nHINT: good\n", 3));
    let (_, err, code) = run(Settings::default(), |output| output.failure(&Failure::fatal("no file")));
    assert_eq!((err.as_str(), code), ("no file\n", 1));
    let (_, err, code) = run(Settings::default(), |output| output.failure(&Failure::reported(2)));
    assert_eq!((err.as_str(), code), ("", 2));
}

#[test]
fn a_closed_pipe_is_not_an_error_but_a_full_disk_is() {
    for (kind, code) in [(io::ErrorKind::BrokenPipe, 0), (io::ErrorKind::StorageFull, 1)] {
        let output =
            Output::with_sinks(Settings::default(), Box::new(Failing(kind)), Box::new(Memory::default()));
        output.info("lost");
        assert_eq!(output.finish(), code);
    }
}

#[test]
fn what_cannot_be_said_on_stderr_changes_no_exit_code() {
    let full = || Box::new(Failing(io::ErrorKind::StorageFull));
    let output = Output::with_sinks(Settings::default(), Box::new(Memory::default()), full());
    output.warning("lost");
    output.error_without_failing("lost, too");
    assert_eq!(output.finish(), 0);
    let output = Output::with_sinks(Settings::default(), full(), full());
    output.tolerate_lost_lines();
    output.info("lost");
    assert_eq!(output.finish(), 0);
    output.error("lost, and yet an error");
    assert_eq!(output.finish(), 1);
}
