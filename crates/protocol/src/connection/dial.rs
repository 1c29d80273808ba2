//! One attempt at one address: socket, TLS, start-up packet, authentication.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::establish::deadline;
use super::notice::Notices;
use super::{ConnectError, Connection, ConnectionError, Mode};
use crate::auth::{AuthStep, Authenticator, ServerEndPoint};
use crate::conninfo::{ConnectOptions, Host, SslNegotiation};
use crate::net::{Keepalive, Patience, Socket, TcpSettings, Transport, WaitError, peer_is};
use crate::proto::{BackendMessage, FrameBuffer, FrameLimits, ServerVersion};
use crate::tls::Attempt;

/// Where to connect and how.
pub(super) struct Target<'a> {
    pub(super) options: &'a ConnectOptions,
    pub(super) host: &'a Host,
    /// `None`: the host's Unix socket.
    pub(super) address: Option<SocketAddr>,
    pub(super) mode: Mode,
    pub(super) attempt: Attempt,
}

/// How much a failure rules out.
pub(super) enum Failure {
    /// The host.
    Final(ConnectError),
    /// This address; another of the same host may do.
    Address(ConnectError),
    /// This way of opening the connection (with or without TLS); the next may do.
    Attempt(ConnectError),
}

impl Target<'_> {
    fn wait_error(&self, error: WaitError, timeout: Option<Duration>) -> ConnectError {
        let host = self.host.display_name();
        let port = self.host.port;
        match error {
            WaitError::Stopped => ConnectError::Stopped,
            WaitError::TimedOut => {
                ConnectError::TimedOut { host, port, timeout: timeout.unwrap_or_default() }
            }
            WaitError::Io(source) => ConnectError::Io { host, port, source },
        }
    }

    fn tls(&self, reason: impl ToString) -> ConnectError {
        ConnectError::Tls { host: self.host.display_name(), reason: reason.to_string() }
    }

    fn broken(&self, source: ConnectionError, timeout: Option<Duration>) -> ConnectError {
        match source {
            ConnectionError::Stopped => ConnectError::Stopped,
            ConnectionError::TimedOut => self.wait_error(WaitError::TimedOut, timeout),
            source => ConnectError::Connection { host: self.host.display_name(), source },
        }
    }
}

/// Opens a session.
pub(super) fn dial(target: &Target<'_>, stop: Option<Arc<AtomicBool>>) -> Result<Connection, Failure> {
    let limit = deadline(target.options);
    let timeout = limit.map(|(_, timeout)| timeout);
    let patience = Patience { deadline: limit.map(|(at, _)| at), stop: stop.as_deref() };
    let socket = open(target, &patience).map_err(|error| match target.wait_error(error, timeout) {
        ConnectError::Stopped => Failure::Final(ConnectError::Stopped),
        error => Failure::Address(error),
    })?;
    if let (None, Some(user)) = (target.address, target.options.require_peer()) {
        let reason = match peer_is(&socket, user) {
            Ok(true) => None,
            Ok(false) => {
                Some(format!("requirepeer specifies \"{user}\", but the server runs as another user"))
            }
            Err(error) => Some(format!("requirepeer: could not find out who runs the server: {error}")),
        };
        if let Some(reason) = reason {
            return Err(Failure::Final(ConnectError::Options { reason }));
        }
    }
    let (transport, end_point, encrypted) = encrypt(target, socket, &patience, timeout)?;
    let mut connection = Connection {
        transport,
        frames: FrameBuffer::new(FrameLimits::default().unauthenticated()),
        out: BytesMut::with_capacity(1024),
        parameters: Vec::new(),
        version: ServerVersion(0),
        process_id: 0,
        notices: Notices::default(),
        stop,
        query_limit: None,
        ready: false,
        mode: target.mode,
        encrypted,
    };
    start(target, &mut connection, end_point, limit)?;
    Ok(connection)
}

