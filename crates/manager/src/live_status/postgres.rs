//! What the server tells about itself, over each of the two connections.

use std::collections::BTreeMap;

use tapster_protocol::{Connection, QueryError, ServerVersion};
use walfile::{Lsn, SegmentName, SegmentSize, Timeline};

use super::WalShipping;
use crate::receive_wal::standby_names;
use crate::remote::{Remote, SlotStatus};
use crate::{Context, Server};

/// What the normal connection tells.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PostgresStatus {
    /// Why nobody answered; all that follows is empty then.
    pub connection_error: Option<String>,
    /// `server_version_num`.
    pub version: Option<ServerVersion>,
    /// The version as `version()` names it, such as `15.20`.
    pub version_text: Option<String>,
    /// Settings by name, as SHOW gives them; those that the role may not see are missing.
    pub settings: BTreeMap<String, String>,
    /// `archive_timeout`, in seconds.
    pub archive_timeout: Option<i64>,
    /// `checkpoint_timeout`, in seconds.
    pub checkpoint_timeout: Option<i64>,
    /// The size of a WAL segment.
    pub segment_size: Option<SegmentSize>,
    /// Whether the role is a superuser.
    pub is_superuser: Option<bool>,
    /// Whether the role may take backups.
    pub has_backup_privileges: Option<bool>,
    /// Whether the role may read statistics and settings.
    pub has_monitoring_privileges: Option<bool>,
    /// Whether the server is a standby.
    pub in_recovery: Option<bool>,
    /// Where a primary writes, or a standby has replayed to.
    pub position: Option<Lsn>,
    /// The segment a primary writes to; the one that ends there, where a segment ends at [`Self::position`].
    pub segment: Option<SegmentName>,
    /// Bytes of all tablespaces; only asked by a role with backup privileges.
    pub size: Option<u64>,
    /// Configuration files besides the main one that set something.
    pub included_files: Vec<String>,
    /// The slot of the configuration and its name; `None` when the server has none of that name.
    pub slot: Option<(String, SlotStatus)>,
    /// The names in `synchronous_standby_names`; one empty one when there are none, as Barman has it.
    pub synchronous_standby_names: Option<Vec<String>>,
    /// The system identifier.
    pub system_id: Option<String>,
}

/// What the replication connection tells.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StreamingStatus {
    /// Why nobody answered.
    pub connection_error: Option<String>,
    /// `server_version_num`.
    pub version: Option<ServerVersion>,
    /// Whether it is a replication connection; unknown when nobody answered.
    pub streaming: Option<bool>,
    /// The system identifier.
    pub system_id: Option<String>,
    /// The server's timeline.
    pub timeline: Option<Timeline>,
    /// The end of its WAL.
    pub position: Option<Lsn>,
}

/// The settings that are shown.
const SETTINGS: &str = "SELECT name, setting, current_setting(name) AS shown FROM pg_settings WHERE name IN \
    ('archive_timeout', 'checkpoint_timeout', 'config_file', 'data_checksums', 'data_directory', 'hba_file', 'hot_standby', \
    'ident_file', 'max_replication_slots', 'max_wal_senders', 'synchronous_standby_names', 'wal_compression', \
    'wal_keep_segments', 'wal_keep_size', 'wal_level')";

impl Server {
    pub(super) fn ask_normally(&self, context: &Context<'_>) -> (PostgresStatus, WalShipping) {
        match self.connect(context.stop.clone()) {
            Ok(mut connection) => {
                let status = self.describe(&mut connection);
                (status, WalShipping::ask(&mut connection))
            }
            Err(error) => {
                let status =
                    PostgresStatus { connection_error: Some(error.to_string()), ..PostgresStatus::default() };
                (status, WalShipping::default())
            }
        }
    }

