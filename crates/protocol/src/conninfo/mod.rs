//! Connection strings, exactly as libpq reads them (`fe-connect.c`).
//!
//! [`ConnInfo`] is what was written: keyword/value pairs or a URI, nothing added. [`ConnectOptions::resolve`] completes
//! it from an [`Environment`] in libpq's order (service file, `PG*` variables, defaults, password file) and checks it.
//! Parsing is pure; the environment of the process is read in [`Environment::from_process`] and nowhere else.

mod env;
mod error;
mod hosts;
mod keyvalue;
mod keyword;
mod options;
mod passfile;
mod password;
mod replication;
mod require_auth;
mod service;
mod settings;
mod ssl;
mod uri;

use std::fmt;

pub use env::Environment;
pub use error::ConnInfoError;
pub use hosts::{Host, HostAddress};
pub use options::ConnectOptions;
pub use passfile::{ConnectWarning, Passfile};
pub use password::Password;
pub use replication::Replication;
pub use require_auth::{AuthMethod, RequireAuth};
pub use settings::{
    ChannelBinding, GssEncMode, Keepalives, LoadBalanceHosts, SslCertMode, SslMode, SslNegotiation,
    TargetSessionAttrs, TlsVersion,
};
pub use ssl::{ClientFile, RootCertificates, SslSettings};

/// What stands for a secret in every text this module prints.
const MASK: &str = "********";

/// A connection string: options and values in the order they were first set.
///
/// `Display` and `Debug` mask secrets; [`ConnInfo::to_conninfo_string`] does not.
///
/// ```
/// use tapster_protocol::ConnInfo;
/// let conninfo = ConnInfo::parse("postgresql://barman:s%20cret@[::1]:5433,pg2/app?application_name=tap")?;
/// assert_eq!(conninfo.get("host"), Some("::1,pg2"));
/// assert_eq!(conninfo.get("password"), Some("s cret"));
/// assert_eq!(conninfo.to_string(), "user=barman password=******** host='::1,pg2' port='5433,' dbname=app application_name=tap");
/// # Ok::<(), tapster_protocol::conninfo::ConnInfoError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ConnInfo {
    values: Vec<(&'static str, String)>,
}

impl ConnInfo {
    /// An empty connection string: everything from the environment and defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses either form: `keyword=value …`, or `postgresql://` and `postgres://` URIs.
    ///
    /// # Errors
    /// What libpq's `PQconninfoParse` refuses, with its words.
    pub fn parse(text: &str) -> Result<Self, ConnInfoError> {
        let mut parsed = Self::new();
        match uri::strip_scheme(text) {
            Some(rest) => uri::parse(&mut parsed, text.len() - rest.len(), rest)?,
            None => keyvalue::parse(&mut parsed, text)?,
        }
        Ok(parsed)
    }

    /// The value of an option, if it was written.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.values.iter().find(|(name, _)| *name == keyword).map(|(_, value)| value.as_str())
    }

    /// Sets an option, replacing what was there.
    ///
    /// # Errors
    /// An option libpq does not know, or a value with a zero byte.
    pub fn set(&mut self, keyword: &str, value: impl Into<String>) -> Result<(), ConnInfoError> {
        let mut value = value.into();
        let mut name = keyword;
        if keyword == "requiressl" {
            // libpq still accepts the word it used before sslmode.
            name = "sslmode";
            value = String::from(if value.starts_with('1') { "require" } else { "prefer" });
        }
        let known = keyword::find(name)
            .ok_or_else(|| ConnInfoError::UnknownKeyword { keyword: keyword.to_owned() })?;
        if value.contains('\0') {
            return Err(ConnInfoError::ZeroByte { keyword: keyword.to_owned() });
        }
        match self.values.iter_mut().find(|(name, _)| *name == known.name) {
            Some((_, old)) => *old = value,
            None => self.values.push((known.name, value)),
        }
        Ok(())
    }

    /// Forgets an option; the environment or the default then applies.
    pub fn remove(&mut self, keyword: &str) {
        self.values.retain(|(name, _)| *name != keyword);
    }

    /// Options and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The keyword/value form **with the password**, quoted so that libpq reads the same values back.
    pub fn to_conninfo_string(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.iter() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(name);
            text.push('=');
            keyvalue::quote_into(&mut text, value);
        }
        text
    }
}

impl fmt::Display for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, value) in self.iter() {
            let mut text = String::new();
            if keyword::is_secret(name) {
                text.push_str(MASK)
            } else {
                keyvalue::quote_into(&mut text, value)
            }
            write!(f, "{}{name}={text}", if first { "" } else { " " })?;
            first = false;
        }
        Ok(())
    }
}

impl fmt::Debug for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnInfo({self})")
    }
}

impl std::str::FromStr for ConnInfo {
    type Err = ConnInfoError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}
