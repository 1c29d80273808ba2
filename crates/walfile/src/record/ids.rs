//! Small identities that records carry.

use std::fmt;

/// A transaction identifier as WAL stores it: 32 bits, which wrap around. Zero is no transaction.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Xid(u32);

impl Xid {
    /// No transaction (`InvalidTransactionId`).
    pub const INVALID: Self = Self(0);

    /// The identifier with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Whether this is [`Xid::INVALID`].
    pub const fn is_invalid(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A transaction identifier with its epoch (`FullTransactionId`), which does not wrap around.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FullXid(u64);

impl FullXid {
    /// The identifier with this number: the epoch in the upper half.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, as `pg_current_xact_id()` shows it.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// How often the short identifiers have wrapped around.
    pub const fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The part that records carry.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
    pub const fn xid(self) -> Xid {
        Xid(self.0 as u32)
    }
}

impl fmt::Display for FullXid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An object identifier: a database, a tablespace, a table. Zero is none.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Oid(u32);

impl Oid {
    /// The identifier with this number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment as PostgreSQL's servers write it (`TimestampTz`): microseconds since 2000-01-01 00:00 UTC.
///
/// ```
/// use walfile::record::Timestamp;
/// assert_eq!(Timestamp::from_micros(0).unix_micros(), 946_684_800_000_000);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Seconds from 1970 to 2000.
    const EPOCH: i64 = 946_684_800;

    /// The moment this many microseconds after the start of 2000.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The moment this many seconds after the start of 1970, at the bounds of the type when it is beyond them.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_sub(Self::EPOCH).saturating_mul(1_000_000))
    }

    /// Microseconds since the start of 2000.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Microseconds since the start of 1970, at the bounds of the type when it is beyond them.
    pub const fn unix_micros(self) -> i64 {
        self.0.saturating_add(Self::EPOCH * 1_000_000)
    }
}
