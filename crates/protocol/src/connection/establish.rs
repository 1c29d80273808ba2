//! From a list of hosts to one open session.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::dial::{Failure, Target, dial};
use super::{ConnectError, Connection, Mode};
use crate::conninfo::{ConnectOptions, Host, HostAddress, TargetSessionAttrs};
use crate::tls::plan;

/// Tries the hosts in order. `prefer-standby` goes round twice, as in libpq.
pub(super) fn connect(
    options: &ConnectOptions,
    mode: Mode,
    stop: Option<Arc<AtomicBool>>,
) -> Result<Connection, ConnectError> {
    match options.target_session_attrs() {
        TargetSessionAttrs::PreferStandby => {
            match round(options, mode, stop.clone(), TargetSessionAttrs::Standby) {
                Err(ConnectError::Stopped) => Err(ConnectError::Stopped),
                Err(_) => round(options, mode, stop, TargetSessionAttrs::Any),
                connected => connected,
            }
        }
        wanted => round(options, mode, stop, wanted),
    }
}

fn round(
    options: &ConnectOptions,
    mode: Mode,
    stop: Option<Arc<AtomicBool>>,
    wanted: TargetSessionAttrs,
) -> Result<Connection, ConnectError> {
    let mut errors = Vec::new();
    let seed = RandomState::new().build_hasher().finish();
    let order = options.connection_order(seed);
    for host in order.into_iter().filter_map(|index| options.hosts().get(index)) {
        match connect_host(options, host, mode, stop.clone(), wanted) {
            Ok(connection) => return Ok(connection),
            Err(ConnectError::Stopped) => return Err(ConnectError::Stopped),
            Err(error) => errors.push(error),
        }
    }
    match errors.pop() {
        Some(error) if errors.is_empty() => Err(error),
        Some(error) => {
            errors.push(error);
            Err(ConnectError::AllHosts(errors))
        }
        None => Err(ConnectError::Options { reason: String::from("no host to connect to") }),
    }
}

fn connect_host(
    options: &ConnectOptions,
    host: &Host,
    mode: Mode,
    stop: Option<Arc<AtomicBool>>,
    wanted: TargetSessionAttrs,
) -> Result<Connection, ConnectError> {
    let attempts =
        plan(options, host).map_err(|error| ConnectError::Options { reason: error.to_string() })?;
    let mut last = None;
    for address in addresses(host)? {
        for attempt in attempts {
            let target = Target { options, host, address, mode, attempt: *attempt };
            match dial(&target, stop.clone()) {
                Ok(mut connection) => {
                    check_session(&mut connection, host, wanted)?;
                    return Ok(connection);
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Address(error)) => {
                    last = Some(error);
                    break;
                }
                Err(Failure::Attempt(error)) => last = Some(error),
            }
        }
    }
    Err(last.unwrap_or_else(|| ConnectError::Options { reason: String::from("no address to connect to") }))
}

/// The addresses of a host; one `None` for a Unix socket.
fn addresses(host: &Host) -> Result<Vec<Option<SocketAddr>>, ConnectError> {
    match &host.address {
        HostAddress::Unix(_) => Ok(vec![None]),
        HostAddress::Tcp { hostaddr: Some(address), .. } => {
            Ok(vec![Some(SocketAddr::new(*address, host.port))])
        }
        HostAddress::Tcp { host: Some(name), .. } => (name.as_str(), host.port)
            .to_socket_addrs()
            .map(|found| found.map(Some).collect())
            .map_err(|source| ConnectError::Resolve { host: name.clone(), source }),
        HostAddress::Tcp { .. } => Ok(Vec::new()),
    }
}

/// `target_session_attrs`. From 14 on the server tells unasked; older ones are asked, as libpq does.
fn check_session(
    connection: &mut Connection,
    host: &Host,
    wanted: TargetSessionAttrs,
) -> Result<(), ConnectError> {
    let met = match wanted {
        TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby => Ok(true),
        TargetSessionAttrs::ReadWrite => is_read_only(connection).map(|read_only| !read_only),
        TargetSessionAttrs::ReadOnly => is_read_only(connection),
        TargetSessionAttrs::Primary => is_standby(connection).map(|standby| !standby),
        TargetSessionAttrs::Standby => is_standby(connection),
    };
    match met {
        Ok(true) => Ok(()),
        Ok(false) => Err(ConnectError::SessionAttributes {
            host: host.display_name(),
            port: host.port,
            wanted: wanted.as_str().to_owned(),
        }),
        Err(super::QueryError::Connection(super::ConnectionError::Stopped)) => Err(ConnectError::Stopped),
        Err(super::QueryError::Connection(source)) => {
            Err(ConnectError::Connection { host: host.display_name(), source })
        }
        Err(super::QueryError::Server(error)) => {
            Err(ConnectError::Server { host: host.display_name(), port: host.port, error })
        }
        Err(error) => Err(ConnectError::Options {
            reason: format!("could not find out whether the server is {}: {error}", wanted.as_str()),
        }),
    }
}

fn is_standby(connection: &mut Connection) -> Result<bool, super::QueryError> {
    match connection.parameter("in_hot_standby") {
        Some(value) => Ok(value == "on"),
        None => Ok(connection.query("SELECT pg_catalog.pg_is_in_recovery()")?.value(0, 0) == Some("t")),
    }
}

fn is_read_only(connection: &mut Connection) -> Result<bool, super::QueryError> {
    let reported = ["in_hot_standby", "default_transaction_read_only"].map(|name| connection.parameter(name));
    match reported {
        [Some(standby), Some(read_only)] => Ok(standby == "on" || read_only == "on"),
        _ => Ok(connection.show("transaction_read_only")? == "on"),
    }
}

/// The moment a connection attempt is given up.
pub(super) fn deadline(options: &ConnectOptions) -> Option<(Instant, Duration)> {
    // libpq waits at least two seconds, because a timer of one may fire at once.
    let timeout = options.connect_timeout()?.max(Duration::from_secs(2));
    Some((Instant::now().checked_add(timeout)?, timeout))
}
