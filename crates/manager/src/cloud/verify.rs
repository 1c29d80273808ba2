//! A base backup in an object store against the manifest in it, with no place to put it.
//!
//! Its archives come as for a restore, several ranges at a time, and are unpacked on the way; what is kept is the name, size and
//! checksum of each file, beyond 1 MiB in a temporary file, and the manifest until everything has come.

use std::io;
use std::path::{Path, PathBuf};

use tapster_catalog::BackupRecord;
use tapster_copy::extract::{Outlet, TablespaceTarget, TreeSink};
use tapster_copy::tar::NewMember;
use tapster_copy::{ChecksumAlgorithm, ExtractError, ExtractOptions, TarExtractor, Unpacker};

use super::CloudServer;
use super::restore::{ArchiveObject, CloudBackupChoice, CloudRestoreError, CloudTarget, CloudWal, Ranges};
use crate::Context;
use crate::event::Progress;

/// Options of [`CloudServer::verify_backup`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CloudVerifyOptions {
    /// Look whether the WAL that the backup needs is there. It is not read.
    pub wal: bool,
    /// Ranges of an object that come at the same time, of 8 MiB each; what the store's options say for 0.
    pub connections: usize,
}

impl Default for CloudVerifyOptions {
    fn default() -> Self {
        Self { wal: true, connections: 0 }
    }
}

/// What was found.
#[derive(Debug)]
#[non_exhaustive]
pub struct CloudVerifyReport {
    /// The backup.
    pub record: BackupRecord,
    /// Its archives, each part counted.
    pub archives: usize,
    /// Bytes of them, as stored.
    pub stored: u64,
    /// Regular files in them; 0 when there is a fault.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// The first thing that is wrong with its files.
    pub fault: Option<CloudFault>,
    /// The WAL, if it was looked for.
    pub wal: Option<CloudWal>,
}

impl CloudVerifyReport {
    /// Whether the backup can be relied on.
    pub fn is_ok(&self) -> bool {
        self.fault.is_none() && self.wal.as_ref().is_none_or(|wal| wal.missing.is_empty())
    }
}

/// What is wrong with the files of a backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudFault {
    /// An archive, or a part of it, is not in the store.
    #[error("archive {key}.tar is missing")]
    Missing {
        /// Its key, without the ending.
        key: String,
    },
    /// An archive cannot be read to its end.
    #[error("archive {key} is damaged: {source}")]
    Archive {
        /// The object.
        key: String,
        /// Why not.
        source: ExtractError,
    },
    /// The files are not what the manifest says, or no server can start with them.
    #[error(transparent)]
    Files(ExtractError),
    /// There is nothing to compare the files with. Barman's own tool stores no manifest.
    #[error(
        "its archives can be read, but hold no backup_manifest with CRC32C checksums to compare the files with"
    )]
    NoManifest,
}

/// Takes members, and leaves them.
#[derive(Debug)]
struct Nowhere;

impl Outlet for Nowhere {
    fn open(&self, _: &Path) -> io::Result<Box<dyn TreeSink>> {
        Ok(Box::new(Self))
    }
}

impl TreeSink for Nowhere {
    fn start(&mut self, _: &NewMember<'_>) -> io::Result<()> {
        Ok(())
    }

    fn data(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

impl CloudServer {
    /// Reads every archive of a backup and compares names, sizes and checksums of the files with the manifest.
    ///
    /// # Errors
    /// When there is no such backup, it is not complete, or the store cannot be read. What is wrong with it is in the report.
    pub fn verify_backup(
        &self,
        choice: &CloudBackupChoice,
        options: &CloudVerifyOptions,
        context: &Context<'_>,
    ) -> Result<CloudVerifyReport, CloudRestoreError> {
        let record = self.choose(choice, CloudTarget::End, None)?;
        if record.snapshots_info.is_some() {
            return Err(CloudRestoreError::Snapshots { id: record.id });
        }
        let wal = if options.wal { Some(self.wal_for(&record)?) } else { None };
        let mut report =
            CloudVerifyReport { record, archives: 0, stored: 0, files: 0, bytes: 0, fault: None, wal };
        let archives = match self.archives(&report.record) {
            Err(CloudRestoreError::MissingArchive { key, .. }) => {
                report.fault = Some(CloudFault::Missing { key });
                return Ok(report);
            }
            archives => archives?,
        };
        report.archives = archives.len();
        report.stored = archives.iter().map(|archive| archive.size).sum();
        report.fault = self.read_archives(&archives, &mut report, options, context)?;
        Ok(report)
    }

    fn read_archives(
        &self,
        archives: &[ArchiveObject],
        report: &mut CloudVerifyReport,
        options: &CloudVerifyOptions,
        context: &Context<'_>,
    ) -> Result<Option<CloudFault>, CloudRestoreError> {
        let mut extract = ExtractOptions::default();
        (extract.manifest_inside, extract.keep_links) = (true, true);
        extract.checksum = Some(ChecksumAlgorithm::Crc32c);
        for tablespace in &report.record.tablespaces {
            // Nothing is made there; it only has to be somewhere else than the data directory.
            let place = PathBuf::from(format!("/{}", tablespace.oid));
            extract.tablespaces.insert(tablespace.oid, TablespaceTarget::Directory(place));
        }
        let mut extractor = TarExtractor::relay(Path::new("/"), extract, Box::new(Nowhere))?;
        let (mut done, total) = (0_u64, Some(report.stored));
        let ranges = Ranges::new(self.store(), options.connections);
        for archive in archives {
            tracing::info!("Reading {}", archive.key);
            // One for each archive, so that it is known which of them a failure is of.
            let mut unpacker = Unpacker::start(extractor);
            let fed = ranges.feed(&mut unpacker, archive, &|| context.stopped(), &mut |bytes| {
                done = done.saturating_add(bytes);
                context.observer.progress(Progress { done, total });
            });
            let read = match fed {
                Err(CloudRestoreError::Extract(error)) => Err(error),
                fed => {
                    fed?;
                    unpacker.into_extractor().and_then(|mut extractor| {
                        extractor.finish_archive()?;
                        Ok(extractor)
                    })
                }
            };
            extractor = match read {
                Err(error @ ExtractError::Io(_)) => return Err(error.into()),
                Err(source) => return Ok(Some(CloudFault::Archive { key: archive.key.clone(), source })),
                Ok(extractor) => extractor,
            };
        }
        match extractor.finish_without_control() {
            Err(error @ ExtractError::Io(_)) => Err(error.into()),
            Err(error) => Ok(Some(CloudFault::Files(error))),
            Ok((found, _)) => {
                (report.files, report.bytes) = (found.files, found.bytes);
                Ok(found.manifest.is_none().then_some(CloudFault::NoManifest))
            }
        }
    }
}
