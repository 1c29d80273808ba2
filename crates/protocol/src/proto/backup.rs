//! What a server of version 15 or later puts into `CopyData` during BASE_BACKUP, and archive names.

use thiserror::Error;

use super::backend::MessageError;
use super::cursor::Cursor;

/// A message of BASE_BACKUP, version 15+.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BackupMessage<'a> {
    /// `n`: an archive begins.
    Archive {
        /// Its file name, checked by [`archive_oid`].
        name: &'a str,
        /// The tablespace's path, in whatever encoding; empty for the main data directory.
        location: &'a [u8],
    },
    /// `m`: the manifest begins.
    Manifest,
    /// `d`: bytes of the archive or manifest. May be empty.
    Data(&'a [u8]),
    /// `p`: how far the server is.
    Progress(u64),
}

impl<'a> BackupMessage<'a> {
    /// Reads the payload of a `CopyData` message. `None` for an empty payload, which means nothing.
    ///
    /// # Errors
    /// When the kind is unknown or the payload does not fit it.
    pub fn parse(payload: &'a [u8]) -> Result<Option<Self>, MessageError> {
        let Some((kind, rest)) = payload.split_first() else { return Ok(None) };
        let malformed = MessageError::Malformed { what: "base backup" };
        let mut cursor = Cursor(rest);
        match kind {
            b'd' => Ok(Some(Self::Data(rest))),
            b'm' => Ok(Some(Self::Manifest)),
            b'p' => cursor.u64().map(Self::Progress).map(Some).ok_or(malformed),
            b'n' => cursor
                .cstr()
                .and_then(|name| std::str::from_utf8(name).ok())
                .zip(cursor.cstr())
                .map(|(name, location)| Some(Self::Archive { name, location }))
                .ok_or(malformed),
            other => Err(MessageError::Unknown { tag: char::from(*other) }),
        }
    }
}

/// An archive name that must not become a file.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("the server named an archive {name:?}; expected base.tar or <oid>.tar, with .gz, .lz4 or .zst")]
#[non_exhaustive]
pub struct ArchiveNameError {
    /// The name, shortened to 64 characters.
    pub name: String,
}

/// The tablespace an archive holds, by its name: `None` for `base.tar`, the oid for `<oid>.tar`.
///
/// # Errors
/// For every other name: it would be used as a file name (CVE-2026-6475).
pub fn archive_oid(name: &str) -> Result<Option<u32>, ArchiveNameError> {
    let error = || ArchiveNameError { name: name.chars().take(64).collect() };
    let plain = [".gz", ".lz4", ".zst"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    match plain.strip_suffix(".tar") {
        Some("base") => Ok(None),
        Some(oid) if oid.bytes().all(|b| b.is_ascii_digit()) && !oid.starts_with('0') => {
            oid.parse().map(Some).map_err(|_| error())
        }
        _ => Err(error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(archive_oid("base.tar"), Ok(None));
        assert_eq!(archive_oid("base.tar.zst"), Ok(None));
        assert_eq!(archive_oid("16384.tar.gz"), Ok(Some(16384)));
        for bad in
            ["", ".tar", "../base.tar", "a.tar", "/1.tar", "1.tar.xz", "99999999999.tar", "+1.tar", "01.tar"]
        {
            assert!(archive_oid(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn kinds() {
        assert_eq!(BackupMessage::parse(b""), Ok(None));
        assert_eq!(BackupMessage::parse(b"d"), Ok(Some(BackupMessage::Data(b""))));
        let archive = BackupMessage::Archive { name: "1.tar", location: b"/x" };
        assert_eq!(BackupMessage::parse(b"n1.tar\0/x\0"), Ok(Some(archive)));
        assert!(BackupMessage::parse(b"n1.tar").is_err());
        assert!(BackupMessage::parse(b"p\0").is_err());
        assert!(BackupMessage::parse(b"q").is_err());
    }
}
