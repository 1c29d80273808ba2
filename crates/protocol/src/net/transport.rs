//! The byte stream under the protocol: a socket, or TLS over one.

use std::io::{self, ErrorKind, Read, Write};

use super::socket::Socket;
use super::wait::{Patience, WaitError};

/// A byte stream that waits with a [`Patience`].
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(Socket),
    #[cfg(feature = "tls")]
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, Socket>>),
}

impl Transport {
    /// Runs the TLS handshake over `socket` to its end.
    #[cfg(feature = "tls")]
    pub(crate) fn handshake(
        mut session: rustls::ClientConnection,
        mut socket: Socket,
        patience: &Patience<'_>,
    ) -> Result<Self, WaitError> {
        while session.is_handshaking() {
            match session.complete_io(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if session.wants_write() {
                        patience.writable(&socket)?;
                    } else {
                        patience.readable(&socket)?;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self::Tls(Box::new(rustls::StreamOwned::new(session, socket))))
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.conn.wants_write(),
        }
    }

    fn stream(&mut self) -> (&mut dyn Read, bool) {
        match self {
            Self::Plain(socket) => (socket, false),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => (stream.as_mut(), true),
        }
    }

    /// Reads what is there, waiting until something is. Zero means the other side closed.
    pub(crate) fn read(&mut self, buffer: &mut [u8], patience: &Patience<'_>) -> Result<usize, WaitError> {
        // A server that sends faster than we read must not keep the stop flag unseen.
        patience.check()?;
        loop {
            let (stream, tls) = self.stream();
            match stream.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.wants_write() {
                        patience.writable(self.socket())?;
                    } else {
                        patience.readable(self.socket())?;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // PostgreSQL closes without TLS's close_notify.
                Err(error) if tls && error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes all of `bytes`.
    pub(crate) fn write(&mut self, mut bytes: &[u8], patience: &Patience<'_>) -> Result<(), WaitError> {
        while !bytes.is_empty() {
            let result = match self {
                Self::Plain(socket) => socket.write(bytes),
                #[cfg(feature = "tls")]
                Self::Tls(stream) => stream.write(bytes),
            };
            match result {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) => self.after_write_error(error, patience)?,
            }
        }
        self.flush(patience)
    }

    fn flush(&mut self, patience: &Patience<'_>) -> Result<(), WaitError> {
        while self.wants_write() {
            let result = match self {
                Self::Plain(socket) => socket.flush(),
                #[cfg(feature = "tls")]
                Self::Tls(stream) => stream.flush(),
            };
            if let Err(error) = result {
                self.after_write_error(error, patience)?;
            }
        }
        Ok(())
    }

    fn after_write_error(&self, error: io::Error, patience: &Patience<'_>) -> Result<(), WaitError> {
        match error.kind() {
            ErrorKind::WouldBlock => patience.writable(self.socket()),
            ErrorKind::Interrupted => Ok(()),
            _ => Err(error.into()),
        }
    }
}
