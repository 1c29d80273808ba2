//! What the PostgreSQL server says about itself, in the queries Barman 3.19 uses.

use tapster_catalog::TablespaceInfo;
use tapster_protocol::{Connection, QueryError, Rows, quote};
use walfile::{Lsn, SegmentSize};

/// The state of a physical replication slot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SlotStatus {
    /// Somebody streams from it.
    pub active: bool,
    /// The oldest WAL it keeps; unset until the first connection when it was made without `RESERVE_WAL`.
    pub restart_lsn: Option<Lsn>,
    /// `lost` when the server had to remove WAL the slot was meant to keep; PostgreSQL 13 and later.
    pub wal_status: Option<String>,
}

impl SlotStatus {
    /// Whether the server had to remove WAL that the slot was to keep.
    pub fn is_lost(&self) -> bool {
        self.wal_status.as_deref() == Some("lost")
    }
}

/// How far a slot has fallen behind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SlotLag {
    /// Bytes between what it needs and where the server is; unknown when it keeps nothing.
    pub lag: Option<u64>,
    /// `reserved`, `extended`, `unreserved` or `lost`; PostgreSQL 13 and later.
    pub wal_status: Option<String>,
    /// Bytes that can be written before it is in danger; none where nothing limits what slots keep (`max_slot_wal_keep_size`).
    pub safe_wal_size: Option<u64>,
}

/// `pg_stat_archiver`, as far as it tells whether archiving works.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ArchiverStatus {
    /// Whether the last success is newer than the last failure; unknown before the first of either.
    pub is_archiving: Option<bool>,
}

/// Queries about the server, on a normal (not replication) connection.
#[derive(Debug)]
pub struct Remote<'c> {
    connection: &'c mut Connection,
}

fn first<'r>(rows: &'r Rows, column: &str) -> Option<&'r str> {
    rows.get(0, column)
}

fn flag(rows: &Rows, column: &str) -> bool {
    first(rows, column) == Some("t")
}

impl<'c> Remote<'c> {
    /// Asks over `connection`.
    pub fn new(connection: &'c mut Connection) -> Self {
        Self { connection }
    }

    fn major(&self) -> u32 {
        self.connection.server_version().major()
    }

