//! The words that connection options take, as types.

use super::ConnInfoError;

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident, $keyword:literal { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// The word of the connection string.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            pub(super) fn from_value(value: &str) -> Result<Self, ConnInfoError> {
                match value {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(ConnInfoError::InvalidValue { keyword: $keyword, value: value.to_owned() }),
                }
            }
        }
    };
}

choice! {
    /// `sslmode`, from the weakest to the strictest.
    SslMode, "sslmode" {
        /// Never TLS.
        Disable = "disable",
        /// Plain first, TLS if the server insists.
        Allow = "allow",
        /// TLS if the server has it, else plain.
        #[default]
        Prefer = "prefer",
        /// TLS or nothing; the certificate is checked only if a root certificate file exists.
        Require = "require",
        /// TLS, and the certificate's chain must lead to a trusted root.
        VerifyCa = "verify-ca",
        /// As `verify-ca`, and the certificate must be for the host.
        VerifyFull = "verify-full",
    }
}

choice! {
    /// `sslnegotiation` (PostgreSQL 17).
    SslNegotiation, "sslnegotiation" {
        /// `SSLRequest`, one byte of answer, then TLS.
        #[default]
        Postgres = "postgres",
        /// TLS from the first byte, with ALPN `postgresql`.
        Direct = "direct",
    }
}

choice! {
    /// `channel_binding`.
    ChannelBinding, "channel_binding" {
        /// Never bind SCRAM to the TLS channel.
        Disable = "disable",
        /// Bind when server and certificate allow it.
        #[default]
        Prefer = "prefer",
        /// No authentication without binding.
        Require = "require",
    }
}

choice! {
    /// `sslcertmode` (PostgreSQL 16).
    SslCertMode, "sslcertmode" {
        /// Never send a client certificate.
        Disable = "disable",
        /// Send one if the server asks and a file is there.
        #[default]
        Allow = "allow",
        /// The server must ask for one.
        Require = "require",
    }
}

choice! {
    /// `target_session_attrs`: which server of several is wanted.
    TargetSessionAttrs, "target_session_attrs" {
        /// Any server that lets us in.
        #[default]
        Any = "any",
        /// A session that can write.
        ReadWrite = "read-write",
        /// A session that cannot write.
        ReadOnly = "read-only",
        /// A server that is not in recovery.
        Primary = "primary",
        /// A server in recovery.
        Standby = "standby",
        /// A server in recovery; failing that, any.
        PreferStandby = "prefer-standby",
    }
}

choice! {
    /// `load_balance_hosts` (PostgreSQL 16).
    LoadBalanceHosts, "load_balance_hosts" {
        /// Hosts are tried in the order given.
        #[default]
        Disable = "disable",
        /// Hosts are tried in random order.
        Random = "random",
    }
}

choice! {
    /// `gssencmode`; GSS encryption itself is not supported, so `require` is refused.
    GssEncMode, "gssencmode" {
        /// Never.
        Disable = "disable",
        /// If possible (here: never).
        #[default]
        Prefer = "prefer",
        /// Refused when options are resolved.
        Require = "require",
    }
}

/// A TLS protocol version of `ssl_min_protocol_version` and `ssl_max_protocol_version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.0; known to libpq, never spoken here.
    V1_0,
    /// TLS 1.1; known to libpq, never spoken here.
    V1_1,
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersion {
    pub(super) fn from_value(keyword: &'static str, value: &str) -> Result<Self, ConnInfoError> {
        // libpq compares these, and only these, without regard to case.
        match value.to_ascii_lowercase().as_str() {
            "tlsv1" => Ok(Self::V1_0),
            "tlsv1.1" => Ok(Self::V1_1),
            "tlsv1.2" => Ok(Self::V1_2),
            "tlsv1.3" => Ok(Self::V1_3),
            _ => Err(ConnInfoError::InvalidValue { keyword, value: value.to_owned() }),
        }
    }
}

/// TCP keepalive settings. `None` leaves the system's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalives {
    /// `keepalives`, on unless 0.
    pub enabled: bool,
    /// `keepalives_idle`, seconds before the first probe.
    pub idle: Option<u32>,
    /// `keepalives_interval`, seconds between probes.
    pub interval: Option<u32>,
    /// `keepalives_count`, lost probes before the connection is dead.
    pub count: Option<u32>,
}
