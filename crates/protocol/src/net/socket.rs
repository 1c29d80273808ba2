//! A non-blocking socket, TCP or Unix.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, TcpKeepalive, Type};

use super::wait::{Patience, WaitError};

/// How TCP notices that the other side is gone (`keepalives*` and `tcp_user_timeout` of libpq).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TcpSettings {
    /// `None`: no keepalives.
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) user_timeout: Option<Duration>,
}

/// What `None` leaves to the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keepalive {
    pub(crate) idle: Option<Duration>,
    pub(crate) interval: Option<Duration>,
    pub(crate) count: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Socket(socket2::Socket);

impl Socket {
    pub(crate) fn tcp(
        address: SocketAddr,
        settings: &TcpSettings,
        patience: &Patience<'_>,
    ) -> Result<Self, WaitError> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        apply(&socket, settings)?;
        Self::connect(socket, &address.into(), patience)
    }

    pub(crate) fn unix(path: &Path, patience: &Patience<'_>) -> Result<Self, WaitError> {
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        Self::connect(socket, &SockAddr::unix(path)?, patience)
    }

    fn connect(
        socket: socket2::Socket,
        address: &SockAddr,
        patience: &Patience<'_>,
    ) -> Result<Self, WaitError> {
        patience.check()?;
        socket.set_nonblocking(true)?;
        match socket.connect(address) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                patience.writable(&socket)?;
                if let Some(error) = socket.take_error()? {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Self(socket))
    }
}

fn apply(socket: &socket2::Socket, settings: &TcpSettings) -> io::Result<()> {
    if let Some(keepalive) = settings.keepalive {
        let mut values = TcpKeepalive::new();
        if let Some(idle) = keepalive.idle {
            values = values.with_time(idle);
        }
        if let Some(interval) = keepalive.interval {
            values = values.with_interval(interval);
        }
        if let Some(count) = keepalive.count {
            values = values.with_retries(count);
        }
        socket.set_keepalive(true)?;
        SockRef::from(socket).set_tcp_keepalive(&values)?;
    }
    if settings.user_timeout.is_some() {
        socket.set_tcp_user_timeout(settings.user_timeout)?;
    }
    Ok(())
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // MSG_NOSIGNAL: a closed connection is an error to report, not a SIGPIPE.
        #[cfg(target_os = "linux")]
        const NO_SIGNAL: i32 = 0x4000;
        #[cfg(not(target_os = "linux"))]
        const NO_SIGNAL: i32 = 0;
        self.0.send_with_flags(bytes, NO_SIGNAL)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
