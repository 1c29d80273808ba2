//! `put-wal`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tapster_manager::Server;

use crate::args::put_wal::PutWalArgs;
use crate::failure::Failure;
use crate::session::Session;
use crate::startup::{Rules, Setup};

/// Stores what comes on standard input, and says nothing when that went well.
pub(crate) fn run(args: &PutWalArgs, session: &Session) -> Result<(), Failure> {
    let setup = Setup::for_postgresql(session)?;
    let server = receiving_server(&setup, &args.server)?;
    if args.test {
        session.output.line(format!("Ready to accept WAL files for the server {}", server.name()));
        return Ok(());
    }
    session.watch_signals()?;
    let observer = setup.observer(&args.server);
    let context = setup.context(&observer);
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    let stdin = stdin.map_err(|error| Failure::user(format!("cannot read standard input: {error}")))?;
    let input = Interruptible { input: File::from(stdin), stop: Arc::clone(&session.stop) };
    match server.put_wal(input, &context) {
        Ok(report) => {
            for (name, accepted) in report.files {
                tracing::info!("received {name} ({accepted:?})");
            }
            Ok(())
        }
        Err(_) if context.stopped() => Err(Failure::interrupted()),
        Err(error) => Err(Failure::put_wal(&error)),
    }
}

/// The server, if WAL may come in for it. Reporting success for one that is switched off would lose the file.
pub(super) fn receiving_server(setup: &Setup<'_>, name: &str) -> Result<Server, Failure> {
    if setup.config.servers.get(name).is_some_and(|server| !server.active) {
        return Err(Failure::user(format!("Inactive server: {name}")));
    }
    setup.one(name, Rules::CATALOG)
}

/// Standard input that ends with an error when the program is to stop, though nothing comes.
struct Interruptible {
    input: File,
    stop: Arc<AtomicBool>,
}

const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

impl Read for Interruptible {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                // Not `Interrupted`, after which readers try again.
                return Err(io::Error::other("stopped"));
            }
            match poll(&mut [PollFd::new(&self.input, PollFlags::IN)], Some(&TICK)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                // What else polling does not like, reading explains.
                Ok(_) | Err(_) => return self.input.read(buf),
            }
        }
    }
}
