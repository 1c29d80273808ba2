//! The one of several forms that a backup takes, behind one set of calls.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tapster_copy::archive::{ArchiveOptions, ArchiveWriter, Injection};
use tapster_copy::{ExtractOptions, SyncMethod, TarExtractor, Unpacker};
use walfile::codec::Compression;

use super::error::BaseBackupToolError;
use super::options::{BaseBackupOptions, Target};
use super::stdout::StdoutArchive;
use crate::tools::recovery_settings::RecoveryFile;

#[derive(Debug)]
pub(super) enum Destination {
    Plain { extractor: Box<TarExtractor>, files: StandbyFiles },
    Unpacked { unpacker: Unpacker, files: StandbyFiles },
    Archives(Box<ArchiveWriter>),
    Stdout(Box<StdoutArchive>),
}

/// What makes a plain backup a standby.
#[derive(Debug)]
pub(super) struct StandbyFiles {
    directory: PathBuf,
    files: Vec<RecoveryFile>,
    mode: u32,
    sync: bool,
}

impl Destination {
    /// `extract` matters to a plain backup only.
    pub(super) fn create(
        options: &BaseBackupOptions,
        extract: ExtractOptions,
        recovery: Vec<RecoveryFile>,
        file_mode: u32,
    ) -> Result<Self, BaseBackupToolError> {
        Ok(match &options.target {
            Target::Plain { directory, .. } => {
                let files = StandbyFiles {
                    directory: directory.clone(),
                    files: recovery,
                    mode: file_mode,
                    sync: options.sync != SyncMethod::None,
                };
                let extractor = TarExtractor::create(directory, extract)?;
                match &options.server_compression {
                    None => Self::Plain { extractor: Box::new(extractor), files },
                    Some(_) => Self::Unpacked { unpacker: Unpacker::start(extractor), files },
                }
            }
            Target::Tar { directory, compression } => {
                let mut archive = ArchiveOptions::default();
                archive.compression = *compression;
                archive.sync = options.sync;
                archive.mtime = options.time;
                archive.injections = recovery
                    .into_iter()
                    .map(|file| Injection::Append { name: file.name.to_owned(), content: file.content })
                    .collect();
                archive.server_suffix = options.server_compression.as_ref().map(|compression| {
                    let method = compression.algorithm.to_ascii_lowercase();
                    match method.as_str() {
                        "gzip" => ".gz".to_owned(),
                        "zstd" => ".zst".to_owned(),
                        other => format!(".{other}"),
                    }
                });
                Self::Archives(Box::new(ArchiveWriter::create(directory, archive)?))
            }
            Target::Stdout { output, compression } => Self::Stdout(Box::new(StdoutArchive::create(
                Arc::clone(output),
                *compression,
                options.server_compression.is_some(),
                recovery,
                options.time,
            )?)),
        })
    }

    pub(super) fn archive(&mut self, oid: Option<u32>, name: &str) -> Result<(), BaseBackupToolError> {
        match self {
            Self::Plain { extractor, .. } => extractor.start_archive(oid)?,
            Self::Unpacked { unpacker, .. } => unpacker.start_archive(oid, compression_of(name))?,
            Self::Archives(writer) => writer.start_archive(oid)?,
            Self::Stdout(_) => {}
        }
        Ok(())
    }

    pub(super) fn manifest(&mut self) -> Result<(), BaseBackupToolError> {
        match self {
            Self::Plain { extractor, .. } => extractor.start_manifest()?,
            Self::Unpacked { unpacker, .. } => unpacker.start_manifest()?,
            Self::Archives(writer) => writer.start_manifest()?,
            Self::Stdout(archive) => archive.manifest(),
        }
        Ok(())
    }

    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<(), BaseBackupToolError> {
        match self {
            Self::Plain { extractor, .. } => extractor.feed(bytes)?,
            Self::Unpacked { unpacker, .. } => unpacker.feed(bytes)?,
            Self::Archives(writer) => writer.feed(bytes)?,
            Self::Stdout(archive) => return archive.data(bytes),
        }
        Ok(())
    }

    /// Everything on disk, the control file and the manifest last.
    pub(super) fn finish(self) -> Result<(), BaseBackupToolError> {
        match self {
            Self::Plain { extractor, files } => {
                files.write()?;
                extractor.finish()?;
            }
            Self::Unpacked { unpacker, files } => {
                let extractor = unpacker.into_extractor()?;
                files.write()?;
                extractor.finish()?;
            }
            Self::Archives(writer) => {
                writer.finish()?;
            }
            Self::Stdout(archive) => archive.finish()?,
        }
        Ok(())
    }
}

/// By the ending of the archive's name.
fn compression_of(name: &str) -> Compression {
    match name.rsplit('.').next() {
        Some("gz") => Compression::Gzip,
        Some("lz4") => Compression::Lz4,
        Some("zst") => Compression::Zstd,
        _ => Compression::None,
    }
}

impl StandbyFiles {
    fn write(&self) -> Result<(), BaseBackupToolError> {
        for file in &self.files {
            let path = self.directory.join(file.name);
            self.append(&path, &file.content).map_err(BaseBackupToolError::file("write to file", &path))?;
        }
        Ok(())
    }

    /// No rename: a backup that is cut off here has no control file, so nothing half-written is ever read.
    fn append(&self, path: &Path, content: &[u8]) -> std::io::Result<()> {
        let mut file = File::options().append(true).create(true).mode(self.mode).open(path)?;
        file.write_all(content)?;
        if self.sync { file.sync_all() } else { Ok(()) }
    }
}
