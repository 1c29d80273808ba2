//! IDENTIFY_SYSTEM and SHOW.

use walfile::{Lsn, SegmentSize, Timeline};

use crate::proto::Rows;
use crate::{Connection, QueryError, SystemId};

/// What IDENTIFY_SYSTEM tells.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct SystemIdentity {
    /// The cluster.
    pub system_id: SystemId,
    /// The server's current timeline.
    pub timeline: Timeline,
    /// The end of WAL: flushed on a primary, replayed or received on a standby.
    pub position: Lsn,
    /// The database, on a logical replication connection.
    pub database: Option<String>,
}

impl Connection {
    /// IDENTIFY_SYSTEM.
    ///
    /// # Errors
    /// When the connection is none for replication, or the answer is not as documented.
    pub fn identify_system(&mut self) -> Result<SystemIdentity, QueryError> {
        const COMMAND: &str = "IDENTIFY_SYSTEM";
        let rows = self.query(COMMAND)?;
        let system_id = field(&rows, COMMAND, "systemid")?;
        let timeline = field(&rows, COMMAND, "timeline")?;
        let position = field(&rows, COMMAND, "xlogpos")?;
        Ok(SystemIdentity {
            system_id,
            timeline,
            position,
            database: rows.get(0, "dbname").map(str::to_owned),
        })
    }

    /// The value of a server setting, with its unit, as SHOW gives it.
    ///
    /// # Errors
    /// When there is no such setting, or we may not see it.
    pub fn show(&mut self, setting: &str) -> Result<String, QueryError> {
        // The replication grammar has its own SHOW, which takes identifiers joined by dots, unquoted.
        let plain = setting.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
        if setting.is_empty() || !plain {
            return Err(QueryError::answer("SHOW", format!("{setting:?} is not the name of a setting")));
        }
        let rows = self.query(&format!("SHOW {setting}"))?;
        match rows.value(0, 0) {
            Some(value) => Ok(value.to_owned()),
            None => Err(QueryError::answer("SHOW", "no row")),
        }
    }

    /// The size of WAL segments of the server.
    ///
    /// # Errors
    /// As [`Connection::show`], or when the size is none that PostgreSQL allows.
    pub fn wal_segment_size(&mut self) -> Result<SegmentSize, QueryError> {
        let text = self.show("wal_segment_size")?;
        parse_size(&text)
            .and_then(|bytes| SegmentSize::new(bytes).ok())
            .ok_or_else(|| QueryError::answer("SHOW wal_segment_size", format!("{text:?}")))
    }
}

/// A field of the first row as a typed value.
pub(super) fn field<T: std::str::FromStr>(
    rows: &Rows,
    command: &'static str,
    column: &'static str,
) -> Result<T, QueryError> {
    let Some(text) = rows.get(0, column) else {
        return Err(QueryError::answer(command, format!("no value for {column}")));
    };
    text.parse().map_err(|_| {
        QueryError::answer(command, format!("{column} is {:?}", text.chars().take(64).collect::<String>()))
    })
}

fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("16MB", 16 << 20), ("1GB", 1 << 30), ("65536kB", 64 << 20), ("1048576", 1 << 20)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "MB", "16 MB", "-1", "99999999999999999999", "18446744073709551615GB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
