//! Backup ids.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use time::OffsetDateTime;

/// The id of a backup: when it started, in the local time of the backup host, as `YYYYMMDDTHHMMSS`. Ids are
/// compared as text, so at a change of daylight saving time their order may not be that of time.
///
/// ```
/// use tapster_catalog::BackupId;
/// let id: BackupId = "20261121T000542".parse()?;
/// assert_eq!(id.to_string(), "20261121T000542");
/// assert!("latest".parse::<BackupId>().is_err());
/// # Ok::<(), tapster_catalog::ParseBackupIdError>(())
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BackupId([u8; 15]);

impl BackupId {
    /// The id of a backup started now. `now` must carry the local offset of the backup host.
    pub fn from_local(now: OffsetDateTime) -> Self {
        let text = format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}",
            now.year().clamp(0, 9999),
            u8::from(now.month()),
            now.day(),
            now.hour(),
            now.minute(),
            now.second()
        );
        Self(text.as_bytes().try_into().unwrap_or(*b"00000000T000000"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a backup id.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("'{text}' is not a backup id: expected YYYYMMDDTHHMMSS")]
#[non_exhaustive]
pub struct ParseBackupIdError {
    /// What was given, shortened to 64 characters.
    pub text: String,
}

impl FromStr for BackupId {
    type Err = ParseBackupIdError;

    /// Takes what Barman takes: eight digits, `T`, six digits.
    fn from_str(text: &str) -> Result<Self, ParseBackupIdError> {
        let fail = || ParseBackupIdError { text: text.chars().take(64).collect() };
        let bytes: [u8; 15] = text.as_bytes().try_into().map_err(|_| fail())?;
        let shape =
            bytes.iter().enumerate().all(|(at, b)| if at == 8 { *b == b'T' } else { b.is_ascii_digit() });
        if shape { Ok(Self(bytes)) } else { Err(fail()) }
    }
}

impl serde::Serialize for BackupId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for BackupId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn is_local_time() {
        let id = BackupId::from_local(datetime!(2026-01-02 03:04:05.9 +13:45));
        assert_eq!(id.as_str(), "20260102T030405");
    }

    #[test]
    fn refuses_what_is_no_id() {
        for text in [
            "",
            "20261121",
            "20261121t000542",
            "20261121T00054",
            "20261121T0005420",
            "2026112１T00042",
            "../../../etc/pw",
        ] {
            assert!(text.parse::<BackupId>().is_err(), "{text}");
        }
    }
}
