//! The results of test restores, remembered in the catalog.
//!
//! `meta/restore-tests.json` is a file of ours, which Barman does not look at: the last test restore of the server, and the last
//! one that proved a backup.

use std::io::Read;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tapster_catalog::ServerLayout;
use tapster_catalog::durable::{self, Disk, DurableError};

/// A test restore, as it is remembered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RestoreTest {
    /// The backup; `None` when none could be chosen.
    pub backup_id: Option<String>,
    /// When it ended, in seconds since 1970.
    pub time: i64,
    /// Whether the backup was restored, started, and found right.
    pub proven: bool,
    /// Where the last record that was replayed begins.
    pub reached_lsn: Option<String>,
    /// The timeline that was followed.
    pub timeline: Option<u32>,
    /// When the last transaction that was replayed ended, as the server says it.
    pub last_transaction: Option<String>,
    /// How long all of it took, in seconds: what a real restore would take at least.
    pub elapsed_seconds: u64,
    /// Whether `pg_amcheck` was run.
    pub amcheck: bool,
    /// Whether a file of SQL was run.
    pub sql: bool,
    /// Why it was not proven.
    pub failure: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Memory {
    last: Option<RestoreTest>,
    last_proven: Option<RestoreTest>,
}

fn path(layout: &ServerLayout) -> PathBuf {
    layout.meta.join("restore-tests.json")
}

fn read(layout: &ServerLayout) -> std::io::Result<Memory> {
    let mut text = Vec::new();
    match std::fs::File::open(path(layout)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Memory::default()),
        file => file?.take(1024 * 1024).read_to_end(&mut text)?,
    };
    serde_json::from_slice(&text).map_err(std::io::Error::from)
}

/// The last test restore of a server, and the last one that proved a backup; `None` where there was none.
///
/// # Errors
/// When the file cannot be read.
pub fn last(layout: &ServerLayout) -> std::io::Result<(Option<RestoreTest>, Option<RestoreTest>)> {
    read(layout).map(|memory| (memory.last, memory.last_proven))
}

/// Remembers one more. A file that cannot be read is written anew.
pub(super) fn remember(
    disk: &dyn Disk,
    layout: &ServerLayout,
    test: RestoreTest,
) -> Result<(), DurableError> {
    let mut memory = read(layout).unwrap_or_default();
    if test.proven {
        memory.last_proven = Some(test.clone());
    }
    memory.last = Some(test);
    let mut text = serde_json::to_vec_pretty(&memory).unwrap_or_default();
    text.push(b'\n');
    durable::replace(disk, &path(layout), &text)
}
