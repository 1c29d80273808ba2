//! `barman-cloud-wal-archive`: one WAL file into the bucket, as `archive_command` wants it, and the others that are ready with it.

mod batch;
mod beginning;
mod outgoing;
mod ready;
mod record;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use tapster_catalog::same_content::Unread;
use tapster_catalog::{ArchivedObject, durable, same_content};
use tapster_cloud::{CloudError, PutMode, StoreIdentity, WriteOptions};
use walfile::codec::{Compression, Level};
use walfile::{SystemId, WalName};

pub(super) use self::batch::Batch;
pub(super) use self::outgoing::Outgoing;
pub(super) use self::ready::beside;
pub(super) use self::record::Record;
use self::source::{FileState, Source};
use super::wal_objects::{StoredWal, ending};
use super::wal_owner::system_of;
use super::{CloudServer, CloudWalError};

/// With each file, so many times `parallel` of those that are ready go out: connections are made once for all of them.
const BATCH: usize = 4;
/// More at once would hold more memory than is worth it.
pub(super) const MOST_AT_ONCE: usize = 64;

/// How WAL is archived.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CloudArchiveOptions {
    /// How it is stored; the object's name ends as Barman's does.
    pub compression: Compression,
    /// How hard it is compressed.
    pub level: Level,
    /// Names and values that the store keeps beside each file.
    pub tags: Vec<(String, String)>,
    /// Those of history files instead, if there are any.
    pub history_tags: Vec<(String, String)>,
    /// How many files are uploaded at once, with the one asked for: others that are ready in `archive_status` beside it. 0 and 1
    /// for only that one. Each takes memory for one segment, at most 16 MiB and a part of an upload.
    pub parallel: usize,
    /// Where is noted what was uploaded before it was asked for.
    pub spool_dir: PathBuf,
    /// The place belongs to this cluster from now on, whatever it holds: after `pg_upgrade`, say.
    pub take_over: bool,
}

/// What became of the file that was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloudArchived {
    /// It was uploaded.
    Uploaded,
    /// The same content was there already.
    Identical,
    /// An earlier call uploaded this very file.
    Ahead,
}

/// What was archived.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudArchiveReport {
    /// The file that was asked for.
    pub name: WalName,
    /// What became of it.
    pub archived: CloudArchived,
    /// Those that were uploaded with it.
    pub ahead: Vec<WalName>,
    /// What went wrong with others than the one asked for: they will be asked for in their turn.
    pub warnings: Vec<String>,
}

/// The name in a path that PostgreSQL gives.
pub(super) fn wal_name(path: &Path) -> Result<WalName, CloudWalError> {
    let text = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    text.parse().map_err(|_| CloudWalError::Name { name: path.display().to_string() })
}

/// Whether this very file is in the bucket already, because it was ready when another one was archived. Asks nobody: it takes
/// microseconds. `false` when that is not certain.
///
/// # Errors
/// [`CloudWalError::Name`].
pub fn is_archived_ahead(
    store: &StoreIdentity,
    server: &str,
    path: &Path,
    options: &CloudArchiveOptions,
) -> Result<bool, CloudWalError> {
    let name = wal_name(path)?;
    if options.parallel < 2 || options.take_over {
        return Ok(false);
    }
    Ok(Record::locate(&options.spool_dir, store, server, durable::parent(path)).has(name, path))
}

impl CloudServer {
    /// Archives the file at `path` (PostgreSQL's `%p`), and returns once the store has it, or had the same content already.
    ///
    /// Where Barman replaces what is archived under the name, this refuses unless it is the same.
    ///
    /// # Errors
    /// In all other cases; PostgreSQL must keep the file then. That others could not be uploaded with it is no error.
    pub fn wal_archive(
        &self,
        path: &Path,
        options: &CloudArchiveOptions,
        stop: &AtomicBool,
    ) -> Result<CloudArchiveReport, CloudWalError> {
        let name = wal_name(path)?;
        let mut report = CloudArchiveReport {
            name,
            archived: CloudArchived::Ahead,
            ahead: Vec::new(),
            warnings: Vec::new(),
        };
        let record = self.wal_record(path, options, &mut report.warnings);
        if let Some(record) = &record
            && !options.take_over
            && record.has(name, path)
        {
            return Ok(report);
        }
        let mut source = Source::open(path, name)?;
        let dir = durable::parent(path);
        let mut others = Vec::new();
        if let Some(record) = &record {
            record.forget_told(dir);
            others = beside(path, Some(name), (options.parallel * BATCH).min(MOST_AT_ONCE));
            others.retain(|other| !record.has(*other, &dir.join(other.to_string())));
        }
        let known = record.as_ref().filter(|_| others.is_empty()).and_then(Record::recent_system_id);
        self.check_owner(&source, path, name, (record.as_ref(), known), options)?;
        let there = self.archived_of(std::iter::once(name).chain(others.iter().copied()))?;
        let batch = Batch::new(self, dir, record.as_ref(), options, others, &there, stop);
        let archived = std::thread::scope(|scope| {
            for _ in 1..options.parallel.min(MOST_AT_ONCE) {
                scope.spawn(|| batch.work());
            }
            let own = self.upload(&mut source, name, there.get(&name), options);
            match &own {
                Ok(_) => batch.work(),
                Err(_) => batch.end(),
            }
            own
        });
        let (ahead, warnings) = batch.finish();
        report.archived = archived?.0;
        report.ahead = ahead;
        report.warnings.extend(warnings);
        Ok(report)
    }

