//! `identity.json`: which cluster this server's directory belongs to.
//!
//! Written once, at the first backup, and never again: WAL of another cluster must not get into the archive
//! because somebody ran `initdb` behind the same connection string.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::durable::{self, Disk, DurableError};

/// The cluster a server's directory belongs to.
///
/// ```
/// use tapster_catalog::{Identity, durable::RealDisk};
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("identity.json");
/// let identity = Identity::new("7710408692298386193", "15");
/// assert!(identity.save_if_absent(&RealDisk, &path)?);
/// assert_eq!(std::fs::read_to_string(&path)?, "{\n    \"systemid\": \"7710408692298386193\",\n    \"version\": \"15\"\n}\n");
/// assert_eq!(Identity::load(&path)?, Some(identity));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Identity {
    /// The system identifier, in decimal.
    #[serde(rename = "systemid")]
    pub system_id: String,
    /// The major version, such as `15`.
    pub version: String,
}

/// `identity.json` cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// It cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{} is not an identity: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Identity {
    /// An identity.
    pub fn new(system_id: impl Into<String>, version: impl Into<String>) -> Self {
        Self { system_id: system_id.into(), version: version.into() }
    }

    /// Reads the file; `None` when there is none yet, or an empty one: Barman does not sync it, so a power cut leaves that,
    /// and it must not keep WAL out of the archive.
    ///
    /// # Errors
    /// When it cannot be read or holds something else.
    pub fn load(path: &Path) -> Result<Option<Self>, IdentityError> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(64 * 1024).read_to_end(&mut bytes));
        match read {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IdentityError::Io { path: path.to_owned(), source }),
        }
        if bytes.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace()) {
            return Ok(None);
        }
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| IdentityError::Invalid { path: path.to_owned(), source })
    }

    /// Writes the file unless there is one that is not empty. Returns whether it was written.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_if_absent(&self, disk: &dyn Disk, path: &Path) -> Result<bool, DurableError> {
        let is_there = path.exists();
        if is_there && !matches!(Self::load(path), Ok(None)) {
            return Ok(false);
        }
        // Serialising two strings cannot fail.
        let text = |value: &str| serde_json::to_string(value).unwrap_or_default();
        let json = format!(
            "{{\n    \"systemid\": {},\n    \"version\": {}\n}}\n",
            text(&self.system_id),
            text(&self.version)
        );
        if is_there {
            return durable::replace(disk, path, json.as_bytes()).map(|()| true);
        }
        match durable::write_new(disk, path, json.as_bytes(), None) {
            Err(DurableError::Exists { .. }) => Ok(false),
            done => done.map(|()| true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::RealDisk;

    #[test]
    fn l_a14_what_a_power_cut_left_of_it_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.json");
        let identity = Identity::new("7710408692298386193", "15");
        for (left, is_none) in [("", true), ("\0\0\0\n", true), ("{\"systemid\"", false), ("[]", false)] {
            durable::replace(&RealDisk, &path, left.as_bytes()).unwrap();
            assert_eq!(Identity::load(&path).is_ok_and(|found| found.is_none()), is_none, "{left:?}");
            assert_eq!(identity.save_if_absent(&RealDisk, &path).unwrap(), is_none, "{left:?}");
        }
    }
}
