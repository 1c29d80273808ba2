//! The archive writer.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use walfile::codec::Compression;

use super::Part;
use super::check::Check;
use super::compress::{ArchiveCompression, CompressionError, Sink};
use crate::manifest::{FILE_NAME, ManifestSummary};
use crate::pages::{PageReport, PageRules};
use crate::publish::{rename, temporary_name};
use crate::sync::{self, FileSystem, SyncError, SyncMethod, at};
use crate::tar::{BLOCK, Event, Parser, Region, TarError, member_header, padding};
use crate::unpack::Pipe;
use crate::{ChecksumAlgorithm, ExtractError};

/// Largest member that an injection may rewrite.
const MAX_REWRITTEN: u64 = 16 * 1024 * 1024;

/// A member of the base archive to add or change.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Injection {
    /// Add these bytes at the end of the named member, or make it of them alone if the server sends none.
    Append {
        /// Name in the archive.
        name: String,
        /// The bytes.
        content: Vec<u8>,
    },
    /// Put this in the place of the named member, or add it.
    Replace {
        /// Name in the archive.
        name: String,
        /// The bytes.
        content: Vec<u8>,
    },
}

impl Injection {
    fn name(&self) -> &str {
        match self {
            Self::Append { name, .. } | Self::Replace { name, .. } => name,
        }
    }
}

/// How archives are written.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ArchiveOptions {
    /// Compression on this side.
    pub compression: ArchiveCompression,
    /// How they are brought to disk.
    pub sync: SyncMethod,
    /// Changes to the base archive. At most 16 MiB each.
    pub injections: Vec<Injection>,
    /// Modification time of injected members, seconds since 1970.
    pub mtime: u64,
    /// The server compresses: archives are stored as they come, unparsed, with this suffix (`.gz`, `.lz4`,
    /// `.zst`). Neither compression nor injections are possible then.
    pub server_suffix: Option<String>,
    /// Look into the archives on the way, whoever compresses them: the backup label is reported, and without a control file
    /// they are refused.
    pub inspect: bool,
    /// With `inspect`: the checksum the server was asked to put into the manifest, taken of every file and compared in the
    /// end. `None` when there will be no manifest.
    pub checksum: Option<ChecksumAlgorithm>,
    /// With `inspect`: check the pages of relations, those of a cluster with checksums.
    pub pages: Option<PageRules>,
}

/// What was written, as far as it was looked at ([`ArchiveOptions::inspect`]).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ArchiveReport {
    /// Regular files in the archives.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The content of `backup_label`.
    pub label: Option<Vec<u8>>,
    /// What the manifest said, when there was one to compare with; every file agreed with it.
    pub manifest: Option<ManifestSummary>,
    /// What the pages were like, when they were looked at.
    pub pages: Option<PageReport>,
}

