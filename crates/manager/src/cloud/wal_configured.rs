//! `cloud-wal-archive` and `cloud-wal-restore`: archive and restore command of a server whose `wals_directory` is an address, on
//! PostgreSQL's own host.
//!
//! Beside the objects there are the index of WAL and `meta/cloud-wal-last-archived` here, as Barman 3.19 has them
//! (`barman/wal_archiver.py`). The latter is written for Barman and not believed: a name says nothing of a cluster that was restored.
//! What was uploaded before PostgreSQL asked for it is noted as for `cloud wal-archive`.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use tapster_catalog::durable::{self, DurableError, RealDisk};
use tapster_catalog::{XlogDb, XlogDbError, XlogEntry};
use tapster_cloud::CloudError;
use thiserror::Error;
use walfile::codec::Compression;
use walfile::{SegmentSize, WalName};

use super::wal_objects::ending;
use super::{
    CloudArchiveOptions, CloudArchiveReport, CloudArchived, CloudRestoreOptions, CloudRestored, CloudServer,
    CloudWalError,
};
use crate::archive_wal::{ArchiveError, ArchiveOptions, Told};
use crate::config::{BackupMethod, HookEvent};
use crate::hooks::wal_variables;
use crate::{Context, HookAbort, ObjectStoreError, Server};

/// For Barman: up to this segment, all are archived.
const LAST_ARCHIVED: &str = "cloud-wal-last-archived";
/// What was archived before PostgreSQL asked for it, below `meta/`.
const AHEAD: &str = "cloud-wal-archive";

/// How [`Server::cloud_wal_archive`] archives, beside what is configured.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ConfiguredArchiveOptions {
    /// How many files are uploaded at once; as configured when it is `None`.
    pub parallel: Option<u32>,
    /// The place belongs to this cluster from now on, whatever it holds: after `pg_upgrade`, say.
    pub take_over: bool,
}

