//! The extractor: events of the tar parser into files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::control::{CONTROL_FILE, ControlFile, MAX_CONTROL_FILE};
use super::error::ExtractError;
use super::options::{ExtractOptions, ExtractReport, TablespaceTarget};
use super::output::{Output, Writing};
use super::reuse::{Comparing, Earlier, EarlierTree};
use super::sink::Outlet;
use super::spool::Spool;
use crate::manifest::FILE_NAME;
use crate::pages::StreamPages;
use crate::publish::{rename, temporary_name};
use crate::sync::{self, Background, FileSystem, SyncMethod, at};
use crate::tar::{Event, Member, MemberKind, Parser};
use crate::{ChecksumAlgorithm, Hasher};

pub(super) const SYNC_THREADS: usize = 4;

/// Writes the archives of one base backup into directories.
///
/// The order of calls is that of the stream: [`start_archive`](Self::start_archive) and
/// [`feed`](Self::feed) for each archive, [`start_manifest`](Self::start_manifest) and `feed`, then
/// [`finish`](Self::finish). Memory does not grow with the backup.
///
/// ```
/// use tapster_copy::tar::member_header;
/// use tapster_copy::{ExtractOptions, TarExtractor};
/// let dir = tempfile::tempdir()?;
/// let mut extractor = TarExtractor::create(dir.path(), ExtractOptions::default())?;
/// extractor.start_archive(None)?;
/// extractor.feed(&member_header("global/", 0, 0o700, 0)?)?;
/// extractor.feed(&member_header("global/pg_control", 512, 0o600, 0)?)?;
/// extractor.feed(&[7; 512])?;
/// assert_eq!(extractor.finish()?.files, 1);
/// assert_eq!(std::fs::read(dir.path().join("global/pg_control"))?, [7; 512]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TarExtractor {
    pub(super) options: ExtractOptions,
    pub(super) base: Output,
    pub(super) tablespaces: BTreeMap<u32, Output>,
    /// Of the earlier backup, by tablespace; `None` is the data directory.
    pub(super) earlier: BTreeMap<Option<u32>, EarlierTree>,
    pub(super) file_systems: Vec<FileSystem>,
    pub(super) queue: Option<Background>,
    pub(super) stage: Stage,
    pub(super) parser: Parser,
    pub(super) current: Current,
    pub(super) hasher: Hasher,
    pub(super) pages: Option<StreamPages>,
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
    pub(super) spool: Option<Spool>,
    /// For what is kept here while everything else goes elsewhere.
    pub(super) scratch: Option<TempDir>,
    pub(super) control: Option<(Vec<u8>, u32)>,
    /// What came of `backup_label`, which Barman's archives of a base backup stream have twice.
    pub(super) label: Option<Vec<u8>>,
    pub(super) manifest: Option<(File, PathBuf)>,
    /// Links to be made at the end, and where they lead.
    pub(super) links: BTreeMap<PathBuf, PathBuf>,
    pub(super) report: ExtractReport,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    Before,
    Base,
    Tablespace(u32),
    Manifest,
    Failed,
}

#[derive(Debug)]
pub(super) enum Current {
    None,
    File(Writing),
    /// The same as in the earlier backup so far.
    Compared(Box<Comparing>),
    Control,
    /// The manifest, in the archive of the data directory.
    Manifest,
    Skipped,
    /// The label once more, the same so far up to here.
    Repeated(usize),
    /// The manifest once more, the same.
    ManifestAgain(u64),
}

const LABEL_FILE: &[u8] = b"backup_label";
/// The real one is below 2 KiB.
const MAX_LABEL: u64 = 64 * 1024;
const OTHER_LABEL: ExtractError =
    ExtractError::Sequence { what: "a second backup_label that differs from the first" };

const OTHER_MANIFEST: ExtractError =
    ExtractError::Sequence { what: "a second manifest that differs from the first" };

