//! A store's program that ends as soon as the test does.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ends the program however the test ends: the shell's standard input is a pipe that only the test holds. Its output is the program's
/// alone, so that it ends with that.
const UNTIL_INPUT_ENDS: &str =
    r#""$@" </dev/null 2>&1 & program=$!; exec >/dev/null 2>&1; cat; kill -9 "$program"; wait "$program""#;

/// It is stopped when this is dropped, or when the test's process ends, so that it can also be in a `static`.
#[derive(Debug)]
pub(super) struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts the program, and waits for the line of its log that has `mark` and then the URL that it listens at.
    pub(super) fn start(program: &Path, arguments: &[&OsStr], mark: &str) -> Self {
        let mut process = Command::new("/bin/sh")
            .args(["-c", UNTIL_INPUT_ENDS, "sh"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start a store");
        let mut log = BufReader::new(process.stdout.take().expect("its log"));
        let address = address_in(&mut log, mark);
        // It logs each request; a full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, address }
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn address_in(log: &mut BufReader<impl Read>, mark: &str) -> SocketAddr {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        let count = log.read_line(&mut line).expect("read the log of a store");
        assert!(count > 0, "the store did not start: {text}");
        if let Some((_, url)) = line.split_once(mark) {
            let address = url.trim_start_matches(['h', 't', 'p', 's', ':', '/', ' ']);
            return address.trim().parse().expect("the address of a store");
        }
        text.push_str(&line);
    }
}
