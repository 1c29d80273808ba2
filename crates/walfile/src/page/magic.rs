//! Page magics: which PostgreSQL wrote a page.

use std::fmt;

/// The magic number of a WAL page (`XLOG_PAGE_MAGIC`): exactly one for each released major.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct WalMagic {
    value: u16,
    major: u16,
}

/// The numbers are in no useful order between betas, so only these are accepted, never a range.
const KNOWN: [WalMagic; 9] = [
    WalMagic { value: 0xD097, major: 10 },
    WalMagic { value: 0xD098, major: 11 },
    WalMagic { value: 0xD101, major: 12 },
    WalMagic { value: 0xD106, major: 13 },
    WalMagic { value: 0xD10D, major: 14 },
    WalMagic { value: 0xD110, major: 15 },
    WalMagic { value: 0xD113, major: 16 },
    WalMagic { value: 0xD116, major: 17 },
    WalMagic { value: 0xD118, major: 18 },
];

impl WalMagic {
    /// The magic with this value, or `None` when no release from PostgreSQL 10 to 18 writes it.
    pub fn from_value(value: u16) -> Option<Self> {
        KNOWN.into_iter().find(|magic| magic.value == value)
    }

    /// The magic that a major release of PostgreSQL writes; `None` outside 10-18.
    pub fn of_major(major: u16) -> Option<Self> {
        KNOWN.into_iter().find(|magic| magic.major == major)
    }

    /// The number in the page.
    pub const fn value(self) -> u16 {
        self.value
    }

    /// The major release of PostgreSQL that writes it, such as 15.
    pub const fn major(self) -> u16 {
        self.major
    }
}

impl fmt::Display for WalMagic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06X} (PostgreSQL {})", self.value, self.major)
    }
}