impl TarExtractor {
    /// Prepares to write into `root`, made with mode 0700 if missing. Whether it may hold anything is the
    /// caller's rule; no existing file is ever overwritten.
    ///
    /// # Errors
    /// When a directory cannot be made or opened.
    pub fn create(root: &Path, options: ExtractOptions) -> Result<Self, ExtractError> {
        Self::start(root, options, None)
    }

    /// The same, into directories that lie elsewhere: `root` and those of [`ExtractOptions::tablespaces`] are opened through
    /// `outlet`, one after the other but for `root`, which is the last to end. Nothing is synced, and nothing shared with an earlier
    /// backup; [`ExtractOptions::wal_directory`] is not for this.
    ///
    /// # Errors
    /// When a file for what is remembered meanwhile cannot be made here.
    pub fn relay(
        root: &Path,
        mut options: ExtractOptions,
        outlet: Box<dyn Outlet>,
    ) -> Result<Self, ExtractError> {
        (options.sync, options.earlier, options.wal_directory) = (SyncMethod::None, None, None);
        Self::start(root, options, Some(outlet.into()))
    }

    fn start(
        root: &Path,
        options: ExtractOptions,
        outlet: Option<Arc<dyn Outlet>>,
    ) -> Result<Self, ExtractError> {
        let method = options.sync;
        let mut roots = vec![root.to_path_buf()];
        let open = |path: &Path| match &outlet {
            None => sync::create_dir_all(path, 0o700)
                .and_then(|()| Output::open(path, method))
                .map(|output| output.over(options.over)),
            Some(outlet) => Ok(Output::stream(path, outlet)),
        };
        let scratch = std::env::temp_dir();
        let scratch = outlet
            .is_some()
            .then(|| tempfile::tempdir().map_err(at("create a directory in", &scratch)))
            .transpose()?;
        let base = open(root)?;
        let mut tablespaces = BTreeMap::new();
        for (oid, target) in &options.tablespaces {
            if let TablespaceTarget::Directory(path) = target {
                tablespaces.insert(*oid, open(path)?);
                roots.push(path.clone());
            }
        }
        if let Some(path) = &options.wal_directory {
            sync::create_dir_all(path, 0o700)?;
            roots.push(path.clone());
        }
        let hold = |path: &PathBuf| FileSystem::open(path);
        let syncfs = method == SyncMethod::Syncfs;
        let file_systems =
            if syncfs { roots.iter().map(hold).collect::<Result<_, _>>()? } else { Vec::new() };
        Ok(Self {
            base,
            tablespaces,
            earlier: options.earlier.as_ref().map(open_earlier).unwrap_or_default(),
            file_systems,
            queue: (method == SyncMethod::Fsync).then(|| Background::start(SYNC_THREADS)),
            stage: Stage::Before,
            parser: Parser::new(),
            current: Current::None,
            hasher: ChecksumAlgorithm::None.hasher(),
            pages: options.pages.map(StreamPages::new),
            name: Vec::new(),
            size: 0,
            spool: options.checksum.map(|_| Spool::new(scratch.as_ref().map_or(root, TempDir::path))),
            scratch,
            control: None,
            label: None,
            manifest: None,
            links: BTreeMap::new(),
            report: ExtractReport::default(),
            options,
        })
    }

    /// Begins the archive of a tablespace, or of the data directory (`None`).
    ///
    /// # Errors
    /// When the archive before is incomplete, or the tablespace was not announced.
    pub fn start_archive(&mut self, tablespace: Option<u32>) -> Result<(), ExtractError> {
        self.guarded(|this| {
            this.end_archive()?;
            this.stage = match tablespace {
                None => Stage::Base,
                Some(oid) => {
                    match this.options.tablespaces.get(&oid) {
                        None => return Err(ExtractError::UnknownTablespace { oid }),
                        // The archive of an in-place tablespace may come before the base one that names it.
                        Some(TablespaceTarget::InPlace) => {
                            this.base.directory(Path::new("pg_tblspc"), 0o700)?;
                            this.base.directory(&Path::new("pg_tblspc").join(oid.to_string()), 0o700)?;
                        }
                        Some(TablespaceTarget::Directory(_)) => {}
                    }
                    Stage::Tablespace(oid)
                }
            };
            this.parser = Parser::new();
            Ok(())
        })
    }

