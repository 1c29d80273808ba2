//! Physical replication slots.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use walfile::{Lsn, Timeline};

use super::identify::field;
use crate::{Connection, Mode, QueryError, ServerVersion, quote};

/// The name of a replication slot: 1 to 63 lower-case letters, digits and underscores.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SlotName(String);

/// A text that cannot name a replication slot.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "'{name}' is not a replication slot name: expected 1 to 63 lower-case letters, digits and underscores"
)]
#[non_exhaustive]
pub struct SlotNameError {
    /// What was given, shortened to 100 characters.
    pub name: String,
}

impl SlotName {
    /// Checks a name by the rules of `ReplicationSlotValidateName`.
    ///
    /// # Errors
    /// When the server would refuse it.
    pub fn new(name: &str) -> Result<Self, SlotNameError> {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if plain && (1..=63).contains(&name.len()) {
            Ok(Self(name.to_owned()))
        } else {
            Err(SlotNameError { name: name.chars().take(100).collect() })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SlotName {
    type Err = SlotNameError;

    fn from_str(name: &str) -> Result<Self, SlotNameError> {
        Self::new(name)
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How to create a slot.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CreateSlot {
    /// Drop it at the end of the session.
    pub temporary: bool,
    /// Keep WAL from now on, not only from the first START_REPLICATION.
    pub reserve_wal: bool,
}

impl CreateSlot {
    /// A slot that goes away with the session.
    #[must_use]
    pub const fn with_temporary(mut self, temporary: bool) -> Self {
        self.temporary = temporary;
        self
    }

    /// Whether WAL is kept from now on.
    #[must_use]
    pub const fn with_reserve_wal(mut self, reserve_wal: bool) -> Self {
        self.reserve_wal = reserve_wal;
        self
    }
}

/// A slot as the server describes it. What an older server does not tell is `None`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SlotState {
    /// Where WAL is kept from; `None` when nothing was reserved yet.
    pub restart_lsn: Option<Lsn>,
    /// The timeline of that position.
    pub restart_timeline: Option<Timeline>,
    /// Whether somebody uses it (only SQL tells).
    pub active: Option<bool>,
    /// `reserved`, `extended`, `unreserved` or `lost` (13+, only SQL tells).
    pub wal_status: Option<String>,
}

impl Connection {
    /// Creates a physical slot.
    ///
    /// # Errors
    /// `42710` when it exists.
    pub fn create_physical_slot(&mut self, name: &SlotName, options: &CreateSlot) -> Result<(), QueryError> {
        let temporary = if options.temporary { " TEMPORARY" } else { "" };
        let reserve = match (options.reserve_wal, self.server_version() >= ServerVersion::V15) {
            (false, _) => "",
            (true, true) => " (RESERVE_WAL true)",
            (true, false) => " RESERVE_WAL",
        };
        let name = quote::identifier(name.as_str());
        self.query(&format!("CREATE_REPLICATION_SLOT {name}{temporary} PHYSICAL{reserve}"))?;
        Ok(())
    }

    /// Drops a slot.
    ///
    /// # Errors
    /// `42704` when there is none, `55006` when it is active.
    pub fn drop_slot(&mut self, name: &SlotName) -> Result<(), QueryError> {
        self.query(&format!("DROP_REPLICATION_SLOT {}", quote::identifier(name.as_str())))?;
        Ok(())
    }

    /// What the server knows about a physical slot, `None` if there is none.
    ///
    /// On an SQL connection it reads `pg_replication_slots`; on a replication connection it is
    /// READ_REPLICATION_SLOT, which needs version 15 and does not tell whether the slot is active.
    ///
    /// # Errors
    /// [`QueryError::Version`] on a replication connection to an older server.
    pub fn read_slot(&mut self, name: &SlotName) -> Result<Option<SlotState>, QueryError> {
        match self.mode() {
            Mode::Sql => self.read_slot_by_sql(name),
            Mode::PhysicalReplication => self.read_slot_by_command(name),
        }
    }

    fn read_slot_by_command(&mut self, name: &SlotName) -> Result<Option<SlotState>, QueryError> {
        const COMMAND: &str = "READ_REPLICATION_SLOT";
        if self.server_version() < ServerVersion::V15 {
            let found = self.server_version();
            return Err(QueryError::Version { command: COMMAND, needs: "15 or later", found });
        }
        let rows = self.query(&format!("{COMMAND} {}", quote::identifier(name.as_str())))?;
        if rows.get(0, "slot_type").is_none() {
            return Ok(None);
        }
        let mut state = SlotState::default();
        if rows.get(0, "restart_lsn").is_some() {
            state.restart_lsn = Some(field(&rows, COMMAND, "restart_lsn")?);
        }
        if rows.get(0, "restart_tli").is_some() {
            state.restart_timeline = Some(field(&rows, COMMAND, "restart_tli")?);
        }
        Ok(Some(state))
    }

    fn read_slot_by_sql(&mut self, name: &SlotName) -> Result<Option<SlotState>, QueryError> {
        const COMMAND: &str = "pg_replication_slots";
        let status = if self.server_version().major() >= 13 { "wal_status" } else { "NULL AS wal_status" };
        let rows = self.query(&format!(
            "SELECT restart_lsn, active, {status} FROM pg_catalog.pg_replication_slots \
             WHERE slot_type = 'physical' AND slot_name = {}",
            quote::literal(name.as_str())
        ))?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut state = SlotState {
            active: rows.get(0, "active").map(|active| active == "t"),
            wal_status: rows.get(0, "wal_status").map(str::to_owned),
            ..SlotState::default()
        };
        if rows.get(0, "restart_lsn").is_some() {
            state.restart_lsn = Some(field(&rows, COMMAND, "restart_lsn")?);
        }
        Ok(Some(state))
    }
}

#[cfg(test)]
mod tests {
    use super::SlotName;

    #[test]
    fn names() {
        assert!(SlotName::new("barman_1").is_ok());
        assert!(SlotName::new(&"a".repeat(63)).is_ok());
        for bad in ["", "A", "a-b", "a b", "a\"", &"a".repeat(64), "\u{e4}"] {
            assert!(SlotName::new(bad).is_err(), "{bad}");
        }
    }
}
