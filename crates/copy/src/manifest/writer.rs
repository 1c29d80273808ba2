//! Writing a manifest, byte for byte as PostgreSQL does (`backup_manifest.c`).

use std::fmt;
use std::io::{self, Write};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::WalRange;
use crate::{Checksum, ChecksumAlgorithm};

/// A manifest that could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteManifestError {
    /// Writing failed.
    #[error("cannot write the backup manifest: {0}")]
    Io(#[from] io::Error),
    /// A version not known, or version 2 without a system identifier.
    #[error("cannot write a backup manifest of version {version}: expected 1, or 2 with a system identifier")]
    Version {
        /// What was asked for.
        version: u32,
    },
    /// A modification time outside the years 1970 to 9999.
    #[error("cannot write the modification time {seconds} into the backup manifest")]
    Time {
        /// Seconds since 1970.
        seconds: u64,
    },
}

/// Writes a manifest front to back. Not synced and not published: the sink's owner does that.
pub struct ManifestWriter<W> {
    sink: W,
    hash: Sha256,
    line: Vec<u8>,
    files: u64,
}

impl<W> fmt::Debug for ManifestWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManifestWriter").field("files", &self.files).finish_non_exhaustive()
    }
}

impl<W: Write> ManifestWriter<W> {
    /// Begins a manifest: version 1 (PostgreSQL 13 to 16), or 2 with the cluster's system identifier.
    ///
    /// # Errors
    /// When the version is neither, or writing fails.
    pub fn new(sink: W, version: u32, system_identifier: Option<u64>) -> Result<Self, WriteManifestError> {
        let mut writer = Self { sink, hash: Sha256::new(), line: Vec::new(), files: 0 };
        match (version, system_identifier) {
            (1, _) => writer.put(format_args!("{{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n"))?,
            (2, Some(id)) => writer.put(format_args!(
                "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {id},\n"
            ))?,
            _ => return Err(WriteManifestError::Version { version }),
        }
        writer.put(format_args!("\"Files\": ["))?;
        Ok(writer)
    }

    /// Adds a file: its path relative to the data directory, bytes, modification time (seconds since
    /// 1970), and checksum.
    ///
    /// # Errors
    /// When writing fails or the time cannot be written as a date.
    pub fn file(
        &mut self,
        path: &[u8],
        size: u64,
        mtime: u64,
        algorithm: ChecksumAlgorithm,
        checksum: Option<Checksum>,
    ) -> Result<(), WriteManifestError> {
        let date = Date::from_unix(mtime).ok_or(WriteManifestError::Time { seconds: mtime })?;
        self.line.extend_from_slice(if self.files == 0 { b"\n{ " } else { b",\n{ " });
        match std::str::from_utf8(path) {
            Ok(text) => {
                self.line.extend_from_slice(b"\"Path\": ");
                push_json_string(&mut self.line, text);
            }
            Err(_) => {
                self.line.extend_from_slice(b"\"Encoded-Path\": \"");
                for byte in path {
                    write!(self.line, "{byte:02x}")?;
                }
                self.line.push(b'"');
            }
        }
        write!(self.line, ", \"Size\": {size}, \"Last-Modified\": \"{date}\"")?;
        if let Some(checksum) = checksum.filter(|_| algorithm != ChecksumAlgorithm::None) {
            write!(self.line, ", \"Checksum-Algorithm\": \"{algorithm}\", \"Checksum\": \"{checksum}\"")?;
        }
        self.line.extend_from_slice(b" }");
        self.files = self.files.saturating_add(1);
        self.flush_line()
    }

    /// Ends the manifest with the WAL the backup needs and its own checksum; hands the sink back.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self, wal_ranges: &[WalRange]) -> Result<W, WriteManifestError> {
        self.put(format_args!("\n],\n\"WAL-Ranges\": [\n"))?;
        for (index, range) in wal_ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { ",\n" };
            self.put(format_args!(
                "{comma}{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}",
                range.timeline, range.start, range.end
            ))?;
        }
        self.put(format_args!("\n],\n"))?;
        let checksum = Checksum::new(self.hash.finalize().as_slice()).unwrap_or(Checksum::EMPTY);
        self.sink.write_all(format!("\"Manifest-Checksum\": \"{checksum}\"}}\n").as_bytes())?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn put(&mut self, text: fmt::Arguments<'_>) -> Result<(), WriteManifestError> {
        self.line.write_fmt(text)?;
        self.flush_line()
    }

    fn flush_line(&mut self) -> Result<(), WriteManifestError> {
        self.hash.update(&self.line);
        self.sink.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }
}

/// PostgreSQL's `escape_json`.
fn push_json_string(target: &mut Vec<u8>, text: &str) {
    target.push(b'"');
    for byte in text.bytes() {
        match byte {
            8 => target.extend_from_slice(b"\\b"),
            12 => target.extend_from_slice(b"\\f"),
            b'\n' => target.extend_from_slice(b"\\n"),
            b'\r' => target.extend_from_slice(b"\\r"),
            b'\t' => target.extend_from_slice(b"\\t"),
            b'"' => target.extend_from_slice(b"\\\""),
            b'\\' => target.extend_from_slice(b"\\\\"),
            0..=0x1F => target.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => target.push(byte),
        }
    }
    target.push(b'"');
}

/// A moment as the manifest writes it, `2026-11-21 03:15:20 GMT`.
pub(super) struct Date {
    year: u64,
    month: u64,
    day: u64,
    second: u64,
}

impl Date {
    /// The Gregorian date of a number of seconds since 1970 (days counted from 0000-03-01, so that the
    /// leap day is the last of its year).
    pub(super) fn from_unix(seconds: u64) -> Option<Self> {
        let days = seconds / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        (year <= 9999).then_some(Self { year, month, day, second: seconds % 86_400 })
    }
}

impl Date {
    /// Without the word GMT, as Barman has it.
    pub(super) fn without_zone(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(|f| {
            let (hour, minute, second) = (self.second / 3600, self.second / 60 % 60, self.second % 60);
            let Self { year, month, day, .. } = self;
            write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} GMT", self.without_zone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 GMT"),
            (951_782_399, "2000-02-28 23:59:59 GMT"),
            (951_782_400, "2000-02-29 00:00:00 GMT"),
            (951_868_800, "2000-03-01 00:00:00 GMT"),
            (1_795_230_920, "2026-11-21 03:15:20 GMT"),
            (4_107_542_400, "2100-03-01 00:00:00 GMT"),
        ] {
            assert_eq!(Date::from_unix(seconds).unwrap().to_string(), text);
        }
        assert!(Date::from_unix(u64::MAX).is_none());
    }
}