    /// Whether the server is a standby.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn in_recovery(&mut self) -> Result<bool, QueryError> {
        Ok(flag(&self.connection.query("SELECT pg_is_in_recovery() AS r")?, "r"))
    }

    /// Whether the role may take backups: superuser, or the monitoring roles and the backup functions.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn has_backup_privileges(&mut self) -> Result<bool, QueryError> {
        let (start, stop) = if self.major() >= 15 {
            ("pg_backup_start(text,bool)", "pg_backup_stop(bool)")
        } else {
            ("pg_start_backup(text,bool,bool)", "pg_stop_backup(bool,bool)")
        };
        let sql = format!(
            "SELECT usesuper OR ((pg_has_role(CURRENT_USER, 'pg_monitor', 'MEMBER') OR \
             (pg_has_role(CURRENT_USER, 'pg_read_all_settings', 'MEMBER') AND \
             pg_has_role(CURRENT_USER, 'pg_read_all_stats', 'MEMBER'))) AND \
             has_function_privilege(CURRENT_USER, '{start}', 'EXECUTE') AND \
             has_function_privilege(CURRENT_USER, '{stop}', 'EXECUTE') AND \
             has_function_privilege(CURRENT_USER, 'pg_switch_wal()', 'EXECUTE') AND \
             has_function_privilege(CURRENT_USER, 'pg_create_restore_point(text)', 'EXECUTE')) AS r \
             FROM pg_user WHERE usename = CURRENT_USER"
        );
        Ok(flag(&self.connection.query(&sql)?, "r"))
    }

    /// Whether the role may read server statistics and settings.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn has_monitoring_privileges(&mut self) -> Result<bool, QueryError> {
        let rows = self.connection.query(
            "SELECT usesuper OR pg_has_role(CURRENT_USER, 'pg_monitor', 'MEMBER') OR \
             (pg_has_role(CURRENT_USER, 'pg_read_all_settings', 'MEMBER') AND \
             pg_has_role(CURRENT_USER, 'pg_read_all_stats', 'MEMBER')) AS r FROM pg_user WHERE usename = CURRENT_USER",
        )?;
        Ok(flag(&rows, "r"))
    }

    /// `SHOW name`.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn show(&mut self, name: &str) -> Result<String, QueryError> {
        self.connection.show(name)
    }

    /// The cluster's system identifier as text.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn system_id(&mut self) -> Result<Option<String>, QueryError> {
        let rows = self.connection.query("SELECT system_identifier::text AS r FROM pg_control_system()")?;
        Ok(first(&rows, "r").map(str::to_owned))
    }

    /// The insert position of a primary, the replay position of a standby.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn current_lsn(&mut self) -> Result<Option<Lsn>, QueryError> {
        let rows = self.connection.query(
            "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END AS r",
        )?;
        Ok(first(&rows, "r").and_then(|text| text.parse().ok()))
    }

    /// Size of a WAL segment.
    ///
    /// # Errors
    /// As [`Connection::wal_segment_size`].
    pub fn segment_size(&mut self) -> Result<SegmentSize, QueryError> {
        self.connection.wal_segment_size()
    }

    /// Pages in one file of a relation; `None` where pages are not of the usual 8 KiB.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn segment_blocks(&mut self) -> Result<Option<u32>, QueryError> {
        let rows = self.connection.query(
            "SELECT setting AS r FROM pg_settings \
             WHERE name = 'segment_size' AND current_setting('block_size') = '8192'",
        )?;
        Ok(first(&rows, "r").and_then(|setting| setting.parse().ok()))
    }

    /// Tablespaces outside the data directory.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn tablespaces(&mut self) -> Result<Vec<TablespaceInfo>, QueryError> {
        let rows = self.connection.query(
            "SELECT spcname, oid, pg_tablespace_location(oid) AS location FROM pg_tablespace \
             WHERE pg_tablespace_location(oid) != '' ORDER BY oid",
        )?;
        Ok((0..rows.len())
            .filter_map(|row| {
                Some(TablespaceInfo {
                    name: rows.get(row, "spcname")?.to_owned(),
                    oid: rows.get(row, "oid")?.parse().ok()?,
                    location: rows.get(row, "location")?.to_owned(),
                })
            })
            .collect())
    }

    /// Bytes in all tablespaces.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn cluster_size(&mut self) -> Result<Option<u64>, QueryError> {
        let rows =
            self.connection.query("SELECT sum(pg_tablespace_size(oid))::text AS r FROM pg_tablespace")?;
        Ok(first(&rows, "r").and_then(|text| text.parse().ok()))
    }

    /// `config_file`, `hba_file`, `ident_file`, `data_directory`: name and value of each the role may see.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn files(&mut self) -> Result<Vec<(String, String)>, QueryError> {
        let rows = self.connection.query(
            "SELECT name, setting FROM pg_settings \
             WHERE name IN ('config_file', 'hba_file', 'ident_file', 'data_directory')",
        )?;
        Ok((0..rows.len())
            .filter_map(|row| Some((rows.get(row, "name")?.to_owned(), rows.get(row, "setting")?.to_owned())))
            .collect())
    }

    /// Configuration files besides the main one that set something.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn included_files(&mut self) -> Result<Vec<String>, QueryError> {
        let rows = self.connection.query(
            "SELECT DISTINCT sourcefile FROM pg_settings WHERE sourcefile IS NOT NULL AND sourcefile NOT IN \
             (SELECT setting FROM pg_settings WHERE name = 'config_file') ORDER BY sourcefile",
        )?;
        Ok((0..rows.len()).filter_map(|row| rows.get(row, "sourcefile").map(str::to_owned)).collect())
    }

    /// The server's time in its session time zone, such as `2026-11-21 00:05:42.175249+00`.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn now(&mut self) -> Result<Option<String>, QueryError> {
        let rows = self.connection.query("SELECT clock_timestamp()::text AS r")?;
        Ok(first(&rows, "r").map(str::to_owned))
    }

    /// The state of a physical slot, or `None` when there is none of this name.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn slot(&mut self, name: &str) -> Result<Option<SlotStatus>, QueryError> {
        let wal_status = if self.major() >= 13 { "wal_status" } else { "NULL" };
        let rows = self.connection.query(&format!(
            "SELECT active, restart_lsn, {wal_status} AS wal_status FROM pg_replication_slots \
             WHERE slot_type = 'physical' AND slot_name = {}",
            quote::literal(name)
        ))?;
        Ok((!rows.is_empty()).then(|| SlotStatus {
            active: flag(&rows, "active"),
            restart_lsn: first(&rows, "restart_lsn").and_then(|text| text.parse().ok()),
            wal_status: first(&rows, "wal_status").map(str::to_owned),
        }))
    }

    /// How far a physical slot has fallen behind, or `None` when there is none of this name.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn slot_lag(&mut self, name: &str) -> Result<Option<SlotLag>, QueryError> {
        let columns = if self.major() >= 13 {
            "wal_status, CASE WHEN safe_wal_size < 0 THEN 0 ELSE safe_wal_size END AS safe"
        } else {
            "NULL AS wal_status, NULL AS safe"
        };
        let rows = self.connection.query(&format!(
            "SELECT {columns}, greatest(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() \
             ELSE pg_current_wal_lsn() END, restart_lsn), CASE WHEN restart_lsn IS NULL THEN NULL ELSE 0 END) AS lag \
             FROM pg_replication_slots WHERE slot_type = 'physical' AND slot_name = {}",
            quote::literal(name)
        ))?;
        let number = |column: &str| first(&rows, column).and_then(|text| text.parse().ok());
        Ok((!rows.is_empty()).then(|| SlotLag {
            lag: number("lag"),
            wal_status: first(&rows, "wal_status").map(str::to_owned),
            safe_wal_size: number("safe"),
        }))
    }

    /// Whether WAL archiving succeeds; `None` when nothing was ever tried.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn archiver(&mut self) -> Result<ArchiverStatus, QueryError> {
        let rows = self.connection.query(
            "SELECT CASE WHEN last_failed_time IS NULL AND last_archived_time IS NULL THEN NULL \
             WHEN current_setting('archive_mode') NOT IN ('on', 'always') THEN false \
             WHEN last_failed_wal IS NULL THEN true \
             WHEN last_archived_time IS NULL THEN false \
             WHEN last_failed_wal LIKE '%.history' AND substring(last_failed_wal FROM 1 FOR 8) <= \
                  substring(last_archived_wal FROM 1 FOR 8) THEN true \
             ELSE last_failed_time < last_archived_time END AS r FROM pg_stat_archiver",
        )?;
        Ok(ArchiverStatus { is_archiving: first(&rows, "r").map(|text| text == "t") })
    }

    /// Ends the current segment; returns the last position written to it (the end of the switch record) on a primary.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn switch_wal(&mut self) -> Result<Option<Lsn>, QueryError> {
        let rows = self.connection.query("SELECT pg_switch_wal()::text AS r")?;
        Ok(first(&rows, "r").and_then(|text| text.parse().ok()))
    }

    /// The timeline a primary writes to.
    ///
    /// # Errors
    /// As [`Connection::query`]; fails on a standby.
    pub fn timeline(&mut self) -> Result<Option<walfile::Timeline>, QueryError> {
        let rows =
            self.connection.query("SELECT substring(pg_walfile_name(pg_current_wal_lsn()) FOR 8) AS r")?;
        Ok(first(&rows, "r").and_then(|text| walfile::Timeline::from_hex(text).ok()))
    }

    /// Timeline of the last checkpoint.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn checkpoint_timeline(&mut self) -> Result<Option<walfile::Timeline>, QueryError> {
        let rows = self.connection.query("SELECT timeline_id::text AS r FROM pg_control_checkpoint()")?;
        Ok(first(&rows, "r").and_then(|text| text.parse().ok()))
    }

    /// A checkpoint, so that the next switch has something to switch after.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn checkpoint(&mut self) -> Result<(), QueryError> {
        self.connection.query("CHECKPOINT").map(|_| ())
    }

    /// A named restore point, so that the end of a backup can be a recovery target.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub fn create_restore_point(&mut self, name: &str) -> Result<(), QueryError> {
        self.connection
            .query(&format!("SELECT pg_create_restore_point({})", quote::literal(name)))
            .map(|_| ())
    }
}
