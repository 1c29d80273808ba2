//! Who streams from the server: standbys and WAL receivers.

use tapster_catalog::record::parse_time;
use tapster_protocol::{QueryError, Rows};
use thiserror::Error;
use time::{OffsetDateTime, UtcOffset};
use walfile::Lsn;

use crate::server::ServerConnectError;
use crate::{Context, Server};

/// Which clients are wanted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClientKind {
    /// All.
    #[default]
    All,
    /// Those that replay what they receive.
    HotStandby,
    /// Those that only keep it.
    WalStreamer,
}

/// Which server is asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StatusSource {
    /// That of `conninfo`.
    #[default]
    BackupHost,
    /// That of `wal_conninfo`.
    WalHost,
}

/// How far the WAL has come towards a client: the stages Barman counts, from the least safe.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum SyncStage {
    /// Less than everything has been sent.
    OneSafe,
    /// Everything has been sent.
    Sent,
    /// Everything was handed to the client's operating system.
    RemoteWrite,
    /// Everything is on the standby's disk.
    TwoSafe,
    /// Everything has been replayed.
    HotStandby,
}

/// One row of `pg_stat_replication` on a physical connection.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StreamingClient {
    /// Process id of its WAL sender.
    pub pid: u32,
    /// Role.
    pub user_name: String,
    /// `application_name`.
    pub application_name: String,
    /// IP address; unset over a Unix-domain socket.
    pub address: Option<String>,
    /// TCP port of the client; -1 over a Unix-domain socket.
    pub port: Option<i32>,
    /// Its name, when `log_hostname` is on.
    pub host: Option<String>,
    /// When it connected; hidden from roles without `pg_monitor`, as everything below.
    pub started_at: Option<OffsetDateTime>,
    /// `backend_xmin`: the oldest transaction of a standby with `hot_standby_feedback`.
    pub xmin: Option<String>,
    /// Such as `streaming`.
    pub state: Option<String>,
    /// Sent to it.
    pub sent: Option<Lsn>,
    /// Written by it.
    pub written: Option<Lsn>,
    /// Flushed to disk by it.
    pub flushed: Option<Lsn>,
    /// Replayed by it; unset for those that do not replay.
    pub replayed: Option<Lsn>,
    /// `async`, `potential`, `sync` or `quorum`.
    pub sync_state: Option<String>,
    /// Place in `synchronous_standby_names`; 0 when not in it.
    pub sync_priority: u32,
    /// Its slot.
    pub slot: Option<String>,
}

impl StreamingClient {
    /// Whether it replays.
    pub const fn is_standby(&self) -> bool {
        self.replayed.is_some()
    }

    /// How far it has got with everything up to `server`.
    pub fn sync_stage(&self, server: Option<Lsn>) -> SyncStage {
        let there = |lsn: Option<Lsn>| lsn.is_some() && lsn == server;
        if self.is_standby() && there(self.replayed) {
            SyncStage::HotStandby
        } else if self.is_standby() && there(self.flushed) {
            SyncStage::TwoSafe
        } else if there(self.written) {
            SyncStage::RemoteWrite
        } else if there(self.sent) {
            SyncStage::Sent
        } else {
            SyncStage::OneSafe
        }
    }
}

/// What [`Server::replication_status`] found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReplicationStatus {
    /// Server name.
    pub server: String,
    /// Written so far by a primary, replayed so far by a standby.
    pub lsn: Option<Lsn>,
    /// The clients, synchronous ones first.
    pub clients: Vec<StreamingClient>,
}

/// Why the clients are not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplicationStatusError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ServerConnectError),
    /// A query failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The role may not read the statistics of others.
    #[error("privileges of the role pg_monitor are required to see who streams from server '{server}'")]
    Privileges {
        /// Server name.
        server: String,
    },
}

