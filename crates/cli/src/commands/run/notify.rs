//! Telling systemd how the service is (`sd_notify(3)`).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::environment::Environment;

/// The service manager, when there is one.
#[derive(Debug)]
pub(super) struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// Half of what systemd allows.
    watchdog: Option<Duration>,
    alive: Instant,
}

impl Notifier {
    /// As the environment says. A socket that cannot be used is left alone: the service works all the same.
    pub(super) fn new(environment: &Environment) -> Self {
        let to = environment.notify_socket.as_deref().and_then(|name| match connect(name) {
            Ok(to) => Some(to),
            Err(error) => {
                tracing::warn!("cannot notify {}: {error}", name.display());
                None
            }
        });
        Self { to, watchdog: environment.watchdog.map(|time| time / 2), alive: Instant::now() }
    }

    /// Sends assignments, one on each line.
    pub(super) fn send(&self, state: &str) {
        let Some((socket, address)) = &self.to else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!("cannot notify the service manager: {error}");
        }
    }

    /// The configuration is being read again. `Type=notify-reload` wants to know since when.
    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=Reading the configuration"));
    }

    /// Tells the watchdog, when it is time.
    pub(super) fn alive(&mut self) {
        if self.watchdog.is_some_and(|time| self.alive.elapsed() >= time) {
            self.alive = Instant::now();
            self.send("WATCHDOG=1");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    Ok((UnixDatagram::unbound()?, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(address: &SocketAddr, name: &str) {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        let environment = Environment {
            notify_socket: Some(name.into()),
            watchdog: Some(Duration::from_micros(1)),
            ..Environment::default()
        };
        let mut notifier = Notifier::new(&environment);
        let mut buffer = [0; 256];
        let mut heard = || {
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        notifier.send("READY=1");
        assert_eq!(heard(), "READY=1");
        notifier.reloading();
        assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        notifier.alive();
        assert_eq!(heard(), "WATCHDOG=1");
    }

    #[test]
    fn sockets_with_and_without_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        told(&SocketAddr::from_pathname(&path).unwrap(), path.to_str().unwrap());
        let name = format!("tapster-test-{}", std::process::id());
        told(&SocketAddr::from_abstract_name(&name).unwrap(), &format!("@{name}"));
    }

    #[test]
    fn nobody_listens() {
        Notifier::new(&Environment::default()).send("READY=1");
        let gone =
            Environment { notify_socket: Some("/nonexistent/socket".into()), ..Environment::default() };
        Notifier::new(&gone).send("READY=1");
    }
}