/// WAL was not archived or restored; the texts are Barman's where it has them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfiguredWalError {
    /// `backup_method` is another one.
    #[error(
        "cloud-wal-archive is only supported for servers with 'backup_method' set to 'local-to-cloud'. Please check the configuration \
         of server {server}."
    )]
    Method {
        /// Server name.
        server: String,
    },
    /// `wals_directory` is a directory.
    #[error(
        "{command} is not supported for server {server} because no cloud storage configuration is set in 'wals_directory'. Please \
         check the configuration of the server."
    )]
    NoAddress {
        /// The command.
        command: &'static str,
        /// Server name.
        server: String,
    },
    /// The path is that of a directory.
    #[error("wal_path cannot be a directory: {}", path.display())]
    Directory {
        /// The path.
        path: PathBuf,
    },
    /// There is no such file.
    #[error("WAL file does not exist: {}", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// That is no name of a WAL file.
    #[error("File is not a valid WAL file: {name}")]
    Name {
        /// What was given.
        name: String,
    },
    /// The store or the file failed.
    #[error("Archival of WAL file {} failed: {source}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<CloudWalError>,
    },
    /// A script before archiving wants it not archived.
    #[error("Archival of WAL file {} failed: {source}", path.display())]
    Hook {
        /// The file.
        path: PathBuf,
        /// Which script.
        source: HookAbort,
    },
    /// It was not restored.
    #[error(transparent)]
    Restore(CloudWalError),
    /// The configured form cannot be stored.
    #[error(transparent)]
    Form(#[from] ArchiveError),
    /// The address cannot be used.
    #[error(transparent)]
    Place(#[from] ObjectStoreError),
    /// It is in the store, but not in the index here.
    #[error("archived, but not listed: {0}")]
    Index(#[from] XlogDbError),
    /// It is in the store and listed, but that is not noted for Barman.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// It is in the store, which does not say how large it is.
    #[error("archived, but not listed: {0}")]
    Store(#[from] CloudError),
}

impl ConfiguredWalError {
    /// Whether the store was reached, and has no such file.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Restore(CloudWalError::Missing { .. }))
    }
}

impl Server {
    /// `archive_command`: the file at `path`, and with `parallel` others that are ready. The setting `cloud_wal_archive_parallel` counts
    /// when that is `None`. With scripts around archiving it is one file at a time, as they expect it.
    ///
    /// # Errors
    /// PostgreSQL must keep the file then.
    pub fn cloud_wal_archive(
        &self,
        path: &Path,
        asked: &ConfiguredArchiveOptions,
        context: &Context<'_>,
    ) -> Result<CloudArchiveReport, ConfiguredWalError> {
        if path.is_dir() {
            return Err(ConfiguredWalError::Directory { path: path.to_owned() });
        }
        if !path.exists() {
            return Err(ConfiguredWalError::NoFile { path: path.to_owned() });
        }
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let Some(name): Option<WalName> = name else {
            return Err(ConfiguredWalError::Name { name: path.display().to_string() });
        };
        if self.config.backup_method != BackupMethod::LocalToCloud {
            return Err(ConfiguredWalError::Method { server: self.name().to_owned() });
        }
        let bucket = self.configured("cloud-wal-archive")?;
        let form = self.ingest_options(&ArchiveOptions::default(), context)?;
        let mut options = CloudArchiveOptions::default();
        (options.compression, options.level) = (form.compression, form.compression_level);
        let parallel = asked.parallel.unwrap_or(self.config.cloud.wal_archive_parallel);
        options.parallel = usize::try_from(parallel).unwrap_or(usize::MAX);
        options.take_over = asked.take_over;
        options.spool_dir = self.layout().meta.join(AHEAD);
        self.create_directories()?;
        let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let spelled = form.compression_name.as_deref().map(|spelled| (form.compression, spelled));
        if !self.has_hooks(HookEvent::Archive) {
            return self.archive_and_list(&bucket, (path, name), options, spelled, context);
        }
        options.parallel = 1;
        // Scripts are told where the file is here, before and after, as in Barman.
        let mut entry = self.entry_for_scripts(name, [path, path]);
        let before = self.hooks_before(HookEvent::Archive, &wal_variables(&entry, path, ""), context);
        let done = match before {
            Ok(()) => self.archive_and_list(&bucket, (path, name), options, spelled, context),
            Err(source) => Err(ConfiguredWalError::Hook { path: path.clone(), source }),
        };
        match &done {
            Ok(report) => {
                if let Ok(Some((size, compression))) = bucket.stored_as(name) {
                    (entry.size, entry.compression) = (size, spelling(compression, spelled));
                }
                let is_new = report.archived == CloudArchived::Uploaded;
                let told = if is_new { Told::Archived } else { Told::Again };
                self.scripts_after_archiving(&entry, path, &told, context);
            }
            Err(error) => {
                let why = match error {
                    ConfiguredWalError::Archive { source, .. } => source.to_string(),
                    ConfiguredWalError::Hook { source, .. } => source.to_string(),
                    error => error.to_string(),
                };
                self.scripts_after_archiving(&entry, path, &Told::Not(&why), context);
            }
        }
        done
    }

    fn archive_and_list(
        &self,
        bucket: &CloudServer,
        (path, name): (&Path, WalName),
        mut options: CloudArchiveOptions,
        spelled: Option<(Compression, &str)>,
        context: &Context<'_>,
    ) -> Result<CloudArchiveReport, ConfiguredWalError> {
        let archive = |options: &CloudArchiveOptions| {
            bucket.wal_archive(path, options, &context.stop).map_err(|error| ConfiguredWalError::Archive {
                path: path.to_owned(),
                source: Box::new(error),
            })
        };
        let mut report = archive(&options)?;
        if let Listed::IsAway = self.list_archived(bucket, path, &report, spelled, context)? {
            report
                .warnings
                .push(format!("{name} was archived ahead and is not there any more; it is archived again"));
            // Without what is noted of files that were archived ahead.
            options.parallel = 1;
            let again = archive(&options)?;
            report.archived = again.archived;
            report.warnings.extend(again.warnings);
            if let Listed::IsAway = self.list_archived(bucket, path, &report, spelled, context)? {
                let (store, key) = (bucket.store().url().to_string(), bucket.layout().wal(name));
                return Err(CloudError::NotFound { store, key }.into());
            }
        }
        if report.archived != CloudArchived::Ahead
            && let WalName::Segment(_) = name
        {
            self.note_for_barman(last_in_row(path, name, &report.ahead))?;
        }
        Ok(report)
    }

    /// `restore_command`: `name` to `destination`, and more of what follows into the spool when
    /// [`CloudRestored::fetch_ahead`] says that it is time for [`Server::cloud_wal_fetch_ahead`].
    ///
    /// # Errors
    /// [`ConfiguredWalError::is_missing`] when the store has no such file; every other error says nothing about that.
    pub fn cloud_wal_restore(
        &self,
        name: &str,
        destination: &Path,
        parallel: Option<u64>,
        spool_dir: &Path,
        stop: &AtomicBool,
    ) -> Result<CloudRestored, ConfiguredWalError> {
        if name.parse::<WalName>().is_err() {
            return Err(ConfiguredWalError::Name { name: name.to_owned() });
        }
        let bucket = self.configured("cloud-wal-restore")?;
        let options = self.cloud_restore_options(parallel, spool_dir);
        bucket.wal_restore(name, destination, &options, stop).map_err(ConfiguredWalError::Restore)
    }

    /// Fetches what follows `after`, beside the replay of that. Returns how many files came.
    ///
    /// # Errors
    /// The first one ends it. What came until then is in the spool.
    pub fn cloud_wal_fetch_ahead(
        &self,
        after: walfile::SegmentName,
        destination: &Path,
        parallel: Option<u64>,
        spool_dir: &Path,
        stop: &AtomicBool,
    ) -> Result<usize, ConfiguredWalError> {
        let bucket = self.configured("cloud-wal-restore")?;
        let options = self.cloud_restore_options(parallel, spool_dir);
        bucket.fetch_wal_ahead(after, destination, &options, stop).map_err(ConfiguredWalError::Restore)
    }

    fn cloud_restore_options(&self, parallel: Option<u64>, spool_dir: &Path) -> CloudRestoreOptions {
        let parallel = parallel.unwrap_or_else(|| self.config.cloud.wal_restore_parallel.into());
        CloudRestoreOptions { parallel, spool_dir: spool_dir.to_owned(), ..CloudRestoreOptions::default() }
    }

    fn configured(&self, command: &'static str) -> Result<CloudServer, ConfiguredWalError> {
        let none = || ConfiguredWalError::NoAddress { command, server: self.name().to_owned() };
        self.wals_bucket()?.ok_or_else(none)
    }

    /// No step back on a timeline: what was archived ahead would be archived once more, and listed.
    fn note_for_barman(&self, last: WalName) -> Result<(), DurableError> {
        let path = self.layout().meta.join(LAST_ARCHIVED);
        let mut noted = String::new();
        let read = fs::File::open(&path).and_then(|file| file.take(1024).read_to_string(&mut noted));
        let noted: Option<WalName> = read.ok().and_then(|_| noted.trim().parse().ok());
        if noted.is_some_and(|noted| noted.timeline() == last.timeline() && noted >= last) {
            return Ok(());
        }
        durable::replace(&RealDisk, &path, last.to_string().as_bytes())
    }

    /// A line in the index for each file that has none: those of this run, and one of an earlier run that was killed before that.
    /// None of them when the one that was asked for is not in the store.
    fn list_archived(
        &self,
        bucket: &CloudServer,
        path: &Path,
        report: &CloudArchiveReport,
        spelled: Option<(Compression, &str)>,
        context: &Context<'_>,
    ) -> Result<Listed, ConfiguredWalError> {
        let mut index = XlogDb::lock(self.catalog.disk(), self.layout(), &context.stop)?;
        let mut missing = Vec::new();
        for name in std::iter::once(report.name).chain(report.ahead.iter().copied()) {
            let is_listed = match report.archived {
                // It may have been archived long ago.
                CloudArchived::Identical if name == report.name => index.contains(name)?,
                _ => index.contains_recent(name)?,
            };
            if !is_listed {
                missing.push(name);
            }
        }
        let mut entries = Vec::new();
        for name in missing {
            let Some((size, compression)) = bucket.stored_as(name)? else {
                if name == report.name {
                    return Ok(Listed::IsAway);
                }
                continue;
            };
            // What PostgreSQL has removed meanwhile was archived and acknowledged by somebody else.
            let Ok(metadata) = fs::metadata(path.with_file_name(name.to_string())) else { continue };
            entries.push(XlogEntry {
                name,
                size,
                mtime: metadata.mtime() as f64 + metadata.mtime_nsec() as f64 * 1e-9,
                compression: spelling(compression, spelled),
                encryption: None,
            });
        }
        index.append(&entries)?;
        Ok(Listed::All)
    }
}

/// What was found when the index was to be written.
enum Listed {
    All,
    /// The store does not have the file that was asked for.
    IsAway,
}

impl CloudServer {
    /// How large an archived file is as it is stored, and what it is compressed with.
    fn stored_as(&self, name: WalName) -> Result<Option<(u64, Compression)>, CloudError> {
        let forms = self.forms(name)?;
        let Some(stored) = forms.into_iter().find(|stored| stored.name == name) else { return Ok(None) };
        let size = self.store().head(&stored.key)?.size;
        let formats = Compression::ALL.iter().filter(|format| **format != Compression::None);
        let compression = formats.copied().find(|format| stored.key.ends_with(ending(*format)));
        Ok(Some((size, compression.unwrap_or(Compression::None))))
    }
}

/// What the index calls it: as the configuration does, if it is that.
fn spelling(compression: Compression, spelled: Option<(Compression, &str)>) -> Option<String> {
    let named = match spelled {
        Some((codec, spelled)) if codec == compression => spelled,
        _ => compression.name(),
    };
    (compression != Compression::None).then(|| named.to_owned())
}

/// The last of those that follow `name` one after the other: Barman takes everything up to it for archived.
fn last_in_row(path: &Path, name: WalName, ahead: &[WalName]) -> WalName {
    let size = fs::metadata(path).ok().and_then(|metadata| SegmentSize::new(metadata.len()).ok());
    let mut last = name;
    while let (WalName::Segment(segment), Some(size)) = (last, size)
        && let Ok(Some(next)) = segment.next(size)
        && ahead.contains(&next.into())
    {
        last = next.into();
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_ends_what_barman_may_take_for_archived() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0000000100000000000000FE");
        fs::File::create(&path).unwrap().set_len(16 << 20).unwrap();
        let name = |text: &str| text.parse::<WalName>().unwrap();
        let first = name("0000000100000000000000FE");
        let last = |ahead: &[&str]| {
            let ahead: Vec<WalName> = ahead.iter().map(|text| name(text)).collect();
            last_in_row(&path, first, &ahead).to_string()
        };
        assert_eq!(last(&[]), first.to_string());
        assert_eq!(last(&["000000010000000100000000"]), first.to_string());
        assert_eq!(
            last(&["0000000100000000000000FF", "000000010000000100000000"]),
            "000000010000000100000000"
        );
        assert_eq!(
            last(&["0000000100000000000000FF", "000000010000000100000001"]),
            "0000000100000000000000FF"
        );
        assert_eq!(last(&["00000002.history"]), first.to_string());
    }
}
