//! The list of servers a connection string names, and libpq's rules for lists of different lengths.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::ConnInfoError;

/// PostgreSQL's port.
const DEFAULT_PORT: u16 = 5432;

/// Where one server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAddress {
    /// The directory of a Unix socket; one that begins with `@` is in Linux's abstract name space.
    Unix(PathBuf),
    /// A TCP address. At least one of the two is there.
    Tcp {
        /// The name: looked up if there is no `hostaddr`, and compared with the certificate.
        host: Option<String>,
        /// The numeric address to connect to.
        hostaddr: Option<IpAddr>,
    },
}

/// One server of the connection string.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Host {
    /// Where it listens.
    pub address: HostAddress,
    /// TCP port, or the number in the Unix socket's name.
    pub port: u16,
}

impl Host {
    /// The socket's path, `<directory>/.s.PGSQL.<port>`; `None` for TCP.
    pub fn socket_path(&self) -> Option<PathBuf> {
        match &self.address {
            HostAddress::Unix(directory) => Some(directory.join(format!(".s.PGSQL.{}", self.port))),
            HostAddress::Tcp { .. } => None,
        }
    }

    /// The name to check the certificate against and to send as SNI: `host`, never `hostaddr`.
    pub fn tls_name(&self) -> Option<&str> {
        match &self.address {
            HostAddress::Tcp { host, .. } => host.as_deref(),
            HostAddress::Unix(_) => None,
        }
    }

    /// How the server is called in messages.
    pub fn display_name(&self) -> String {
        match &self.address {
            HostAddress::Unix(directory) => directory.display().to_string(),
            HostAddress::Tcp { host: Some(host), .. } => host.clone(),
            HostAddress::Tcp { hostaddr, .. } => {
                hostaddr.map(|address| address.to_string()).unwrap_or_default()
            }
        }
    }

    /// The host field of a password file: `localhost` stands for the default socket directory too, written exactly so.
    pub(super) fn passfile_name(&self, default_socket: &Path) -> String {
        match &self.address {
            HostAddress::Unix(directory) if directory.as_os_str() == default_socket.as_os_str() => {
                String::from("localhost")
            }
            _ => self.display_name(),
        }
    }
}

/// Builds the list from the three comma-separated values, empty meaning absent (`pqConnectOptions2`).
pub(super) fn parse(
    host: &str,
    hostaddr: &str,
    port: &str,
    default_socket: &Path,
) -> Result<Vec<Host>, ConnInfoError> {
    let names: Vec<&str> = if host.is_empty() { Vec::new() } else { host.split(',').collect() };
    let addresses: Vec<&str> = if hostaddr.is_empty() { Vec::new() } else { hostaddr.split(',').collect() };
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err(ConnInfoError::HostCount { hosts: names.len(), addresses: addresses.len() });
    }
    let count = names.len().max(addresses.len()).max(1);
    let ports: Vec<&str> = if port.is_empty() { Vec::new() } else { port.split(',').collect() };
    if ports.len() > 1 && ports.len() != count {
        return Err(ConnInfoError::PortCount { ports: ports.len(), hosts: count });
    }
    (0..count)
        .map(|index| {
            let nth = |list: &[&str]| list.get(index).copied().unwrap_or_default().to_owned();
            let port = if ports.len() == 1 { port.to_owned() } else { nth(&ports) };
            Ok(Host {
                address: parse_address(&nth(&names), &nth(&addresses), default_socket)?,
                port: parse_port(&port)?,
            })
        })
        .collect()
}

fn parse_address(name: &str, address: &str, default_socket: &Path) -> Result<HostAddress, ConnInfoError> {
    let host = (!name.is_empty()).then(|| name.to_owned());
    if !address.is_empty() {
        let parsed =
            address.parse().map_err(|_| ConnInfoError::InvalidAddress { value: address.to_owned() })?;
        return Ok(HostAddress::Tcp { host, hostaddr: Some(parsed) });
    }
    Ok(match host {
        None => HostAddress::Unix(default_socket.to_owned()),
        Some(path) if path.starts_with(['/', '@']) => HostAddress::Unix(PathBuf::from(path)),
        host => HostAddress::Tcp { host, hostaddr: None },
    })
}

fn parse_port(text: &str) -> Result<u16, ConnInfoError> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    let number = super::options::parse_integer("port", text)?;
    u16::try_from(number)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| ConnInfoError::InvalidPort { value: text.to_owned() })
}