/// Archives that could not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The stream is not an acceptable archive.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A file operation failed.
    #[error(transparent)]
    Io(#[from] SyncError),
    /// What is in the archives is not what the manifest says, or cannot be looked at.
    #[error(transparent)]
    Content(#[from] ExtractError),
    /// No such level.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A member to be changed is too large for that.
    #[error("member '{name}' has {size} bytes, too many to be changed on the way (at most {limit})")]
    TooLarge {
        /// Its name.
        name: String,
        /// Its size.
        size: u64,
        /// The most that is changed.
        limit: u64,
    },
    /// A part of an archive could not be stored where it was relayed to.
    #[error("cannot store the archive of {}: {source}", part.tablespace.map_or_else(|| "the data directory".to_owned(), |oid| format!("tablespace {oid}")))]
    Relay {
        /// Which.
        part: Part,
        /// What its writer said.
        source: io::Error,
    },
    /// Options that exclude each other, or data out of place.
    #[error("{what}")]
    Sequence {
        /// What.
        what: &'static str,
    },
}

/// Writes the archives of one base backup into a directory.
///
/// Calls as for [`TarExtractor`](crate::TarExtractor). After an error the backup is lost: `finish` must not
/// be, and is not, reached with it.
#[derive(Debug)]
pub struct ArchiveWriter {
    directory: PathBuf,
    options: ArchiveOptions,
    file_system: Option<FileSystem>,
    archive: Option<Archive>,
    look: Look,
    manifest: Option<(File, PathBuf)>,
    failed: bool,
}

/// Who looks into the archives.
#[derive(Debug)]
enum Look {
    Nobody,
    /// On the way.
    Here(Box<Check>),
    /// A thread that decompresses what the server compressed.
    Beside(Pipe<Check>, Compression),
}

#[derive(Debug)]
struct Archive {
    path: PathBuf,
    sink: Sink,
    /// `None` for an archive that the server compressed.
    parser: Option<Parser>,
    injections: Vec<Injection>,
    mtime: u64,
    /// Headers of a member whose name is not known yet.
    held: Vec<u8>,
    /// The member being rewritten, its mode and what it holds so far.
    rewriting: Option<(Injection, u32, Vec<u8>)>,
    ended: bool,
}

impl ArchiveWriter {
    /// Prepares to write into `directory`, made with mode 0700 if missing.
    ///
    /// # Errors
    /// When it cannot be made, or the options exclude each other.
    pub fn create(directory: &Path, options: ArchiveOptions) -> Result<Self, ArchiveError> {
        options.compression.check()?;
        if let Some(suffix) = &options.server_suffix {
            if options.compression != ArchiveCompression::None || !options.injections.is_empty() {
                let what = "an archive compressed by the server can be neither compressed nor changed";
                return Err(ArchiveError::Sequence { what });
            }
            if ![".gz", ".lz4", ".zst"].contains(&suffix.as_str()) {
                return Err(ArchiveError::Sequence { what: "unknown suffix for a compressed archive" });
            }
        }
        sync::create_dir_all(directory, 0o700)?;
        let syncfs = options.sync == SyncMethod::Syncfs;
        let file_system = if syncfs { Some(FileSystem::open(directory)?) } else { None };
        let look = match (options.inspect, &options.server_suffix) {
            (false, _) => Look::Nobody,
            (true, None) => Look::Here(Box::new(Check::new(directory, options.checksum, options.pages))),
            (true, Some(suffix)) => {
                let compression = match suffix.as_str() {
                    ".gz" => Compression::Gzip,
                    ".lz4" => Compression::Lz4,
                    _ => Compression::Zstd,
                };
                Look::Beside(Pipe::start(Check::new(directory, options.checksum, options.pages)), compression)
            }
        };
        let directory = directory.to_path_buf();
        Ok(Self { directory, options, file_system, archive: None, look, manifest: None, failed: false })
    }

    /// Begins the archive of a tablespace, or of the data directory (`None`).
    ///
    /// # Errors
    /// When the one before cannot be completed, or the file cannot be made (it must not exist).
    pub fn start_archive(&mut self, tablespace: Option<u32>) -> Result<(), ArchiveError> {
        self.guarded(|this| {
            this.end_archive()?;
            match &mut this.look {
                Look::Nobody => {}
                Look::Here(check) => check.begin(tablespace),
                Look::Beside(pipe, compression) => pipe.start_archive(tablespace, *compression)?,
            }
            let stem = tablespace.map_or_else(|| "base".to_owned(), |oid| oid.to_string());
            let own = this.options.compression.suffix();
            let suffix = this.options.server_suffix.as_deref().unwrap_or(own);
            let path = this.directory.join(format!("{stem}.tar{suffix}"));
            let sink =
                Sink::new(create(&path)?, this.options.compression, this.options.sync != SyncMethod::None)
                    .map_err(at("write", &path))?;
            let parser = this.options.server_suffix.is_none().then(Parser::new);
            let injections = if tablespace.is_none() { this.options.injections.clone() } else { Vec::new() };
            this.archive = Some(Archive {
                path,
                sink,
                parser,
                injections,
                mtime: this.options.mtime,
                held: Vec::new(),
                rewriting: None,
                ended: false,
            });
            Ok(())
        })
    }

    /// Begins the manifest.
    ///
    /// # Errors
    /// When the last archive cannot be completed, or the file cannot be made.
    pub fn start_manifest(&mut self) -> Result<(), ArchiveError> {
        self.guarded(|this| {
            this.end_archive()?;
            if this.manifest.is_some() {
                return Err(ArchiveError::Sequence { what: "the server sent a second manifest" });
            }
            let path = temporary_name(&this.directory.join(FILE_NAME));
            this.manifest = Some((create(&path)?, path));
            Ok(())
        })
    }

    /// Takes the next bytes of the archive or manifest begun last.
    ///
    /// # Errors
    /// When they are not acceptable or cannot be written.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.guarded(|this| match (&mut this.archive, &mut this.manifest) {
            (Some(archive), _) => archive.feed(bytes, &mut this.look),
            (None, Some((file, path))) => Ok(file.write_all(bytes).map_err(at("write", path))?),
            (None, None) => Err(ArchiveError::Sequence { what: "data outside an archive" }),
        })
    }

    /// Brings everything to disk and gives the manifest its name.
    ///
    /// # Errors
    /// When the backup is incomplete, differs from its manifest (if that is looked at), or could not be stored.
    pub fn finish(mut self) -> Result<ArchiveReport, ArchiveError> {
        self.guarded(Self::end_archive)?;
        let manifest = self.manifest.as_ref().map(|(_, path)| path.as_path());
        let report = match std::mem::replace(&mut self.look, Look::Nobody) {
            Look::Nobody => ArchiveReport::default(),
            Look::Here(check) => check.finish_with(manifest)?,
            Look::Beside(pipe, _) => pipe.join()?.finish_with(manifest)?,
        };
        let sync = self.options.sync != SyncMethod::None;
        if let Some(file_system) = &self.file_system {
            file_system.sync()?;
        }
        if let Some((file, path)) = self.manifest.take() {
            if sync {
                file.sync_all().map_err(at("fsync", &path))?;
                sync::directory(&self.directory)?;
            }
            rename(&path, &self.directory.join(FILE_NAME))?;
        }
        if sync {
            sync::directory(&self.directory)?;
        }
        Ok(report)
    }

    fn guarded(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        if self.failed {
            return Err(ArchiveError::Sequence { what: "the backup has failed before" });
        }
        let result = step(self);
        self.failed = result.is_err();
        result
    }

    fn end_archive(&mut self) -> Result<(), ArchiveError> {
        if let Some(archive) = self.archive.take() {
            let path = archive.path.clone();
            let file = archive.finish()?;
            if self.options.sync == SyncMethod::Fsync {
                file.sync_all().map_err(at("fsync", &path))?;
            }
        }
        Ok(())
    }
}