impl Server {
    /// Asks the server who streams from it, as Barman's `replication-status` does. Clients on logical slots are not
    /// counted.
    ///
    /// # Errors
    /// [`ReplicationStatusError`].
    pub fn replication_status(
        &self,
        kind: ClientKind,
        source: StatusSource,
        context: &Context<'_>,
    ) -> Result<ReplicationStatus, ReplicationStatusError> {
        let mut connection = match source {
            StatusSource::BackupHost => self.connect(context.stop.clone())?,
            StatusSource::WalHost => self.connect_wal_host(context.stop.clone())?,
        };
        if !crate::Remote::new(&mut connection).has_monitoring_privileges()? {
            return Err(ReplicationStatusError::Privileges { server: self.name().to_owned() });
        }
        let rows = connection.query(
            "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS r",
        )?;
        let lsn = lsn(&rows, 0, "r");
        let which = match kind {
            ClientKind::All => "",
            ClientKind::HotStandby => " AND replay_lsn IS NOT NULL",
            ClientKind::WalStreamer => " AND replay_lsn IS NULL",
        };
        let rows = connection.query(&format!(
            "SELECT r.pid, usename, application_name, client_addr, client_port, client_hostname, backend_start, \
             backend_xmin, state, sent_lsn, write_lsn, flush_lsn, replay_lsn, sync_state, sync_priority, slot_name \
             FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON r.pid = s.active_pid \
             WHERE (s.slot_type IS NULL OR s.slot_type = 'physical'){which} \
             ORDER BY sync_state DESC, sync_priority"
        ))?;
        let clients = (0..rows.len()).map(|row| client(&rows, row)).collect();
        Ok(ReplicationStatus { server: self.name().to_owned(), lsn, clients })
    }
}

fn lsn(rows: &Rows, row: usize, column: &str) -> Option<Lsn> {
    rows.get(row, column).and_then(|text| text.parse().ok())
}

fn client(rows: &Rows, row: usize) -> StreamingClient {
    let text = |column| rows.get(row, column).map(str::to_owned);
    let number = |column| rows.get(row, column).and_then(|text| text.parse().ok());
    StreamingClient {
        pid: number("pid").unwrap_or_default(),
        user_name: text("usename").unwrap_or_default(),
        application_name: text("application_name").unwrap_or_default(),
        address: text("client_addr"),
        port: rows.get(row, "client_port").and_then(|text| text.parse().ok()),
        host: text("client_hostname"),
        started_at: rows.get(row, "backend_start").and_then(|text| parse_time(text, UtcOffset::UTC)),
        xmin: text("backend_xmin"),
        state: text("state"),
        sent: lsn(rows, row, "sent_lsn"),
        written: lsn(rows, row, "write_lsn"),
        flushed: lsn(rows, row, "flush_lsn"),
        replayed: lsn(rows, row, "replay_lsn"),
        sync_state: text("sync_state"),
        sync_priority: number("sync_priority").unwrap_or_default(),
        slot: text("slot_name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(sent: u64, written: u64, flushed: u64, replayed: Option<u64>) -> StreamingClient {
        StreamingClient {
            pid: 1,
            user_name: String::new(),
            application_name: String::new(),
            address: None,
            port: None,
            host: None,
            started_at: None,
            xmin: None,
            state: None,
            sent: Some(Lsn::new(sent)),
            written: Some(Lsn::new(written)),
            flushed: Some(Lsn::new(flushed)),
            replayed: replayed.map(Lsn::new),
            sync_state: None,
            sync_priority: 0,
            slot: None,
        }
    }

    #[test]
    fn the_stage_is_the_safest_that_holds() {
        let at = Some(Lsn::new(9));
        let stage =
            |sent, written, flushed, replayed| client(sent, written, flushed, replayed).sync_stage(at);
        assert_eq!(stage(9, 9, 9, Some(9)), SyncStage::HotStandby);
        assert_eq!(stage(9, 9, 9, Some(8)), SyncStage::TwoSafe);
        assert_eq!(stage(9, 9, 8, Some(8)), SyncStage::RemoteWrite);
        assert_eq!(stage(9, 8, 8, Some(8)), SyncStage::Sent);
        assert_eq!(stage(8, 8, 8, Some(8)), SyncStage::OneSafe);
        // A receiver that flushed everything replays nothing and gets no further than this.
        assert_eq!(stage(9, 9, 9, None), SyncStage::RemoteWrite);
        assert_eq!(client(9, 9, 9, Some(9)).sync_stage(None), SyncStage::OneSafe);
    }
}
