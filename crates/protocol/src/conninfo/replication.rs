//! The option `replication`.

use super::ConnInfoError;

/// What kind of session the connection string itself asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replication {
    /// An ordinary session.
    #[default]
    Off,
    /// `replication=true`: physical replication, no database.
    Physical,
    /// `replication=database`: a walsender connected to a database.
    Database,
}

impl Replication {
    /// The server's own words for a boolean, and `database` (`ProcessStartupPacket`).
    pub(super) fn from_value(value: &str) -> Result<Self, ConnInfoError> {
        match value.to_ascii_lowercase().as_str() {
            "" | "0" | "false" | "off" | "no" | "f" | "n" => Ok(Self::Off),
            "1" | "true" | "on" | "yes" | "t" | "y" => Ok(Self::Physical),
            "database" => Ok(Self::Database),
            _ => Err(ConnInfoError::InvalidValue { keyword: "replication", value: value.to_owned() }),
        }
    }
}