    /// Says that the archive begun last ends here, which is otherwise looked at when the next begins.
    ///
    /// # Errors
    /// When it is incomplete.
    pub fn finish_archive(&mut self) -> Result<(), ExtractError> {
        self.guarded(Self::end_archive)
    }

    /// Begins the server's manifest, which ends the last archive.
    ///
    /// # Errors
    /// When the archive before is incomplete, or the file cannot be made.
    pub fn start_manifest(&mut self) -> Result<(), ExtractError> {
        self.guarded(|this| {
            this.end_archive()?;
            this.create_manifest()?;
            this.stage = Stage::Manifest;
            Ok(())
        })
    }

    fn create_manifest(&mut self) -> Result<(), ExtractError> {
        if self.manifest.is_some() {
            return Err(ExtractError::Sequence { what: "a second manifest" });
        }
        let path = match &self.scratch {
            Some(scratch) => scratch.path().join(FILE_NAME),
            None => temporary_name(&self.base.absolute(Path::new(FILE_NAME))),
        };
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path);
        self.manifest = Some((file.map_err(at("create", &path))?, path));
        Ok(())
    }

    /// Takes the next bytes of the archive or manifest begun last, in pieces of any size.
    ///
    /// # Errors
    /// When they are not acceptable or cannot be written; the extractor takes nothing more then.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ExtractError> {
        self.guarded(|this| match (this.stage, &mut this.manifest) {
            (Stage::Manifest, Some((file, path))) => Ok(file.write_all(bytes).map_err(at("write", path))?),
            (Stage::Base | Stage::Tablespace(_), _) => this.feed_archive(bytes),
            _ => Err(ExtractError::Sequence { what: "data outside an archive" }),
        })
    }

    /// Compares everything with the manifest, brings it to disk, and only then writes the control file and
    /// gives the manifest its name.
    ///
    /// # Errors
    /// When the backup is incomplete, differs from its manifest, or could not be stored. It then has no
    /// `global/pg_control` and no `backup_manifest`, unless storing those failed.
    pub fn finish(mut self) -> Result<ExtractReport, ExtractError> {
        let held = self.finish_files()?;
        let mut file =
            self.base.file(Path::new(CONTROL_FILE), held.mode, held.content.len() as u64, (0, 0))?;
        file.write(&held.content, false)?;
        self.base.finish()?;
        if self.options.sync != SyncMethod::None {
            file.sync()?;
            sync::directory(&self.base.absolute(Path::new("global")))?;
        }
        self.name_manifest()?;
        Ok(self.report)
    }

    /// As [`finish`](Self::finish), but leaves the control file to the caller, who has more to write before a server may
    /// start.
    ///
    /// # Errors
    /// As `finish`.
    pub fn finish_without_control(mut self) -> Result<(ExtractReport, ControlFile), ExtractError> {
        let held = self.finish_files()?;
        self.name_manifest()?;
        Ok((self.report, held))
    }

    fn finish_files(&mut self) -> Result<ControlFile, ExtractError> {
        self.guarded(Self::end_archive)?;
        let root = self.base.absolute(Path::new(""));
        let (content, mode) = self.control.take().ok_or(ExtractError::NoControlFile)?;
        if let Some(spool) = self.spool.take()
            && (self.manifest.is_some() || !self.options.manifest_inside)
        {
            let missing = ExtractError::Sequence { what: "the end, without the manifest that was asked for" };
            let (_, path) = self.manifest.as_ref().ok_or(missing)?;
            let written = File::open(path).map_err(at("open", path))?;
            let algorithm = self.options.checksum.unwrap_or(ChecksumAlgorithm::None);
            self.report.manifest = match spool.compare(written, algorithm, &root) {
                // Nobody could know before it came.
                Err(ExtractError::Algorithm { .. }) if self.options.manifest_inside => None,
                compared => Some(compared?),
            };
        }
        self.report.pages = self.pages.take().map(StreamPages::finish);
        self.make_links()?;
        self.end_streams()?;
        self.store_all()?;
        Ok(ControlFile { content, mode })
    }

    /// The last of what goes elsewhere is the manifest.
    fn end_streams(&mut self) -> Result<(), ExtractError> {
        if self.scratch.is_none() {
            return Ok(());
        }
        if let Some((_, path)) = self.manifest.take() {
            let mut source = File::open(&path).map_err(at("open", &path))?;
            let size = source.metadata().map_err(at("read", &path))?.len();
            let mut manifest = self.base.file(Path::new(FILE_NAME), 0o600, size, (0, 0))?;
            let mut buffer = vec![0; 256 * 1024];
            loop {
                let count = source.read(&mut buffer).map_err(at("read", &path))?;
                if count == 0 {
                    break;
                }
                manifest.write(buffer.get(..count).unwrap_or_default(), false)?;
            }
        }
        self.tablespaces.values().try_for_each(Output::finish)?;
        Ok(self.base.finish()?)
    }

    fn name_manifest(&mut self) -> Result<(), ExtractError> {
        let Some((file, path)) = self.manifest.take() else { return Ok(()) };
        let method = self.options.sync;
        if method != SyncMethod::None {
            file.sync_all().map_err(at("fsync", &path))?;
        }
        rename(&path, &self.base.absolute(Path::new(FILE_NAME)))?;
        if method != SyncMethod::None {
            sync::directory(&self.base.absolute(Path::new("")))?;
        }
        Ok(())
    }

    /// Runs a step; after a failure no other one runs.
    pub(super) fn guarded(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<(), ExtractError>,
    ) -> Result<(), ExtractError> {
        if self.stage == Stage::Failed {
            return Err(ExtractError::Sequence { what: "the backup has failed before" });
        }
        let result = step(self);
        if result.is_err() {
            self.stage = Stage::Failed;
        }
        result
    }

    pub(super) fn end_archive(&mut self) -> Result<(), ExtractError> {
        if matches!(self.stage, Stage::Base | Stage::Tablespace(_)) {
            self.parser.finish()?;
        }
        // One that is written elsewhere holds a connection.
        if let Stage::Tablespace(oid) = self.stage
            && let Some(output) = self.tablespaces.get(&oid)
        {
            output.finish()?;
        }
        Ok(())
    }

    fn feed_archive(&mut self, bytes: &[u8]) -> Result<(), ExtractError> {
        let mut input = bytes;
        while let Some(event) = self.parser.next(&mut input)? {
            match event {
                Event::Data(data) => {
                    self.hasher.update(data);
                    if let Some(pages) = &mut self.pages {
                        pages.feed(data);
                    }
                    match &mut self.current {
                        Current::File(file) => file.write(data, self.options.sync != SyncMethod::None)?,
                        Current::Compared(comparing) => {
                            if !comparing.goes_on(data) {
                                self.differs(data)?;
                            }
                        }
                        Current::Control => {
                            if let Some((control, _)) = &mut self.control {
                                control.extend_from_slice(data);
                            }
                        }
                        Current::Manifest => {
                            if let Some((file, path)) = &mut self.manifest {
                                file.write_all(data).map_err(at("write", path))?;
                            }
                        }
                        Current::ManifestAgain(at) => {
                            if let Some((file, path)) = &self.manifest {
                                let mut known = vec![0; data.len()];
                                match file.read_exact_at(&mut known, *at) {
                                    Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                                        return Err(OTHER_MANIFEST);
                                    }
                                    read => read.map_err(sync::at("read", path))?,
                                }
                                if known != data {
                                    return Err(OTHER_MANIFEST);
                                }
                                *at = at.saturating_add(data.len() as u64);
                            }
                        }
                        Current::Repeated(at) => {
                            let end = at.saturating_add(data.len());
                            let known = self.label.as_ref().and_then(|label| label.get(*at..end));
                            if known != Some(data) {
                                return Err(OTHER_LABEL);
                            }
                            *at = end;
                        }
                        Current::None | Current::Skipped => {}
                    }
                    if self.name == LABEL_FILE
                        && matches!(self.current, Current::File(_) | Current::Compared(_))
                        && let Some(label) = &mut self.label
                    {
                        label.extend_from_slice(data);
                    }
                }
                Event::Member(member) => self.member(member)?,
                Event::End => self.end_member()?,
                Event::EndOfArchive => {}
            }
        }
        Ok(())
    }

    fn member(&mut self, member: Member) -> Result<(), ExtractError> {
        let path = member.path.clone();
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        if let Stage::Tablespace(oid) = self.stage {
            let listed = Path::new("pg_tblspc").join(oid.to_string()).join(&path);
            return match self.tablespaces.get_mut(&oid) {
                None => self.place(&member, &listed),
                Some(output) => {
                    let earlier = self.earlier.get_mut(&Some(oid));
                    let current = write_member(output, earlier, &member, &path)?;
                    self.begin_member(&member, &listed, current);
                    Ok(())
                }
            };
        }
        if self.left_out(&path) {
            self.begin_member(&member, &path, Current::Skipped);
            return Ok(());
        }
        if path.as_os_str().as_bytes() == LABEL_FILE && member.kind == MemberKind::File {
            if self.label.is_some() {
                self.begin_member(&member, &path, Current::Repeated(0));
                return Ok(());
            }
            // Longer ones do not come twice.
            self.label = (member.size <= MAX_LABEL).then(Vec::new);
        }
        match self.special(&member)? {
            Some(()) => Ok(()),
            None => self.place(&member, &path),
        }
    }

    /// Writes below the data directory.
    fn place(&mut self, member: &Member, path: &Path) -> Result<(), ExtractError> {
        let current = write_member(&mut self.base, self.earlier.get_mut(&None), member, path)?;
        self.begin_member(member, path, current);
        Ok(())
    }

    fn left_out(&self, path: &Path) -> bool {
        let name = path.as_os_str().as_bytes();
        self.options.skip.iter().any(|skip| match skip.strip_suffix('/') {
            Some(directory) => path.starts_with(directory),
            None => name == skip.as_bytes(),
        })
    }

    /// Members of the base archive with rules of their own; `None` for all others.
    fn special(&mut self, member: &Member) -> Result<Option<()>, ExtractError> {
        let path = member.path.as_path();
        let refused = || ExtractError::Link { path: path.to_path_buf() };
        let mut parts = path.iter();
        let first = parts.next().unwrap_or_default();
        let (second, third) = (parts.next(), parts.next());
        if path == Path::new(CONTROL_FILE) && member.kind == MemberKind::File {
            if member.size > MAX_CONTROL_FILE {
                let limit = MAX_CONTROL_FILE;
                return Err(ExtractError::TooLarge { path: path.to_path_buf(), size: member.size, limit });
            }
            if self.control.is_some() {
                return Err(ExtractError::Sequence { what: "a second global/pg_control" });
            }
            self.control = Some((Vec::new(), file_mode(member.mode)));
            self.begin_member(member, path, Current::Control);
            return Ok(Some(()));
        }
        if first == "pg_tblspc"
            && let Some(name) = second
        {
            let oid = oid(name).ok_or_else(refused)?;
            let target = self.options.tablespaces.get(&oid);
            let inside = || ExtractError::InsideTablespace { path: path.to_path_buf() };
            return match (target, &member.kind, third) {
                // PostgreSQL 15 sends tablespaces that are directories with the others, and does not announce them.
                (None, MemberKind::Directory, _) | (None, MemberKind::File, Some(_)) => Ok(None),
                // Made since the backup began: replaying the WAL makes the link.
                (None, MemberKind::Symlink(_), None) => Ok(Some(())),
                (None, ..) => Err(refused()),
                (Some(_), _, Some(_)) => Err(inside()),
                (Some(TablespaceTarget::InPlace), MemberKind::Directory, None) => Ok(None),
                // The links are made at the end, to where this copy keeps its tablespaces.
                (
                    Some(TablespaceTarget::Directory(_)),
                    MemberKind::Symlink(_) | MemberKind::Directory,
                    None,
                ) => Ok(Some(())),
                _ => Err(inside()),
            };
        }
        if first == "pg_wal" && second.is_none() {
            match (&member.kind, self.options.wal_directory.clone()) {
                (MemberKind::File, _) => return Err(refused()),
                (_, Some(target)) => self.base.link(path, &target)?,
                // A server whose pg_wal is a link sends a directory; a link in an archive means the same.
                (_, None) => self.base.directory(path, 0o700)?,
            }
            return Ok(Some(()));
        }
        if first == "pg_wal"
            && let Some(target) = &self.options.wal_directory
        {
            let mut wal = Output::open(target, self.options.sync)?;
            let inner = path.strip_prefix("pg_wal").unwrap_or(path);
            let current = write_member(&mut wal, None, member, inner)?;
            self.begin_member(member, path, current);
            return Ok(Some(()));
        }
        if path == Path::new(FILE_NAME) && self.options.manifest_inside && member.kind == MemberKind::File {
            if self.manifest.is_some() {
                self.current = Current::ManifestAgain(0);
                return Ok(Some(()));
            }
            self.create_manifest()?;
            self.current = Current::Manifest;
            return Ok(Some(()));
        }
        if let MemberKind::Symlink(target) = &member.kind
            && self.options.keep_links
            && path != Path::new(FILE_NAME)
            && path != Path::new(CONTROL_FILE)
        {
            self.links.insert(path.to_path_buf(), PathBuf::from(target));
            self.current = Current::None;
            return Ok(Some(()));
        }
        if path == Path::new(FILE_NAME) {
            return Err(ExtractError::Sequence { what: "a manifest inside an archive" });
        }
        Ok(None)
    }

    fn begin_member(&mut self, member: &Member, path: &Path, current: Current) {
        if member.kind != MemberKind::File {
            self.current = Current::None;
            return;
        }
        self.name.clear();
        self.name.extend_from_slice(path.as_os_str().as_bytes());
        if let Some(pages) = &mut self.pages {
            pages.begin(&self.name);
        }
        self.size = member.size;
        self.hasher = self.options.checksum.unwrap_or(ChecksumAlgorithm::None).hasher();
        self.current = current;
    }

    fn end_member(&mut self) -> Result<(), ExtractError> {
        let early = self.options.sync != SyncMethod::None;
        match std::mem::replace(&mut self.current, Current::None) {
            Current::None | Current::Manifest => return Ok(()),
            Current::ManifestAgain(at) => {
                let Some((file, path)) = &self.manifest else { return Ok(()) };
                let length = file.metadata().map_err(sync::at("read", path))?.len();
                return if length == at { Ok(()) } else { Err(OTHER_MANIFEST) };
            }
            Current::Repeated(at) => {
                let is_whole = self.label.as_ref().is_some_and(|label| label.len() == at);
                return if is_whole { Ok(()) } else { Err(OTHER_LABEL) };
            }
            Current::File(file) => {
                if file.close(early, self.queue.as_ref())? {
                    self.report.kept = self.report.kept.saturating_add(1);
                    self.report.kept_bytes = self.report.kept_bytes.saturating_add(self.size);
                }
            }
            Current::Compared(comparing) => self.share(*comparing)?,
            Current::Control | Current::Skipped => {}
        }
        if let Some(pages) = &mut self.pages {
            pages.end();
        }
        self.report.files = self.report.files.saturating_add(1);
        self.report.bytes = self.report.bytes.saturating_add(self.size);
        let hasher = std::mem::replace(&mut self.hasher, ChecksumAlgorithm::None.hasher());
        if let Some(spool) = &mut self.spool {
            let root = self.base.absolute(Path::new(""));
            spool
                .add(&self.name, self.size, hasher.finish())
                .map_err(at("write the list of files of", &root))?;
        }
        Ok(())
    }

    /// Where the member under way is written.
    fn output(&mut self) -> &mut Output {
        match self.stage {
            // In-place tablespaces are in the data directory.
            Stage::Tablespace(oid) => self.tablespaces.get_mut(&oid).unwrap_or(&mut self.base),
            _ => &mut self.base,
        }
    }

    /// The file is another one than the earlier: it is stored, with these bytes as the next.
    fn differs(&mut self, next: &[u8]) -> Result<(), ExtractError> {
        let early = self.options.sync != SyncMethod::None;
        if let Current::Compared(comparing) = std::mem::replace(&mut self.current, Current::None) {
            let mut writing = comparing.into_own(self.output(), early)?;
            writing.write(next, early)?;
            self.current = Current::File(writing);
        }
        Ok(())
    }

    /// The file is the earlier one: it gets its second name.
    fn share(&mut self, comparing: Comparing) -> Result<(), ExtractError> {
        let early = self.options.sync != SyncMethod::None;
        match comparing.link(self.output()) {
            Ok(()) => {
                self.report.reused = self.report.reused.saturating_add(1);
                self.report.reused_bytes = self.report.reused_bytes.saturating_add(self.size);
            }
            Err(comparing) => {
                comparing.into_own(self.output(), early)?.close(early, self.queue.as_ref())?;
            }
        }
        Ok(())
    }

    fn make_links(&mut self) -> Result<(), ExtractError> {
        for (link, target) in &self.links {
            self.base.link(link, target)?;
        }
        let in_base = Path::new("pg_tblspc");
        let mut made = false;
        for (oid, target) in &self.options.tablespaces {
            if let TablespaceTarget::Directory(target) = target {
                if !std::mem::replace(&mut made, true) {
                    self.base.directory(in_base, 0o700)?;
                }
                self.base.link(&in_base.join(oid.to_string()), target)?;
            }
        }
        Ok(())
    }

    fn store_all(&mut self) -> Result<(), ExtractError> {
        self.current = Current::None;
        if let Some(queue) = self.queue.take() {
            queue.finish()?;
            for output in std::iter::once(&self.base).chain(self.tablespaces.values()) {
                output.directories().iter().rev().try_for_each(|path| sync::directory(path))?;
            }
            if let Some(path) = &self.options.wal_directory {
                sync::tree(path, SyncMethod::Fsync, 1)?;
            }
        }
        Ok(self.file_systems.iter().try_for_each(FileSystem::sync)?)
    }
}

