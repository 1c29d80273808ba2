//! `sync-info`: what this node has, for the passive nodes that copy it (Barman's `sync_status`).

mod config;
mod json;
mod record;

use std::cell::RefCell;
use std::io::{self, Write};

use serde::ser::{Error as _, Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use tapster_catalog::{BackupRecord, BackupStatus, CatalogError, XlogDbError, XlogEntry};
use thiserror::Error;

use self::config::ConfigJson;
use self::json::PythonFormatter;
use self::record::RecordJson;
use crate::hooks::BARMAN_VERSION;
use crate::{Context, Server};

/// From where on WAL is listed: what the answer before said in `last_name` and `last_position`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SyncStart {
    /// The last file that is known.
    pub last_wal: Option<String>,
    /// The byte of the index at which its line began.
    pub last_position: Option<u64>,
}

impl SyncStart {
    /// After `last_wal`, whose line began at `last_position`.
    pub fn after(last_wal: impl Into<String>, last_position: Option<u64>) -> Self {
        Self { last_wal: Some(last_wal.into()), last_position }
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SyncInfoError {
    /// The archive begins later.
    #[error("last_wal '{last_wal}' is older than the first available wal '{first}'")]
    Older {
        /// What was asked for.
        last_wal: String,
        /// The first file of the index.
        first: String,
    },
    /// The archive ends earlier.
    #[error("last_wal '{last_wal}' is newer than the last available wal  '{last}'")]
    Newer {
        /// What was asked for.
        last_wal: String,
        /// The last file of the index.
        last: String,
    },
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] XlogDbError),
    /// The backups cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// It cannot be written. What was written is no whole object.
    #[error("cannot write: {0}")]
    Write(io::Error),
}

impl Server {
    /// Writes one JSON object: the backups that are `DONE`, the archived WAL from `start` on, where that ends, and the settings.
    /// The text is that of Barman 3.19.1, but for the order of the backups and for passwords, which it leaves out.
    ///
    /// The lock of the index is held only while its end is looked up; memory does not depend on its length.
    ///
    /// # Errors
    /// [`SyncInfoError::Older`] and [`SyncInfoError::Newer`] before anything is written.
    pub fn sync_info(
        &self,
        start: &SyncStart,
        output: &mut dyn Write,
        context: &Context<'_>,
    ) -> Result<(), SyncInfoError> {
        // A backup whose deletion has begun may be half gone.
        let going = self.catalog.deletions_in_progress()?;
        let mut backups = self.catalog.records()?;
        backups.retain(|record| record.status == BackupStatus::Done && !going.contains(&record.id));
        let snapshot = self.wal_index(context)?.snapshot()?;
        let last_wal = start.last_wal.as_deref();
        let mut position = start.last_position.unwrap_or(0);
        if !snapshot.begins_at(position, last_wal.unwrap_or_default())? {
            position = 0;
        }
        if let (Some(last_wal), Some((last, _))) = (last_wal, snapshot.last()) {
            let first = snapshot.entries(0)?.next().transpose()?.map(|entry| entry.name.to_string());
            if let Some(first) = first.filter(|first| position == 0 && last_wal < first.as_str()) {
                return Err(SyncInfoError::Older { last_wal: last_wal.to_owned(), first });
            }
            let last = last.name.to_string();
            if last_wal > last.as_str() {
                return Err(SyncInfoError::Newer { last_wal: last_wal.to_owned(), last });
            }
        }
        // Barman takes that of the first id. But ids are local time, and each backup may be the one that needs most.
        let begins: Option<Vec<_>> = backups.iter().map(|record| record.begin_wal).collect();
        let first_useful = begins.and_then(|begins| begins.into_iter().min()).map(|wal| wal.to_string());
        let is_wanted = |entry: &XlogEntry| match (last_wal, &first_useful) {
            (None, None) => true,
            (Some(last_wal), _) => entry.name.to_string().as_str() > last_wal,
            (None, Some(first)) => entry.name.to_string() >= *first,
        };
        let entries = snapshot.entries(position)?.filter(|entry| entry.as_ref().map_or(true, is_wanted));
        let (last_name, last_position) = match snapshot.last() {
            Some((entry, at)) => (entry.name.to_string(), at),
            None => (String::new(), 0),
        };
        let answer = Answer { last_name, last_position, backups, wals: Stream::new(entries), server: self };
        let mut output = io::BufWriter::with_capacity(64 * 1024, output);
        let mut serializer = serde_json::Serializer::with_formatter(&mut output, PythonFormatter::new());
        let written =
            answer.serialize(&mut serializer).map_err(io::Error::from).and_then(|()| output.flush());
        match answer.wals.failure.into_inner() {
            Some(error) => Err(error.into()),
            None => written.map_err(SyncInfoError::Write),
        }
    }
}

struct Answer<'a, I> {
    last_name: String,
    last_position: u64,
    backups: Vec<BackupRecord>,
    wals: Stream<I>,
    server: &'a Server,
}

impl<I: Iterator<Item = Result<XlogEntry, XlogDbError>>> Serialize for Answer<'_, I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("last_position", &self.last_position)?;
        map.serialize_entry("last_name", &self.last_name)?;
        map.serialize_entry("backups", &Backups(&self.backups))?;
        map.serialize_entry("wals", &self.wals)?;
        map.serialize_entry("version", BARMAN_VERSION)?;
        map.serialize_entry("config", &ConfigJson(self.server.config()))?;
        map.end()
    }
}

struct Backups<'a>(&'a [BackupRecord]);

impl Serialize for Backups<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|record| (record.id, RecordJson(record))))
    }
}

/// Entries that are read while they are written.
struct Stream<I> {
    entries: RefCell<I>,
    failure: RefCell<Option<XlogDbError>>,
}

impl<I> Stream<I> {
    const fn new(entries: I) -> Self {
        Self { entries: RefCell::new(entries), failure: RefCell::new(None) }
    }
}

impl<I: Iterator<Item = Result<XlogEntry, XlogDbError>>> Serialize for Stream<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for entry in self.entries.borrow_mut().by_ref() {
            match entry {
                Ok(entry) => list.serialize_element(&Wal(&entry))?,
                Err(error) => {
                    let text = S::Error::custom(&error);
                    *self.failure.borrow_mut() = Some(error);
                    return Err(text);
                }
            }
        }
        list.end()
    }
}

struct Wal<'a>(&'a XlogEntry);

impl Serialize for Wal<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("compression", &entry.compression)?;
        map.serialize_entry("encryption", &entry.encryption)?;
        map.serialize_entry("name", &entry.name.to_string())?;
        map.serialize_entry("size", &entry.size)?;
        map.serialize_entry("time", &entry.mtime)?;
        map.end()
    }
}
