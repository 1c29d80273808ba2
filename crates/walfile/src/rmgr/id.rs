//! Resource managers (`rmgrlist.h`).

use std::fmt;

/// A resource manager: the part of PostgreSQL, or an extension, that wrote a record and replays it.
///
/// `Display` gives the name `pg_waldump` shows.
///
/// ```
/// use walfile::rmgr::Rmgr;
/// assert_eq!(Rmgr::BTREE.to_string(), "Btree");
/// assert_eq!(Rmgr::new(128).to_string(), "custom128");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Rmgr(u8);

/// Names in the order of the identifiers, which never changed between PostgreSQL 10 and 18.
const NAMES: [&str; 22] = [
    "XLOG",
    "Transaction",
    "Storage",
    "CLOG",
    "Database",
    "Tablespace",
    "MultiXact",
    "RelMap",
    "Standby",
    "Heap2",
    "Heap",
    "Btree",
    "Hash",
    "Gin",
    "Gist",
    "Sequence",
    "SPGist",
    "BRIN",
    "CommitTs",
    "ReplicationOrigin",
    "Generic",
    "LogicalMessage",
];

impl Rmgr {
    /// Checkpoints, restore points, settings, full-page images: the log itself.
    pub const XLOG: Self = Self(0);
    /// Commits and aborts.
    pub const TRANSACTION: Self = Self(1);
    /// Relation files.
    pub const STORAGE: Self = Self(2);
    /// Transaction status.
    pub const CLOG: Self = Self(3);
    /// Databases.
    pub const DATABASE: Self = Self(4);
    /// Tablespaces.
    pub const TABLESPACE: Self = Self(5);
    /// Multixacts.
    pub const MULTIXACT: Self = Self(6);
    /// The map of system catalogs to files.
    pub const RELMAP: Self = Self(7);
    /// What a hot standby must know.
    pub const STANDBY: Self = Self(8);
    /// More of [`Rmgr::HEAP`].
    pub const HEAP2: Self = Self(9);
    /// Table rows.
    pub const HEAP: Self = Self(10);
    /// B-tree indexes.
    pub const BTREE: Self = Self(11);
    /// Hash indexes.
    pub const HASH: Self = Self(12);
    /// GIN indexes.
    pub const GIN: Self = Self(13);
    /// `GiST` indexes.
    pub const GIST: Self = Self(14);
    /// Sequences.
    pub const SEQUENCE: Self = Self(15);
    /// SP-GiST indexes.
    pub const SPGIST: Self = Self(16);
    /// BRIN indexes.
    pub const BRIN: Self = Self(17);
    /// Commit timestamps.
    pub const COMMIT_TS: Self = Self(18);
    /// Replication origins.
    pub const REPLICATION_ORIGIN: Self = Self(19);
    /// Generic WAL of extensions.
    pub const GENERIC: Self = Self(20);
    /// `pg_logical_emit_message`.
    pub const LOGICAL_MESSAGE: Self = Self(21);

    /// The resource manager with this identifier, known or not.
    pub const fn new(id: u8) -> Self {
        Self(id)
    }

    /// The identifier in the record.
    pub const fn id(self) -> u8 {
        self.0
    }

    /// The name of a built-in resource manager.
    pub fn name(self) -> Option<&'static str> {
        NAMES.get(usize::from(self.0)).copied()
    }

    /// The built-in resource manager with this name; letter case does not matter.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|rmgr| rmgr.name().is_some_and(|known| known.eq_ignore_ascii_case(name)))
    }

    /// All the built-in resource managers.
    pub fn all() -> impl Iterator<Item = Self> {
        (0u8..).zip(NAMES).map(|(id, _)| Self(id))
    }

    /// Whether an extension registered it (PostgreSQL 15 and later).
    pub const fn is_custom(self) -> bool {
        self.0 >= 128
    }

    /// Whether a record of this resource manager can stand in WAL of this major.
    pub const fn is_valid(self, major: u16) -> bool {
        self.0 < 22 || (self.is_custom() && major >= 15)
    }
}

impl fmt::Display for Rmgr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None if self.is_custom() => f.pad(&format!("custom{:03}", self.0)),
            None => f.pad(&format!("invalid{:03}", self.0)),
        }
    }
}
