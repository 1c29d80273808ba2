//! A flat directory of WAL: a server's `pg_wal`, what `pg_receivewal` wrote, what an `archive_command` copied.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use walfile::{WalArchive, WalName};

/// What follows the name of a compressed segment; `pg_receivewal` writes the first two.
const SUFFIXES: [&str; 6] = ["gz", "lz4", "zst", "bz2", "xz", "snappy"];

/// A directory that holds WAL files under their own names, or with the suffix of a compression after them.
///
/// ```no_run
/// use tapster_catalog::WalDirectory;
/// use walfile::{ArchiveReader, Timeline};
///
/// let archive = WalDirectory::new("/var/lib/postgresql/15/main/pg_wal");
/// let mut reader = ArchiveReader::open(archive, Timeline::FIRST, "0/3000028".parse()?)?;
/// while let Some(record) = reader.next_record() {
///     println!("{} {}", record.lsn, record.header.rmgr);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct WalDirectory {
    path: PathBuf,
}

impl WalDirectory {
    /// The directory at `path`; nothing is looked at yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The WAL files in it, in the order of their names, each once.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn files(&self) -> io::Result<Vec<WalName>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            files.extend(entry?.file_name().to_str().and_then(wal_name));
        }
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }

    /// The names a file may have, in the order of looking.
    fn candidates(&self, name: WalName) -> impl Iterator<Item = PathBuf> {
        let (stem, partial) = match name {
            WalName::Partial(segment) => (segment.to_string(), ".partial"),
            other => (other.to_string(), ""),
        };
        // pg_receivewal calls the unfinished one SEGMENT.gz.partial.
        let packed = SUFFIXES.map(|suffix| format!("{stem}.{suffix}{partial}"));
        std::iter::once(name.to_string()).chain(packed).map(|name| self.path.join(name))
    }
}

/// The WAL file that a file of this name holds.
fn wal_name(file: &str) -> Option<WalName> {
    let (stem, partial) = file.strip_suffix(".partial").map_or((file, false), |stem| (stem, true));
    let plain =
        SUFFIXES.iter().find_map(|suffix| stem.strip_suffix(suffix)?.strip_suffix('.')).unwrap_or(stem);
    match plain.parse().ok()? {
        WalName::Segment(segment) if partial => Some(WalName::Partial(segment)),
        _ if partial => None,
        name => Some(name),
    }
}

impl WalArchive for WalDirectory {
    fn open(&self, name: WalName) -> io::Result<Option<Box<dyn Read + Send>>> {
        for path in self.candidates(name) {
            match File::open(&path) {
                Ok(file) if file.metadata()?.is_file() => return Ok(Some(Box::new(file))),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_suffixes() {
        for (file, name) in [
            ("000000010000000000000005", Some("000000010000000000000005")),
            ("000000010000000000000005.gz", Some("000000010000000000000005")),
            ("000000010000000000000005.lz4.partial", Some("000000010000000000000005.partial")),
            ("000000010000000000000005.partial", Some("000000010000000000000005.partial")),
            ("00000002.history", Some("00000002.history")),
            ("00000002.history.zst", Some("00000002.history")),
            ("00000002.history.partial", None),
            ("000000010000000000000005.gz.tmp", None),
            ("archive_status", None),
        ] {
            assert_eq!(wal_name(file).map(|name| name.to_string()).as_deref(), name, "{file}");
        }
    }
}