    /// Only that file, if it is not noted as archived; then it is.
    pub(super) fn archive_alone(
        &self,
        path: &Path,
        record: &Record,
        options: &CloudArchiveOptions,
    ) -> Result<CloudArchiveReport, CloudWalError> {
        let name = wal_name(path)?;
        let (ahead, warnings) = (Vec::new(), Vec::new());
        let mut report = CloudArchiveReport { name, archived: CloudArchived::Ahead, ahead, warnings };
        if !record.has(name, path) {
            let mut source = Source::open(path, name)?;
            self.check_owner(&source, path, name, (Some(record), record.recent_system_id()), options)?;
            let there = self.archived_of(std::iter::once(name))?;
            let (archived, state) = self.upload(&mut source, name, there.get(&name), options)?;
            report.archived = archived;
            // PostgreSQL asks again when it did not get the answer. Not noted, it is compared then.
            drop(record.add(name, state));
        }
        Ok(report)
    }

    /// Refuses WAL of another cluster than the place has, and its history files: two clusters' timelines have the same names.
    fn check_owner(
        &self,
        source: &Source,
        path: &Path,
        name: WalName,
        (record, known): (Option<&Record>, Option<SystemId>),
        options: &CloudArchiveOptions,
    ) -> Result<(), CloudWalError> {
        match source.system_id.or_else(|| system_of(durable::parent(path))) {
            Some(own) if options.take_over || known != Some(own) => {
                self.claim_noted(own, name, record, options.take_over)
            }
            _ => Ok(()),
        }
    }

    /// Asks again whether the place is still that of the cluster it was noted for.
    pub(super) fn confirm_owner(&self, name: WalName, record: &Record) -> Result<(), CloudWalError> {
        match record.system_id() {
            Some(own) => self.claim_noted(own, name, Some(record), false),
            // What says whose it is will not go there.
            None => Ok(()),
        }
    }

    fn claim_noted(
        &self,
        own: SystemId,
        name: WalName,
        record: Option<&Record>,
        take_over: bool,
    ) -> Result<(), CloudWalError> {
        let claimed = self.claim_for(own, name, take_over);
        match (&claimed, record) {
            // Not noted, it is asked for again the next time.
            (Ok(()), Some(record)) => drop(record.set_system_id(own)),
            (Err(CloudWalError::OtherSystem { .. }), Some(record)) => record.forget_system_id(),
            _ => {}
        }
        claimed
    }

    fn wal_record(
        &self,
        path: &Path,
        options: &CloudArchiveOptions,
        warnings: &mut Vec<String>,
    ) -> Option<Record> {
        if options.parallel < 2 {
            return None;
        }
        let record = Record::locate(
            &options.spool_dir,
            self.store().identity(),
            self.layout().server(),
            durable::parent(path),
        );
        match record.create() {
            Ok(true) => return Some(record),
            Ok(false) => warnings.push(format!(
                "{} is not used because it belongs to another user",
                options.spool_dir.display()
            )),
            Err(error) => warnings.push(format!("cannot use {}: {error}", options.spool_dir.display())),
        }
        None
    }

    /// In which forms these files are archived; those that are not have no entry.
    pub(super) fn archived_of(
        &self,
        names: impl Iterator<Item = WalName>,
    ) -> Result<BTreeMap<WalName, Vec<StoredWal>>, CloudError> {
        let mut wanted: Vec<WalName> = names.collect();
        wanted.sort_unstable();
        let mut found: BTreeMap<WalName, Vec<StoredWal>> = BTreeMap::new();
        let mut keep = |stored: StoredWal| {
            if wanted.binary_search(&stored.name).is_ok() {
                found.entry(stored.name).or_default().push(stored);
            }
        };
        let segments: Vec<_> = wanted.iter().filter_map(|name| name.segment()).collect();
        for dir in segments.chunk_by(|a, b| a.hash_dir() == b.hash_dir()) {
            if let (Some(first), Some(last)) = (dir.iter().min(), dir.iter().max()) {
                self.wals_from(*first, |stored| {
                    let is_within = stored.name.segment().is_some_and(|segment| segment <= *last);
                    if is_within {
                        keep(stored);
                    }
                    is_within
                })?;
            }
        }
        for name in wanted.iter().filter(|name| matches!(name, WalName::History(_))) {
            for form in self.forms(*name)? {
                keep(form);
            }
        }
        Ok(found)
    }