/// Makes what `member` is under the name `path`.
fn write_member(
    output: &mut Output,
    earlier: Option<&mut EarlierTree>,
    member: &Member,
    path: &Path,
) -> Result<Current, ExtractError> {
    match member.kind {
        MemberKind::Directory => output.directory(path, directory_mode(member.mode))?,
        MemberKind::Symlink(_) => return Err(ExtractError::Link { path: path.to_path_buf() }),
        MemberKind::File => {
            let mode = file_mode(member.mode);
            let candidate = earlier.and_then(|earlier| earlier.candidate(path, member.size, mode));
            return Ok(match candidate {
                Some(comparing) => Current::Compared(Box::new(comparing)),
                None => {
                    let time = (member.mtime, member.mtime_nanoseconds);
                    Current::File(output.file(path, mode, member.size, time)?)
                }
            });
        }
    }
    Ok(Current::None)
}

fn open_earlier(earlier: &Earlier) -> BTreeMap<Option<u32>, EarlierTree> {
    let tablespaces = earlier.tablespaces.iter().map(|(oid, path)| (Some(*oid), path));
    std::iter::once((None, &earlier.data))
        .chain(tablespaces)
        .filter_map(|(oid, path)| Some((oid, EarlierTree::open(path)?)))
        .collect()
}

/// The owner may always read and write, the group at most read: what PostgreSQL itself demands.
const fn file_mode(mode: u32) -> u32 {
    mode & 0o740 | 0o600
}

const fn directory_mode(mode: u32) -> u32 {
    mode & 0o750 | 0o700
}

fn oid(name: &OsStr) -> Option<u32> {
    let text = name.to_str()?;
    text.parse().ok().filter(|oid: &u32| oid.to_string() == text)
}
