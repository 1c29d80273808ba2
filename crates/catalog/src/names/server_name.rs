//! Names of servers.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The name of a server: its section in the configuration, its directory and part of its lock files. It is
/// one path component, so a hostile configuration cannot lead out of `barman_home`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServerName(String);

/// File names take 255 bytes, and `.<name>-<id>-sync-backup.lock` must be one.
const MAX_LEN: usize = 200;

impl ServerName {
    /// Takes any text that can be a directory name. `barman` and `all` are reserved, as in Barman.
    ///
    /// # Errors
    /// When it cannot name a server.
    pub fn new(name: impl Into<String>) -> Result<Self, ServerNameError> {
        let name = name.into();
        let reason = match name.as_str() {
            "" => "it is empty",
            "." | ".." => "it is a directory of its own meaning",
            "barman" | "all" => "it is a reserved word",
            _ if name.len() > MAX_LEN => "it is longer than 200 bytes",
            _ if name.contains('/') => "it contains a slash",
            _ if name.chars().any(char::is_control) => "it contains a control character",
            _ => return Ok(Self(name)),
        };
        Err(ServerNameError { name: name.chars().take(64).collect(), reason })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for ServerName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = ServerNameError;

    fn from_str(name: &str) -> Result<Self, ServerNameError> {
        Self::new(name)
    }
}

impl serde::Serialize for ServerName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A text that cannot name a server.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{name:?} cannot be the name of a server: {reason}")]
#[non_exhaustive]
pub struct ServerNameError {
    /// What was given, shortened to 64 characters.
    pub name: String,
    /// Why not.
    pub reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_path_component() {
        for name in ["", ".", "..", "a/b", "/", "a\0b", "a\nb", "all", "barman", &"x".repeat(201)] {
            assert!(ServerName::new(name).is_err(), "{name:?}");
        }
        for name in ["main", "pg 17", "größe", "a.b-c_d", "Barman"] {
            assert_eq!(ServerName::new(name).unwrap().as_str(), name);
        }
    }
}