    fn describe(&self, connection: &mut Connection) -> PostgresStatus {
        let mut status =
            PostgresStatus { version: Some(connection.server_version()), ..PostgresStatus::default() };
        // Each question on its own: what the role may not ask does not hide the rest.
        let _ = status.read_settings(connection);
        status.segment_size = connection.wal_segment_size().ok();
        status.version_text = one(connection, "SELECT split_part(version(), ' ', 2)");
        status.is_superuser = one(connection, "SELECT usesuper FROM pg_user WHERE usename = CURRENT_USER")
            .map(|text| text == "t");
        let _ = status.read_position(connection);
        let mut remote = Remote::new(connection);
        status.has_backup_privileges = remote.has_backup_privileges().ok();
        status.has_monitoring_privileges = remote.has_monitoring_privileges().ok();
        if status.has_backup_privileges == Some(true) {
            status.size = remote.cluster_size().ok().flatten();
        }
        status.included_files = remote.included_files().unwrap_or_default();
        if let Some(slot) = &self.config.slot_name {
            status.slot = remote.slot(slot).ok().flatten().map(|status| (slot.clone(), status));
        }
        status.system_id = remote.system_id().ok().flatten();
        status
    }

    pub(super) fn ask_streaming(&self, context: &Context<'_>) -> StreamingStatus {
        let connection = self.connect_streaming(&self.config.streaming_backup_name, context.stop.clone());
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                return StreamingStatus {
                    connection_error: Some(error.to_string()),
                    ..StreamingStatus::default()
                };
            }
        };
        let mut status =
            StreamingStatus { version: Some(connection.server_version()), ..StreamingStatus::default() };
        match connection.identify_system() {
            Ok(identity) => {
                status.streaming = Some(true);
                status.system_id = Some(identity.system_id.to_string());
                status.timeline = Some(identity.timeline);
                status.position = Some(identity.position);
            }
            // A pooler, say, that does not know the command.
            Err(_) => status.streaming = Some(false),
        }
        status
    }
}

/// The first value of the answer.
fn one(connection: &mut Connection, query: &str) -> Option<String> {
    connection.query(query).ok()?.value(0, 0).map(str::to_owned)
}

impl PostgresStatus {
    fn read_settings(&mut self, connection: &mut Connection) -> Result<(), QueryError> {
        let rows = connection.query(SETTINGS)?;
        for row in 0..rows.len() {
            let (Some(name), Some(setting), Some(shown)) =
                (rows.get(row, "name"), rows.get(row, "setting"), rows.get(row, "shown"))
            else {
                continue;
            };
            match name {
                "archive_timeout" => self.archive_timeout = setting.parse().ok(),
                "checkpoint_timeout" => self.checkpoint_timeout = setting.parse().ok(),
                "synchronous_standby_names" => {
                    self.synchronous_standby_names = Some(standby_names(shown));
                }
                name => {
                    self.settings.insert(name.to_owned(), shown.to_owned());
                }
            }
        }
        Ok(())
    }

    fn read_position(&mut self, connection: &mut Connection) -> Result<(), QueryError> {
        let rows = connection.query(
            "SELECT pg_is_in_recovery() AS standby, CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
             ELSE pg_current_wal_lsn() END AS position",
        )?;
        let standby = rows.get(0, "standby") == Some("t");
        self.in_recovery = Some(standby);
        self.position = rows.get(0, "position").and_then(|text| text.parse().ok());
        if standby {
            return Ok(());
        }
        let timeline = Remote::new(connection).timeline()?;
        if let (Some(timeline), Some(end), Some(size)) = (timeline, self.position, self.segment_size) {
            // PostgreSQL before 17 names the segment that ends there, and Barman does so with each.
            self.segment = SegmentName::ending_at(timeline, end, size);
        }
        Ok(())
    }

    /// Whether `synchronous_standby_names` names this one.
    pub(super) fn names_standby(&self, application: &str) -> Option<bool> {
        let names = self.synchronous_standby_names.as_ref()?;
        Some(names.iter().any(|name| name == "*" || name.eq_ignore_ascii_case(application)))
    }
}
