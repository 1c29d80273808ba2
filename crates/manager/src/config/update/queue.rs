//! The changes that are wanted and not made yet: Barman's `cfg_changes.queue`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tapster_catalog::durable::{Clobber, Disk, Publish};

use super::UpdateError;

/// The largest queue read, in bytes.
const MAX_QUEUE: u64 = 16 << 20;

/// One option to be set in one file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ConfigChange {
    /// The option.
    pub key: String,
    /// Its new value.
    pub value: String,
    /// The file that is to say so.
    pub config_file: PathBuf,
}

/// Options of one section.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ChangeSet {
    /// The section: a server or a model.
    pub section: String,
    /// What is to be set, in order.
    pub changes_set: Vec<ConfigChange>,
}

/// Reads the queue; a file that is not there, or has nothing in it, is an empty one.
pub(super) fn read(path: &Path) -> Result<Vec<ChangeSet>, UpdateError> {
    let fail = |source| UpdateError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut text = Vec::new();
    file.take(MAX_QUEUE + 1).read_to_end(&mut text).map_err(fail)?;
    if text.len() as u64 > MAX_QUEUE {
        return Err(UpdateError::Queue {
            path: path.to_owned(),
            reason: format!("larger than {MAX_QUEUE} bytes"),
        });
    }
    if text.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&text)
        .map_err(|error| UpdateError::Queue { path: path.to_owned(), reason: error.to_string() })
}

/// Writes the queue durably, for its owner alone whoever could read it before: connection strings may hold passwords.
pub(super) fn write(disk: &dyn Disk, path: &Path, queue: &[ChangeSet]) -> Result<(), UpdateError> {
    // Strings and lists: cannot fail.
    let text = serde_json::to_vec_pretty(queue).unwrap_or_default();
    let mut file = Publish::create(disk, path, Some(0o600))?;
    file.write_all(&text)?;
    Ok(file.publish(Clobber::Replace)?)
}