    /// Only the file at `path`, of which all that is archived is `there`.
    pub(super) fn archive_file(
        &self,
        path: &Path,
        name: WalName,
        there: Option<&Vec<StoredWal>>,
        options: &CloudArchiveOptions,
    ) -> Result<(), CloudWalError> {
        let mut source = Source::open(path, name)?;
        self.upload(&mut source, name, there, options).map(drop)
    }

    /// A file from the queue of a backup host. Whose it is was found out there, as far as it says it; the place is asked once more.
    pub(super) fn archive_queued(
        &self,
        name: WalName,
        path: &Path,
        options: &CloudArchiveOptions,
    ) -> Result<ArchivedObject, CloudWalError> {
        let mut source = Source::open(path, name)?;
        if let Some(own) = source.system_id {
            self.claim_for(own, name, options.take_over)?;
        }
        let there = self.archived_of(std::iter::once(name))?;
        let there = there.get(&name);
        let archived = match self.upload(&mut source, name, there, options) {
            // What cannot be decompressed is never replaced, and the new one is kept as well.
            Err(CloudWalError::Different { .. } | CloudWalError::Content { .. }) => {
                return Ok(ArchivedObject::Different);
            }
            archived => archived?.0,
        };
        let key = match there.and_then(|there| there.first()) {
            Some(stored) => stored.key.clone(),
            None => format!("{}{}", self.layout().wal(name), ending(options.compression)),
        };
        let size = self.store().head(&key)?.size;
        Ok(match archived {
            CloudArchived::Uploaded => ArchivedObject::New { size },
            CloudArchived::Identical | CloudArchived::Ahead => ArchivedObject::Same { size },
        })
    }

    /// Puts `source` into the bucket, unless what is `there` is the same.
    fn upload(
        &self,
        source: &mut Source,
        name: WalName,
        there: Option<&Vec<StoredWal>>,
        options: &CloudArchiveOptions,
    ) -> Result<(CloudArchived, FileState), CloudWalError> {
        if let Some(there) = there.filter(|there| !there.is_empty()) {
            return match (name, self.compare_with(source, there)) {
                (WalName::Partial(_), Err(CloudWalError::Different { .. })) => {
                    self.settle_beginning(source, name, there, options)
                }
                (_, compared) => compared,
            };
        }
        let (key, state, stored) = self.send_source(source, name, PutMode::Create, options)?;
        match stored {
            Ok(()) => Ok((CloudArchived::Uploaded, state)),
            // Somebody was quicker, or an answer of the store was lost and the request came twice.
            Err(CloudError::Exists { .. }) => {
                let mut again = source.reopen()?;
                self.compare_with(&mut again, &[StoredWal { name, key }])
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends all of `source`. Returns the key, the file that it was, and whether the store has it.
    fn send_source(
        &self,
        source: &mut Source,
        name: WalName,
        mode: PutMode,
        options: &CloudArchiveOptions,
    ) -> Result<(String, FileState, Result<(), CloudError>), CloudWalError> {
        let key = format!("{}{}", self.layout().wal(name), ending(options.compression));
        let mut write = WriteOptions::default();
        write.mode = mode;
        write.tags.clone_from(match name {
            WalName::History(_) if !options.history_tags.is_empty() => &options.history_tags,
            _ => &options.tags,
        });
        let expected = match options.compression {
            Compression::None => source.length,
            _ => source.length / 3,
        };
        let out = Outgoing::new(self.store(), &key, write, expected);
        let out = out.fill(name, source, options.compression, options.level)?;
        let state = source.finish()?;
        Ok((key, state, out.finish()))
    }

    /// Success if every form that is archived has the content of `source`.
    fn compare_with(
        &self,
        source: &mut Source,
        there: &[StoredWal],
    ) -> Result<(CloudArchived, FileState), CloudWalError> {
        let mut state = None;
        for stored in there {
            let mut again = source.reopen()?;
            let same = same_content::readers(&mut again, self.open_wal(stored)?);
            let same = same.map_err(|unread| match unread {
                Unread::First(source) => {
                    CloudWalError::Read { path: PathBuf::from(stored.name.to_string()), source }
                }
                Unread::Second(source) => self.unreadable(stored, source),
            });
            if !same? {
                let (name, store) = (stored.name, self.store().url().to_string());
                return Err(CloudWalError::Different { name, store, key: stored.key.clone() });
            }
            state = Some(again.finish()?);
        }
        match state {
            Some(state) => Ok((CloudArchived::Identical, state)),
            None => Err(CloudError::Stopped.into()),
        }
    }
}
