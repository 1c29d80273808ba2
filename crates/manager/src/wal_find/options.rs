//! What is searched for.

use std::str::FromStr;

use thiserror::Error;
use time::OffsetDateTime;
use walfile::Timeline;
use walfile::record::{Oid, RelFile, Xid};

/// Options of [`Server::find_wal`](crate::Server::find_wal).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WalFindOptions {
    /// What.
    pub target: WalTarget,
    /// Only on this timeline.
    pub timeline: Option<Timeline>,
    /// How many segments are read at once when the index is incomplete; one per processor when `None`.
    pub jobs: Option<usize>,
}

impl WalFindOptions {
    /// Everywhere.
    pub const fn new(target: WalTarget) -> Self {
        Self { target, timeline: None, jobs: None }
    }
}

/// What is searched for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WalTarget {
    /// The commits next to a time, by the server's clock.
    Time {
        /// The time.
        time: OffsetDateTime,
        /// How many commits at or before it, and how many after it.
        around: usize,
    },
    /// Where a transaction or subtransaction was prepared, committed or rolled back.
    Xid(Xid),
    /// A restore point.
    RestorePoint(String),
    /// The commits that removed a relation's file: by `DROP`, `TRUNCATE`, or by a rewrite of the relation.
    Removed {
        /// The file.
        file: RelationFile,
        /// Also where the file was cut off in place, as `VACUUM` does.
        cut: bool,
    },
}

/// The file of a relation, as people name it.
///
/// ```
/// use tapster_manager::wal_find::RelationFile;
/// // As `pg_waldump` prints it, as `pg_relation_filepath()` says it, or the number alone.
/// for text in ["1663/5/16384", "base/5/16384", "16384"] {
///     assert_eq!(text.parse::<RelationFile>().unwrap().number, 16384);
/// }
/// assert!("public.orders".parse::<RelationFile>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RelationFile {
    /// The tablespace, when it was given.
    pub tablespace: Option<Oid>,
    /// The database, when it was given.
    pub database: Option<Oid>,
    /// The number of the file.
    pub number: u32,
}

impl RelationFile {
    /// Whether it may be this one; a database that is dropped has file number zero and takes all its files with it.
    pub(super) fn matches(&self, file: &RelFile) -> bool {
        let same = |wanted: Option<Oid>, found: Oid| wanted.is_none_or(|wanted| wanted == found);
        if file.number == 0 {
            // Without its path any file may have been in it.
            return self.database == Some(file.database) && same(self.tablespace, file.tablespace);
        }
        file.number == self.number
            && same(self.tablespace, file.tablespace)
            && same(self.database, file.database)
    }
}

/// A text that names no relation file.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "'{text}' is no relation file: expected TABLESPACE/DATABASE/NUMBER such as 1663/5/16384, what pg_relation_filepath() says \
     such as base/5/16384, or the number alone; names of tables are not in WAL"
)]
#[non_exhaustive]
pub struct ParseRelationError {
    /// What was given, shortened.
    pub text: String,
}

impl FromStr for RelationFile {
    type Err = ParseRelationError;

    fn from_str(text: &str) -> Result<Self, ParseRelationError> {
        let error = || ParseRelationError { text: text.chars().take(80).collect() };
        let number =
            |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        let parts: Vec<&str> = text.split('/').collect();
        let (tablespace, database, file) = match parts[..] {
            [file] => (None, None, number(file)),
            ["base", database, file] => (Some(Some(1663)), Some(number(database)), number(file)),
            ["global", file] => (Some(Some(1664)), Some(Some(0)), number(file)),
            ["pg_tblspc", tablespace, _, database, file] | [tablespace, database, file] => {
                (Some(number(tablespace)), Some(number(database)), number(file))
            }
            _ => return Err(error()),
        };
        let oid =
            |part: Option<Option<u32>>| part.map(|part| part.map(Oid::new).ok_or_else(error)).transpose();
        let file = file.filter(|file| *file != 0).ok_or_else(error)?;
        Ok(Self { tablespace: oid(tablespace)?, database: oid(database)?, number: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_recognised_as_far_as_they_are_named() {
        let file = |text: &str| text.parse::<RelationFile>().unwrap();
        let found = |tablespace, database, number| RelFile {
            tablespace: Oid::new(tablespace),
            database: Oid::new(database),
            number,
        };
        assert!(file("16384").matches(&found(1663, 5, 16384)) && file("16384").matches(&found(9, 6, 16384)));
        assert!(!file("base/5/16384").matches(&found(1663, 6, 16384)));
        assert!(file("pg_tblspc/16400/PG_15_202209061/5/7").matches(&found(16400, 5, 7)));
        assert!(file("global/1262").matches(&found(1664, 0, 1262)));
        assert!(file("1663/5/16384").matches(&found(1663, 5, 0)), "its database is dropped");
        assert!(
            !file("1663/5/16384").matches(&found(1663, 4, 0)) && !file("16384").matches(&found(1663, 5, 0))
        );
        for bad in ["", "0", "1663/5", "a/b/c", "base/5/+3", "1663/5/16384/1", "99999999999"] {
            assert!(bad.parse::<RelationFile>().is_err(), "{bad}");
        }
    }
}