fn create(path: &Path) -> Result<File, SyncError> {
    File::options().write(true).create_new(true).mode(0o600).open(path).map_err(at("create", path))
}

impl Archive {
    fn feed(&mut self, bytes: &[u8], look: &mut Look) -> Result<(), ArchiveError> {
        let Some(mut parser) = self.parser.take() else {
            if let Look::Beside(pipe, _) = look {
                pipe.feed(bytes)?;
            }
            return self.put(bytes);
        };
        let result = self.pass(&mut parser, bytes, look);
        self.parser = Some(parser);
        result
    }

    fn pass(&mut self, parser: &mut Parser, bytes: &[u8], look: &mut Look) -> Result<(), ArchiveError> {
        let mut input = bytes;
        loop {
            let (region, before) = (parser.region(), input);
            let event = parser.next(&mut input)?;
            if let (Look::Here(check), Some(event)) = (&mut *look, &event) {
                check.event(event)?;
            }
            let used = before.get(..before.len().saturating_sub(input.len())).unwrap_or_default();
            match region {
                Region::Header => self.held.extend_from_slice(used),
                Region::Body => match (&mut self.rewriting, &event) {
                    (Some((_, _, content)), Some(Event::Data(data))) => content.extend_from_slice(data),
                    (Some(_), _) => {}
                    (None, _) => self.put(used)?,
                },
                Region::Trailer => {}
            }
            match event {
                None => return Ok(()),
                Some(Event::Member(member)) => {
                    let known = |injection: &Injection| member.path == Path::new(injection.name());
                    match self.injections.iter().position(known) {
                        Some(index) => {
                            let injection = self.injections.remove(index);
                            let name = injection.name().to_owned();
                            if member.size > MAX_REWRITTEN {
                                let limit = MAX_REWRITTEN;
                                return Err(ArchiveError::TooLarge { name, size: member.size, limit });
                            }
                            self.held.clear();
                            self.rewriting = Some((injection, member.mode, Vec::new()));
                        }
                        None => self.put_held()?,
                    }
                }
                Some(Event::End) => {
                    if let Some((injection, mode, content)) = self.rewriting.take() {
                        self.put_member(injection, mode, content)?;
                    }
                }
                Some(Event::EndOfArchive) => {
                    self.held.clear();
                    self.end()?;
                }
                Some(Event::Data(_)) => {}
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        Ok(self.sink.write(bytes).map_err(at("write", &self.path))?)
    }

    fn put_held(&mut self) -> Result<(), ArchiveError> {
        let held = std::mem::take(&mut self.held);
        self.put(&held)?;
        self.held = held;
        self.held.clear();
        Ok(())
    }

    fn put_member(
        &mut self,
        injection: Injection,
        mode: u32,
        mut content: Vec<u8>,
    ) -> Result<(), ArchiveError> {
        let name = match injection {
            Injection::Append { name, content: more } => {
                content.extend_from_slice(&more);
                name
            }
            Injection::Replace { name, content: new } => {
                content = new;
                name
            }
        };
        let size = content.len() as u64;
        self.put(&member_header(&name, size, mode, self.mtime)?)?;
        self.put(&content)?;
        let zeros = usize::try_from(padding(size)).unwrap_or(0);
        self.put([0; BLOCK].get(..zeros).unwrap_or_default())
    }

    /// Members not met on the way, and the two zero blocks.
    fn end(&mut self) -> Result<(), ArchiveError> {
        self.ended = true;
        for injection in std::mem::take(&mut self.injections) {
            self.put_member(injection, 0o600, Vec::new())?;
        }
        self.put(&[0; 2 * BLOCK])
    }

    fn finish(mut self) -> Result<File, ArchiveError> {
        if let Some(parser) = &self.parser {
            parser.finish()?;
            if !self.ended {
                self.end()?;
            }
        }
        let path = self.path;
        Ok(self.sink.finish().map_err(|error: io::Error| at("write", &path)(error))?)
    }
}
