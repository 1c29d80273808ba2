//! What the primary node says it has: the answer of its `sync-info`, kept as `primary.info`.
//!
//! It comes from another host, and is judged before anything is done: names are names of WAL and of backups before they become
//! paths, a record passes the reader of `backup.info`, and nothing of it is held in memory but the records.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use tapster_catalog::{BackupId, BackupRecord, UtcOffset, XlogEntry};
use walfile::{SegmentName, WalName};

use super::guard::Guard;
use super::received;

/// More backups than any catalog has.
const MAX_BACKUPS: usize = 100_000;
/// The largest segment, and what a codec or a cipher may add to it.
const MAX_WAL: u64 = 2 << 30;

/// The answer without the list of WAL, which may be long.
#[derive(Debug, Default)]
pub(super) struct PrimaryInfo {
    /// The last file in the primary node's index; none when that is empty.
    pub(super) last_name: Option<WalName>,
    /// The byte at which its line begins there.
    pub(super) last_position: u64,
    /// Its complete backups.
    pub(super) backups: BTreeMap<BackupId, BackupRecord>,
    /// Backups whose description cannot be used, and why.
    pub(super) unusable: BTreeMap<BackupId, String>,
    /// Whether any WAL is listed.
    pub(super) has_wals: bool,
    /// The first segment that is listed.
    pub(super) first_segment: Option<SegmentName>,
    /// Where things are there.
    pub(super) config: PrimaryConfig,
}

/// What is used of its settings.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct PrimaryConfig {
    #[serde(default)]
    pub(super) compression: Option<String>,
    pub(super) backup_directory: String,
    pub(super) basebackups_directory: String,
    pub(super) wals_directory: String,
}

/// What is done with each listed file of WAL.
pub(super) type EachWal<'w> = &'w mut dyn FnMut(XlogEntry) -> io::Result<()>;

impl PrimaryInfo {
    /// Reads a kept answer; `local` is the zone of times without one.
    pub(super) fn load(path: &Path, local: UtcOffset, each: EachWal<'_>) -> io::Result<Self> {
        Self::read(File::open(path)?, local, each)
    }

    /// Reads an answer to its end.
    pub(super) fn read(input: impl Read, local: UtcOffset, each: EachWal<'_>) -> io::Result<Self> {
        let failure = Cell::new(None);
        let mut json = serde_json::Deserializer::from_reader(BufReader::new(Guard::new(input)));
        let read = Top { local, each, failure: &failure }.deserialize(&mut json);
        let read = read.and_then(|info| json.end().map(|()| info));
        // An error of `each` is in the cell; the parser knows only its text.
        match failure.take() {
            Some(error) => Err(error),
            None => read.map_err(|error| match error.classify() {
                serde_json::error::Category::Io => error.into(),
                _ => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
            }),
        }
    }
}

struct Top<'a, 'w> {
    local: UtcOffset,
    each: EachWal<'w>,
    failure: &'a Cell<Option<io::Error>>,
}

impl<'de> DeserializeSeed<'de> for Top<'_, '_> {
    type Value = PrimaryInfo;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<PrimaryInfo, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_, '_> {
    type Value = PrimaryInfo;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer of sync-info")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PrimaryInfo, A::Error> {
        let mut info = PrimaryInfo::default();
        let (mut last_name, mut last_position, mut backups, mut config) = (None, None, false, None);
        let mut wals = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "last_name" => last_name = Some(map.next_value::<String>()?),
                "last_position" => last_position = Some(map.next_value::<u64>()?),
                "backups" if !backups => {
                    backups = true;
                    map.next_value_seed(Backups { local: self.local, info: &mut info })?;
                }
                "wals" if !wals => {
                    wals = true;
                    map.next_value_seed(Wals {
                        each: &mut *self.each,
                        info: &mut info,
                        failure: self.failure,
                    })?;
                }
                "config" => config = Some(map.next_value::<PrimaryConfig>()?),
                "backups" | "wals" => return Err(A::Error::custom(format!("'{key}' is there twice"))),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let lacks = |key: &str| A::Error::custom(format!("it lacks '{key}'"));
        let last_name = last_name.ok_or_else(|| lacks("last_name"))?;
        info.last_position = last_position.ok_or_else(|| lacks("last_position"))?;
        info.config = config.ok_or_else(|| lacks("config"))?;
        if !(backups && wals) {
            return Err(lacks(if backups { "wals" } else { "backups" }));
        }
        if !last_name.is_empty() {
            info.last_name = Some(last_name.parse().map_err(A::Error::custom)?);
        }
        let config = &info.config;
        for path in [&config.backup_directory, &config.basebackups_directory, &config.wals_directory] {
            if !path.starts_with('/') || path.contains(char::is_control) {
                return Err(A::Error::custom(format!("{path:?} is no absolute path")));
            }
        }
        Ok(info)
    }
}

struct Backups<'a> {
    local: UtcOffset,
    info: &'a mut PrimaryInfo,
}

impl<'de> DeserializeSeed<'de> for Backups<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Backups<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("backups by their ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut count = 0_usize;
        while let Some(id) = map.next_key::<String>()? {
            count += 1;
            if count > MAX_BACKUPS {
                return Err(A::Error::custom("it lists more than 100000 backups"));
            }
            let id: BackupId = id.parse().map_err(A::Error::custom)?;
            let budget = Cell::new(received::MAX_NODES);
            let fields = map.next_value_seed(received::Bounded(&budget))?;
            let Value::Object(fields) = fields else {
                return Err(A::Error::custom(format!("backup {id} is no object")));
            };
            match received::record(id, fields, self.local) {
                Ok(record) => drop(self.info.backups.insert(id, record)),
                Err(problem) => drop(self.info.unusable.insert(id, problem)),
            }
        }
        Ok(())
    }
}

/// A file of WAL as it is listed.
#[derive(Deserialize)]
struct ListedWal {
    name: String,
    size: u64,
    time: f64,
    #[serde(default)]
    compression: Option<String>,
    #[serde(default)]
    encryption: Option<String>,
}

impl ListedWal {
    /// Only what makes a line of our index that reads back the same.
    fn entry(self) -> Result<XlogEntry, String> {
        let name: WalName = self.name.parse().map_err(|error| format!("{error}"))?;
        let is_word = |text: &str| {
            !text.is_empty()
                && text.len() <= 32
                && text != "None"
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        for word in [&self.compression, &self.encryption].into_iter().flatten() {
            if !is_word(word) {
                return Err(format!("{name} is stored with {word:?}, which is no method"));
            }
        }
        if self.size > MAX_WAL {
            return Err(format!("{name} has {} bytes, which no WAL file has", self.size));
        }
        if !self.time.is_finite() || self.time.abs() > 1e12 {
            return Err(format!("{name} has the time {}", self.time));
        }
        Ok(XlogEntry {
            name,
            size: self.size,
            mtime: self.time,
            compression: self.compression,
            encryption: self.encryption,
        })
    }
}

struct Wals<'a> {
    each: EachWal<'a>,
    info: &'a mut PrimaryInfo,
    failure: &'a Cell<Option<io::Error>>,
}

impl<'de> DeserializeSeed<'de> for Wals<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Wals<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of WAL files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(wal) = list.next_element::<ListedWal>()? {
            let entry = wal.entry().map_err(A::Error::custom)?;
            self.info.has_wals = true;
            if let WalName::Segment(segment) = entry.name {
                self.info.first_segment.get_or_insert(segment);
            }
            if let Err(error) = (self.each)(entry) {
                self.failure.set(Some(error));
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}
