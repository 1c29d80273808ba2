//! One archive on an open file (`-D -`): the tar stream as it comes, with the manifest as its last member.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use tapster_copy::archive::ArchiveCompression;
use tapster_copy::tar::{Event, Parser, Region, TarError, member_header};
use tempfile::SpooledTempFile;
use walfile::codec::{Compression, Encoder, Level, encoder};

use super::error::BaseBackupToolError;
use crate::tools::recovery_settings::RecoveryFile;

const BLOCK: usize = 512;
const ZEROS: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Largest member that is changed on the way.
const MAX_CHANGED: u64 = 16 * 1024 * 1024;
/// Part of a manifest kept in memory; its length must be known before it can become a member.
const MANIFEST_IN_MEMORY: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct StdoutArchive {
    output: Encoder<BufWriter<Arc<File>>>,
    /// `None` for an archive that the server compressed: it goes through as it is.
    parser: Option<Parser>,
    /// The header of a member whose name is not known yet.
    held: Vec<u8>,
    /// A member being changed: what is added, its mode, its content so far.
    changing: Option<(RecoveryFile, u32, Vec<u8>)>,
    recovery: Vec<RecoveryFile>,
    manifest: Option<SpooledTempFile>,
    time: u64,
}

impl StdoutArchive {
    pub(super) fn create(
        output: Arc<File>,
        compression: ArchiveCompression,
        opaque: bool,
        recovery: Vec<RecoveryFile>,
        time: u64,
    ) -> Result<Self, BaseBackupToolError> {
        let (codec, level) = match compression {
            ArchiveCompression::None => (Compression::None, Level::Medium),
            ArchiveCompression::Gzip(level) => {
                (Compression::Gzip, Level::Exact(i32::try_from(level).unwrap_or(6)))
            }
            ArchiveCompression::Lz4 => (Compression::Lz4, Level::Medium),
            ArchiveCompression::Zstd { level, .. } => (Compression::Zstd, Level::Exact(level)),
            _ => {
                return Err(BaseBackupToolError::Unsupported(
                    "compression method is not supported on stdout",
                ));
            }
        };
        let output = encoder(BufWriter::with_capacity(256 * 1024, output), codec, level);
        Ok(Self {
            output: output.map_err(|error| BaseBackupToolError::Stdout(error.into()))?,
            parser: (!opaque).then(Parser::new),
            held: Vec::new(),
            changing: None,
            recovery,
            manifest: None,
            time,
        })
    }

    pub(super) fn manifest(&mut self) {
        self.manifest = Some(tempfile::spooled_tempfile(MANIFEST_IN_MEMORY));
    }

    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<(), BaseBackupToolError> {
        if let Some(manifest) = &mut self.manifest {
            return manifest
                .write_all(bytes)
                .map_err(BaseBackupToolError::file("write to file", "backup_manifest"));
        }
        match self.parser.take() {
            None => self.put(bytes),
            Some(mut parser) => {
                let passed = self.pass(&mut parser, bytes);
                self.parser = Some(parser);
                passed
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BaseBackupToolError> {
        self.output.write_all(bytes).map_err(BaseBackupToolError::Stdout)
    }

    fn pass(&mut self, parser: &mut Parser, bytes: &[u8]) -> Result<(), BaseBackupToolError> {
        let mut input = bytes;
        loop {
            let (region, before) = (parser.region(), input);
            let event = parser.next(&mut input).map_err(tar)?;
            let used = before.get(..before.len().saturating_sub(input.len())).unwrap_or_default();
            match (region, &mut self.changing, &event) {
                (Region::Header, ..) => self.held.extend_from_slice(used),
                (Region::Body, Some((_, _, content)), Some(Event::Data(data))) => {
                    content.extend_from_slice(data)
                }
                (Region::Body, None, _) => self.put(used)?,
                _ => {}
            }
            match event {
                None => return Ok(()),
                Some(Event::Member(member)) => {
                    let index = self.recovery.iter().position(|file| member.path == Path::new(file.name));
                    if let Some(index) = index {
                        if member.size > MAX_CHANGED {
                            return Err(BaseBackupToolError::Unsupported("configuration file is too large"));
                        }
                        self.changing = Some((self.recovery.remove(index), member.mode, Vec::new()));
                    } else {
                        let held = std::mem::take(&mut self.held);
                        self.put(&held)?;
                        self.held = held;
                    }
                    self.held.clear();
                }
                Some(Event::End) => {
                    if let Some((file, mode, mut content)) = self.changing.take() {
                        content.extend_from_slice(&file.content);
                        self.member(file.name, mode, &content)?;
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn member(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<(), BaseBackupToolError> {
        let header = member_header(name, content.len() as u64, mode, self.time).map_err(tar)?;
        self.put(&header)?;
        self.put(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, length: usize) -> Result<(), BaseBackupToolError> {
        let padding = length.next_multiple_of(BLOCK) - length;
        self.put(ZEROS.get(..padding).unwrap_or_default())
    }

    pub(super) fn finish(mut self) -> Result<(), BaseBackupToolError> {
        if let Some(parser) = &self.parser {
            parser.finish().map_err(tar)?;
            for file in std::mem::take(&mut self.recovery) {
                self.member(file.name, 0o600, &file.content)?;
            }
            if let Some(manifest) = self.manifest.take() {
                self.put_manifest(manifest)?;
            }
            self.put(&ZEROS)?;
        }
        let ended = self.output.finish().and_then(|mut writer| writer.flush());
        ended.map_err(BaseBackupToolError::Stdout)
    }

    fn put_manifest(&mut self, mut manifest: SpooledTempFile) -> Result<(), BaseBackupToolError> {
        let failed = |error: io::Error| BaseBackupToolError::File {
            action: "read file",
            path: "backup_manifest".into(),
            source: error,
        };
        let length = manifest.stream_position().map_err(failed)?;
        manifest.seek(SeekFrom::Start(0)).map_err(failed)?;
        let header = member_header("backup_manifest", length, 0o600, self.time).map_err(tar)?;
        self.put(&header)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = manifest.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            self.put(buffer.get(..read).unwrap_or_default())?;
        }
        self.pad(usize::try_from(length % 512).unwrap_or(0))
    }
}

fn tar(error: TarError) -> BaseBackupToolError {
    BaseBackupToolError::Archive(error.into())
}
