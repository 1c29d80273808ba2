//! WAL shipping by `archive_command`: the settings, and `pg_stat_archiver`.

use tapster_catalog::record::parse_time;
use tapster_protocol::{Connection, Rows};
use time::{OffsetDateTime, UtcOffset};

/// The archiver of a server.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct WalShipping {
    /// `archive_mode`; `None` when nobody answered.
    pub mode: Option<String>,
    /// `archive_command`.
    pub command: Option<String>,
    /// What the server has counted.
    pub counters: Option<ArchiverCounters>,
}

/// A row of `pg_stat_archiver`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ArchiverCounters {
    /// Files archived.
    pub archived_count: Option<i64>,
    /// The last one.
    pub last_archived_wal: Option<String>,
    /// When it was archived, in the zone of the session.
    pub last_archived_time: Option<OffsetDateTime>,
    /// Failed attempts.
    pub failed_count: Option<i64>,
    /// The file of the last one.
    pub last_failed_wal: Option<String>,
    /// When that was.
    pub last_failed_time: Option<OffsetDateTime>,
    /// Since when is counted.
    pub stats_reset: Option<OffsetDateTime>,
    /// Whether archiving is on, and nothing failed since something succeeded.
    pub is_archiving: Option<bool>,
    /// Files per second since `stats_reset`, with all the digits that the server gives.
    pub per_second: Option<String>,
}

/// A failed history file is no failure of archiving when a later timeline is archived already.
const COUNTERS: &str = "SELECT archived_count, last_archived_wal, last_archived_time, failed_count, last_failed_wal, \
    last_failed_time, stats_reset, \
    current_setting('archive_mode') IN ('on', 'always') AND (last_failed_wal IS NULL \
    OR last_failed_time <= last_archived_time OR (last_failed_wal LIKE '%.history' \
    AND substr(last_failed_wal, 1, 8) <= substr(last_archived_wal, 1, 8))) AS is_archiving, \
    archived_count::numeric / extract(epoch FROM age(now(), stats_reset)) AS per_second FROM pg_stat_archiver";

impl WalShipping {
    /// Asks over a normal connection.
    pub(super) fn ask(connection: &mut Connection) -> Self {
        Self {
            mode: connection.show("archive_mode").ok(),
            command: connection.show("archive_command").ok(),
            counters: connection.query(COUNTERS).ok().filter(|rows| !rows.is_empty()).map(|r| counters(&r)),
        }
    }
}

fn counters(rows: &Rows) -> ArchiverCounters {
    let text = |column: &str| rows.get(0, column).map(str::to_owned);
    let number = |column: &str| rows.get(0, column).and_then(|text| text.parse().ok());
    let time = |column: &str| rows.get(0, column).and_then(|text| parse_time(text, UtcOffset::UTC));
    ArchiverCounters {
        archived_count: number("archived_count"),
        last_archived_wal: text("last_archived_wal"),
        last_archived_time: time("last_archived_time"),
        failed_count: number("failed_count"),
        last_failed_wal: text("last_failed_wal"),
        last_failed_time: time("last_failed_time"),
        stats_reset: time("stats_reset"),
        is_archiving: rows.get(0, "is_archiving").map(|text| text == "t"),
        per_second: text("per_second"),
    }
}
