//! The system identifier: which cluster a file belongs to.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// A cluster's system identifier, made by `initdb` and kept by every physical copy; `Display` and `FromStr` use
/// the decimal form that PostgreSQL shows.
///
/// Equal identifiers do not prove equal content: a promoted or cloned copy keeps the identifier.
///
/// ```
/// let id: walfile::SystemId = "7710462296459250184".parse()?;
/// assert_eq!(id.to_string(), "7710462296459250184");
/// # Ok::<(), std::num::ParseIntError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SystemId(u64);

impl SystemId {
    /// The identifier with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for SystemId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SystemId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for SystemId {
    // A text, because JSON readers that use floating point would round it.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for SystemId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