fn open(target: &Target<'_>, patience: &Patience<'_>) -> Result<Socket, WaitError> {
    let Some(address) = target.address else {
        let path = target.host.socket_path().unwrap_or_default();
        return Socket::unix(&path, patience);
    };
    let wanted = target.options.keepalives();
    let seconds = |value: Option<u32>| value.map(|value| Duration::from_secs(value.into()));
    let settings = TcpSettings {
        keepalive: wanted.enabled.then(|| Keepalive {
            idle: seconds(wanted.idle),
            interval: seconds(wanted.interval),
            count: wanted.count,
        }),
        user_timeout: target.options.tcp_user_timeout(),
    };
    Socket::tcp(address, &settings, patience)
}

/// Asks for TLS unless it is to start at once, and runs the handshake.
fn encrypt(
    target: &Target<'_>,
    socket: Socket,
    patience: &Patience<'_>,
    timeout: Option<Duration>,
) -> Result<(Transport, ServerEndPoint, bool), Failure> {
    let mut transport = Transport::Plain(socket);
    if target.attempt == Attempt::Plain {
        return Ok((transport, ServerEndPoint::NoTls, false));
    }
    if target.options.ssl().negotiation == SslNegotiation::Postgres {
        let answer = request_tls(&mut transport, patience)
            .map_err(|error| Failure::Attempt(target.wait_error(error, timeout)))?;
        match (answer, target.attempt) {
            (Some(b'S'), _) => {}
            (Some(b'N'), Attempt::TlsIfOffered) => return Ok((transport, ServerEndPoint::NoTls, false)),
            (Some(b'N'), _) => {
                return Err(Failure::Attempt(
                    target.tls("server does not support SSL, but SSL was required"),
                ));
            }
            // The text of an error here is not authenticated by anything and is not shown (CVE-2024-10977).
            (Some(b'E'), _) => {
                return Err(Failure::Attempt(
                    target.tls("server sent an error response during SSL exchange"),
                ));
            }
            (Some(_), _) => {
                return Err(Failure::Final(target.tls("server sent an invalid response to SSL negotiation")));
            }
            // Plaintext that would be taken for what TLS protects (CVE-2021-23222).
            (None, _) => {
                return Err(Failure::Final(target.tls("received unencrypted data after SSL response")));
            }
        }
    }
    handshake(target, transport, patience, timeout)
}

/// Sends SSLRequest and reads the one byte of answer; `None` when more than one byte came.
fn request_tls(transport: &mut Transport, patience: &Patience<'_>) -> Result<Option<u8>, WaitError> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    transport.write(&request, patience)?;
    let mut answer = [0; 8];
    match (transport.read(&mut answer, patience)?, answer) {
        (0, _) => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        (1, [byte, ..]) => Ok(Some(byte)),
        // An old server or a full one answers with a whole ErrorResponse.
        (_, [b'E', ..]) => Ok(Some(b'E')),
        _ => Ok(None),
    }
}

#[cfg(feature = "tls")]
fn handshake(
    target: &Target<'_>,
    transport: Transport,
    patience: &Patience<'_>,
    timeout: Option<Duration>,
) -> Result<(Transport, ServerEndPoint, bool), Failure> {
    use crate::tls;

    let connector =
        tls::connector(target.options, target.host).map_err(|error| Failure::Final(target.tls(error)))?;
    let session = connector.start().map_err(|error| Failure::Final(target.tls(error)))?;
    let Transport::Plain(socket) = transport else {
        return Err(Failure::Final(target.tls("TLS inside TLS")));
    };
    let transport = Transport::handshake(session, socket, patience).map_err(|error| match error {
        // What rustls finds wrong with the other side; anything else is the network's, and may pass.
        WaitError::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Failure::Attempt(target.tls(error))
        }
        other => Failure::Attempt(target.wait_error(other, timeout)),
    })?;
    let Transport::Tls(stream) = &transport else {
        return Err(Failure::Final(target.tls("no TLS after the handshake")));
    };
    let end_point = connector.finish(&stream.conn).map_err(|error| Failure::Final(target.tls(error)))?;
    Ok((transport, end_point, true))
}

