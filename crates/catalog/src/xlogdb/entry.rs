//! One line of the index: name, stored size, time, compression, encryption.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use walfile::WalName;

use crate::record::repr_f64;

/// One archived file, as a line of `<server>-xlog.db` tells it.
///
/// `Display` writes the line of Barman 3.19 without its newline: five columns separated by tabs. Reading splits on any
/// white space and accepts three, four or five columns, as Barman does for the files of its older versions.
///
/// ```
/// use tapster_catalog::XlogEntry;
/// let line = "000000010000000000000005\t16522\t1795219542.4817226\tgzip\tNone";
/// let entry: XlogEntry = line.parse()?;
/// assert_eq!((entry.size, entry.compression.as_deref()), (16522, Some("gzip")));
/// assert_eq!(entry.to_string(), line);
/// # Ok::<(), tapster_catalog::ParseXlogEntryError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct XlogEntry {
    /// The file's name in the archive.
    pub name: WalName,
    /// Bytes as stored, so after compression and encryption.
    pub size: u64,
    /// Modification time of the original file, in seconds since 1970 as Python's `os.stat` rounds it.
    pub mtime: f64,
    /// The codec by Barman's name (`gzip`, `zstd` ...), or `None`.
    pub compression: Option<String>,
    /// `gpg`, or `None`.
    pub encryption: Option<String>,
}

/// A line that is not an index entry.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("'{text}' is not an index line: expected a WAL name, a size, a time, and at most two more columns")]
#[non_exhaustive]
pub struct ParseXlogEntryError {
    /// The line, shortened to 200 characters.
    pub text: String,
}

impl FromStr for XlogEntry {
    type Err = ParseXlogEntryError;

    fn from_str(line: &str) -> Result<Self, ParseXlogEntryError> {
        parse(line).ok_or_else(|| ParseXlogEntryError { text: line.trim_end().chars().take(200).collect() })
    }
}

fn parse(line: &str) -> Option<XlogEntry> {
    let mut columns = line.split_ascii_whitespace();
    let name = columns.next()?;
    let size = columns.next()?.parse().ok()?;
    let mtime: f64 = columns.next()?.parse().ok()?;
    let compression = optional(columns.next());
    let encryption = optional(columns.next());
    if columns.next().is_some() || !mtime.is_finite() {
        return None;
    }
    // Barman accepts lower case digits and stores the name as given; here a name has one spelling.
    let name = name.parse().ok()?;
    Some(XlogEntry { name, size, mtime, compression, encryption })
}

fn optional(column: Option<&str>) -> Option<String> {
    column.filter(|text| *text != "None").map(str::to_owned)
}

impl fmt::Display for XlogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = |value: &Option<String>| value.as_deref().unwrap_or("None").to_owned();
        write!(
            f,
            "{}\t{}\t{}\t{}\t{}",
            self.name,
            self.size,
            repr_f64(self.mtime),
            column(&self.compression),
            column(&self.encryption)
        )
    }
}

/// A file's modification time in the form of the index: Python computes `seconds + 1e-9 * nanoseconds` in doubles.
#[expect(clippy::cast_precision_loss, reason = "the rounding is Python's own and is what Barman stores")]
pub(crate) fn python_mtime(seconds: i64, nanoseconds: i64) -> f64 {
    seconds as f64 + 1e-9 * nanoseconds as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_columns_are_read() {
        for (line, compression) in [
            ("000000010000000000000001\t16777216\t1406019022.4", None),
            ("000000010000000000000001 16777216 1406019022.4 gzip", Some("gzip")),
            ("  000000010000000000000001\t16777216  1406019022 None None\r\n", None),
        ] {
            let entry: XlogEntry = line.parse().unwrap();
            assert_eq!(entry.compression.as_deref(), compression, "{line}");
            assert_eq!(entry.encryption, None);
        }
    }

    #[test]
    fn what_is_no_entry() {
        for line in [
            "",
            "000000010000000000000001",
            "000000010000000000000001\t16777216",
            "000000010000000000000001\t-1\t1.0",
            "000000010000000000000001\t1\tnan",
            "000000010000000000000001\t1\t1.0\tNone\tNone\tNone",
            "../../etc/passwd\t1\t1.0\tNone\tNone",
        ] {
            assert!(line.parse::<XlogEntry>().is_err(), "{line:?}");
        }
    }

    #[test]
    fn l_a20_timelines_are_hexadecimal() {
        let entry: XlogEntry = "0000000A0000000000000001\t1\t1.0".parse().unwrap();
        assert_eq!(entry.name.timeline().get(), 10);
    }
}
