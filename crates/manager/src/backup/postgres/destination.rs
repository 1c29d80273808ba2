//! Where the stream goes, behind one set of calls.

use std::path::{Path, PathBuf};

use tapster_copy::archive::{ArchiveOptions, ArchiveWriter};
use tapster_copy::pages::PageReport;
use tapster_copy::{ExtractOptions, TarExtractor, Unpacker};
use walfile::codec::Compression;

use super::form::Form;
use crate::backup::BackupStepError;

/// What was seen on the way.
pub(super) struct Stored {
    /// The label; where it was not seen, it is a file.
    pub(super) label: Option<Vec<u8>>,
    pub(super) pages: Option<PageReport>,
}

pub(super) enum Destination {
    Plain(Box<TarExtractor>),
    /// Compressed on the way only.
    Unpacked(Unpacker),
    Archives(Box<ArchiveWriter>, PathBuf),
}

impl Destination {
    /// Below `data`; the options for extracting hold the tablespaces' places, the checksum of the manifest to come and the rules
    /// for pages.
    pub(super) fn create(form: &Form, data: &Path, extract: ExtractOptions) -> Result<Self, BackupStepError> {
        let mut archive = ArchiveOptions::default();
        archive.inspect = true;
        archive.checksum = extract.checksum;
        archive.pages = extract.pages;
        match form {
            Form::Plain(None) => Ok(Self::Plain(Box::new(TarExtractor::create(data, extract)?))),
            Form::Plain(Some(_)) => Ok(Self::Unpacked(Unpacker::start(TarExtractor::create(data, extract)?))),
            Form::Archives(compression, _) => {
                archive.compression = *compression;
                Ok(Self::Archives(Box::new(ArchiveWriter::create(data, archive)?), data.to_owned()))
            }
            Form::FromServer(_, word) => {
                archive.server_suffix = Some(suffix(word).to_owned());
                Ok(Self::Archives(Box::new(ArchiveWriter::create(data, archive)?), data.to_owned()))
            }
        }
    }

    /// The name tells how the server compressed it.
    pub(super) fn start_archive(&mut self, oid: Option<u32>, name: &str) -> Result<(), BackupStepError> {
        match self {
            Self::Plain(extractor) => extractor.start_archive(oid)?,
            Self::Unpacked(unpacker) => unpacker.start_archive(oid, compression_of(name))?,
            Self::Archives(writer, _) => writer.start_archive(oid)?,
        }
        Ok(())
    }

    pub(super) fn start_manifest(&mut self) -> Result<(), BackupStepError> {
        match self {
            Self::Plain(extractor) => extractor.start_manifest()?,
            Self::Unpacked(unpacker) => unpacker.start_manifest()?,
            Self::Archives(writer, _) => writer.start_manifest()?,
        }
        Ok(())
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), BackupStepError> {
        match self {
            Self::Plain(extractor) => extractor.feed(bytes)?,
            Self::Unpacked(unpacker) => unpacker.feed(bytes)?,
            Self::Archives(writer, _) => writer.feed(bytes)?,
        }
        Ok(())
    }

    /// Compared with the manifest, and on disk.
    pub(super) fn finish(self) -> Result<Stored, BackupStepError> {
        match self {
            Self::Plain(extractor) => Ok(Stored { label: None, pages: extractor.finish()?.pages }),
            Self::Unpacked(unpacker) => {
                Ok(Stored { label: None, pages: unpacker.into_extractor()?.finish()?.pages })
            }
            Self::Archives(writer, data) => {
                let report = writer.finish()?;
                let path = data.join("backup_label");
                let problem = "it is not in the archive".to_owned();
                let label = report.label.ok_or(BackupStepError::Label { path, problem })?;
                Ok(Stored { label: Some(label), pages: report.pages })
            }
        }
    }
}

/// By the ending of an archive's name.
fn compression_of(name: &str) -> Compression {
    match name.rsplit('.').next() {
        Some("gz") => Compression::Gzip,
        Some("lz4") => Compression::Lz4,
        Some("zst") => Compression::Zstd,
        _ => Compression::None,
    }
}

/// What archives end with, by the word for the compression in a record.
fn suffix(word: &str) -> &'static str {
    match word {
        "gzip" => ".gz",
        "lz4" => ".lz4",
        "zstd" => ".zst",
        _ => "",
    }
}
