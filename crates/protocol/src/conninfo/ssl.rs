//! The `ssl*` options, checked against each other; the files they name are read when TLS begins.

use std::path::{Path, PathBuf};

use super::options::Values;
use super::{ConnInfoError, Environment, SslCertMode, SslMode, SslNegotiation, TlsVersion};

/// A file of the client's TLS set-up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientFile {
    /// Its path.
    pub path: PathBuf,
    /// Whether an option named it; otherwise it is libpq's default below `~/.postgresql`.
    pub named: bool,
}

/// `sslrootcert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCertificates {
    /// A PEM file. It may be missing unless `sslmode` is one of the `verify-` modes.
    File(ClientFile),
    /// `sslrootcert=system`: what the operating system trusts.
    System,
    /// Neither an option nor a home directory.
    None,
}

/// Everything TLS needs to know from a connection string.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SslSettings {
    /// `sslmode`.
    pub mode: SslMode,
    /// `sslnegotiation`.
    pub negotiation: SslNegotiation,
    /// `sslcertmode`.
    pub certificate_mode: SslCertMode,
    /// `sslrootcert`, by default `~/.postgresql/root.crt`.
    pub root_certificates: RootCertificates,
    /// `sslcert`, by default `~/.postgresql/postgresql.crt`.
    pub certificate: Option<ClientFile>,
    /// `sslkey`, by default `~/.postgresql/postgresql.key`.
    pub key: Option<ClientFile>,
    /// `sslcrl`, by default `~/.postgresql/root.crl` unless `sslcrldir` is given.
    pub revocations: Option<ClientFile>,
    /// `sslcrldir`.
    pub revocation_directory: Option<PathBuf>,
    /// `sslsni`, on unless 0.
    pub server_name_indication: bool,
    /// `ssl_min_protocol_version`, by default TLS 1.2.
    pub minimum_version: Option<TlsVersion>,
    /// `ssl_max_protocol_version`.
    pub maximum_version: Option<TlsVersion>,
}

impl SslSettings {
    pub(super) fn resolve(values: &Values<'_>, environment: &Environment) -> Result<Self, ConnInfoError> {
        let file = |keyword: &str, default: &str| match values.nonempty(keyword) {
            Some(path) => Some(ClientFile { path: PathBuf::from(path), named: true }),
            None => environment
                .home_file(&Path::new(".postgresql").join(default).to_string_lossy())
                .map(|path| ClientFile { path, named: false }),
        };
        let system = values.nonempty("sslrootcert") == Some("system");
        let mode = match values.get("sslmode") {
            Some(value) => SslMode::from_value(value)?,
            // With the whole world's authorities trusted, a certificate proves nothing without the name.
            None if system => SslMode::VerifyFull,
            None => SslMode::default(),
        };
        if system && mode < SslMode::VerifyFull {
            return Err(ConnInfoError::WeakSslMode {
                mode: mode.as_str(),
                with: "sslrootcert=system",
                advice: "\"verify-full\"",
            });
        }
        let negotiation = values.choice("sslnegotiation", SslNegotiation::from_value)?;
        if negotiation == SslNegotiation::Direct && mode < SslMode::Require {
            return Err(ConnInfoError::WeakSslMode {
                mode: mode.as_str(),
                with: "sslnegotiation=direct",
                advice: "\"require\", \"verify-ca\", or \"verify-full\"",
            });
        }
        let version = |keyword| match values.nonempty(keyword) {
            Some(value) => TlsVersion::from_value(keyword, value).map(Some),
            None => Ok(None),
        };
        let minimum_version = match version("ssl_min_protocol_version")? {
            // An empty value means no lower limit, an absent one TLS 1.2; nothing older is spoken here anyway.
            None => Some(TlsVersion::V1_2),
            some => some,
        };
        let maximum_version = version("ssl_max_protocol_version")?;
        if minimum_version.zip(maximum_version).is_some_and(|(minimum, maximum)| minimum > maximum) {
            return Err(ConnInfoError::ProtocolRange);
        }
        let revocation_directory = values.nonempty("sslcrldir").map(PathBuf::from);
        Ok(Self {
            mode,
            negotiation,
            certificate_mode: values.choice("sslcertmode", SslCertMode::from_value)?,
            root_certificates: if system {
                RootCertificates::System
            } else {
                file("sslrootcert", "root.crt").map_or(RootCertificates::None, RootCertificates::File)
            },
            certificate: file("sslcert", "postgresql.crt"),
            key: file("sslkey", "postgresql.key"),
            revocations: file("sslcrl", "root.crl").filter(|crl| crl.named || revocation_directory.is_none()),
            revocation_directory,
            server_name_indication: values
                .get("sslsni")
                .is_none_or(|value| value.is_empty() || value.starts_with('1')),
            minimum_version,
            maximum_version,
        })
    }
}