#[cfg(not(feature = "tls"))]
fn handshake(
    target: &Target<'_>,
    _: Transport,
    _: &Patience<'_>,
    _: Option<Duration>,
) -> Result<(Transport, ServerEndPoint, bool), Failure> {
    Err(Failure::Final(target.tls("this build has no TLS")))
}

fn start(
    target: &Target<'_>,
    connection: &mut Connection,
    end_point: ServerEndPoint,
    limit: Option<(Instant, Duration)>,
) -> Result<(), Failure> {
    let (limit, timeout) = (limit.map(|(at, _)| at), limit.map(|(_, timeout)| timeout));
    let broken = |error| Failure::Attempt(target.broken(error, timeout));
    let parameters = startup_parameters(target);
    frontend::startup_message(parameters.iter().map(|(key, value)| (*key, value.as_str())), connection.out())
        .map_err(|error| Failure::Final(target.broken(error.into(), timeout)))?;
    connection.send(limit, true).map_err(broken)?;

    let physical = target.mode == Mode::PhysicalReplication;
    let mut authenticator = Authenticator::new(target.options, target.host, physical, end_point);
    let mut authenticated = false;
    loop {
        // A password that went out once is not sent again, least of all without TLS.
        let once = authenticated || authenticator.password_requested();
        let broken = |error| {
            let error = target.broken(error, timeout);
            if once { Failure::Final(error) } else { Failure::Attempt(error) }
        };
        if limit.is_some_and(|limit| Instant::now() >= limit) {
            return Err(broken(ConnectionError::TimedOut));
        }
        let frame = connection.receive(limit, true).map_err(broken)?;
        let answer = match connection.message(&frame).map_err(broken)? {
            BackendMessage::Authentication(_) if !authenticated => {
                let host = target.host.display_name();
                authenticator.receive(connection.body(&frame)).map_err(|error| {
                    Failure::Final(ConnectError::Authentication { host, reason: error.to_string() })
                })?
            }
            BackendMessage::NegotiateProtocolVersion { .. } if !authenticated => AuthStep::Continue,
            BackendMessage::BackendKeyData { process_id, .. } if authenticated => {
                connection.process_id = process_id;
                continue;
            }
            BackendMessage::ReadyForQuery(_) if authenticated => break,
            BackendMessage::Error(error) => {
                let (host, port) = (target.host.display_name(), target.host.port);
                let error = ConnectError::Server { host, port, error };
                return Err(if once { Failure::Final(error) } else { Failure::Attempt(error) });
            }
            other => {
                let error = ConnectionError::unexpected(&other, "authentication and ReadyForQuery");
                return Err(Failure::Final(target.broken(error, timeout)));
            }
        };
        match answer {
            AuthStep::Send(bytes) => {
                connection.out().extend_from_slice(&bytes);
                // Some of the answer may be out.
                connection.send(limit, true).map_err(|e| Failure::Final(target.broken(e, timeout)))?;
            }
            AuthStep::Continue => {}
            AuthStep::Done => {
                authenticated = true;
                connection.frames.set_max_frame(FrameLimits::default().max_frame);
            }
        }
    }
    connection.version = connection
        .parameter("server_version")
        .and_then(ServerVersion::parse)
        .ok_or_else(|| broken(super::unexpected("no server_version", "a version")))?;
    connection.ready = true;
    Ok(())
}

fn startup_parameters(target: &Target<'_>) -> Vec<(&'static str, String)> {
    let options = target.options;
    let mut parameters = vec![("user", options.user().to_owned())];
    match target.mode {
        Mode::Sql => parameters.push(("database", options.dbname().to_owned())),
        Mode::PhysicalReplication => parameters.push(("replication", String::from("true"))),
    }
    if let Some(name) = options.application_name() {
        parameters.push(("application_name", name.to_owned()));
    }
    // Values are handed out as text; any other encoding would make some of them unreadable.
    parameters.push(("client_encoding", String::from("UTF8")));
    if let Some(settings) = options.options() {
        parameters.push(("options", settings.to_owned()));
    }
    parameters
}
