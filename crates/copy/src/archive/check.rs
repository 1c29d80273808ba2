//! What is inside the archives, seen on the way.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::ArchiveReport;
use crate::extract::spool::Spool;
use crate::extract::{CONTROL_FILE, ExtractError};
use crate::pages::{PageRules, StreamPages};
use crate::sync::at;
use crate::tar::{Event, Member, MemberKind, Parser};
use crate::unpack::Clear;
use crate::{ChecksumAlgorithm, Hasher};

const LABEL_FILE: &str = "backup_label";
/// The real one is below 2 KiB.
const MAX_LABEL: u64 = 64 * 1024;

/// Sums up every file and remembers it until the manifest comes; keeps the backup label.
#[derive(Debug)]
pub(super) struct Check {
    algorithm: ChecksumAlgorithm,
    spool: Option<Spool>,
    directory: std::path::PathBuf,
    parser: Parser,
    /// `pg_tblspc/<oid>/` in the archive of a tablespace, as the manifest has it.
    prefix: String,
    name: Vec<u8>,
    size: u64,
    hasher: Hasher,
    pages: Option<StreamPages>,
    is_file: bool,
    is_label: bool,
    has_control: bool,
    report: ArchiveReport,
}

impl Check {
    /// `checksum` is what the manifest will hold, if there will be one; with `pages` those are checked.
    pub(super) fn new(
        directory: &Path,
        checksum: Option<ChecksumAlgorithm>,
        pages: Option<PageRules>,
    ) -> Self {
        Self {
            algorithm: checksum.unwrap_or(ChecksumAlgorithm::None),
            spool: checksum.map(|_| Spool::new(directory)),
            directory: directory.to_path_buf(),
            parser: Parser::new(),
            prefix: String::new(),
            name: Vec::new(),
            size: 0,
            hasher: ChecksumAlgorithm::None.hasher(),
            pages: pages.map(StreamPages::new),
            is_file: false,
            is_label: false,
            has_control: false,
            report: ArchiveReport::default(),
        }
    }

    pub(super) fn begin(&mut self, tablespace: Option<u32>) {
        self.parser = Parser::new();
        self.prefix = tablespace.map(|oid| format!("pg_tblspc/{oid}/")).unwrap_or_default();
    }

    pub(super) fn event(&mut self, event: &Event<'_>) -> Result<(), ExtractError> {
        match event {
            Event::Member(member) => self.member(member),
            Event::Data(bytes) => {
                self.hasher.update(bytes);
                if let Some(pages) = &mut self.pages {
                    pages.feed(bytes);
                }
                if self.is_label
                    && let Some(label) = &mut self.report.label
                {
                    label.extend_from_slice(bytes);
                }
                Ok(())
            }
            Event::End => self.end_member(),
            Event::EndOfArchive => Ok(()),
        }
    }

    fn member(&mut self, member: &Member) -> Result<(), ExtractError> {
        self.is_file = member.kind == MemberKind::File;
        if !self.is_file {
            return Ok(());
        }
        self.name.clear();
        self.name.extend_from_slice(self.prefix.as_bytes());
        self.name.extend_from_slice(member.path.as_os_str().as_bytes());
        if let Some(pages) = &mut self.pages {
            pages.begin(&self.name);
        }
        self.size = member.size;
        self.hasher = self.algorithm.hasher();
        self.has_control |= self.name == CONTROL_FILE.as_bytes();
        self.is_label = self.name == LABEL_FILE.as_bytes();
        if self.is_label {
            if member.size > MAX_LABEL {
                let (path, size, limit) = (member.path.clone(), member.size, MAX_LABEL);
                return Err(ExtractError::TooLarge { path, size, limit });
            }
            self.report.label = Some(Vec::new());
        }
        Ok(())
    }

    fn end_member(&mut self) -> Result<(), ExtractError> {
        if !self.is_file {
            return Ok(());
        }
        self.is_file = false;
        self.is_label = false;
        if let Some(pages) = &mut self.pages {
            pages.end();
        }
        self.report.files = self.report.files.saturating_add(1);
        self.report.bytes = self.report.bytes.saturating_add(self.size);
        let hasher = std::mem::replace(&mut self.hasher, ChecksumAlgorithm::None.hasher());
        if let Some(spool) = &mut self.spool {
            spool
                .add(&self.name, self.size, hasher.finish())
                .map_err(at("write the list of files of", &self.directory))?;
        }
        Ok(())
    }

    /// Compares everything with the manifest in the file `manifest`.
    pub(super) fn finish_with(self, manifest: Option<&Path>) -> Result<ArchiveReport, ExtractError> {
        let open = |path: &Path| File::open(path).map_err(at("open", path));
        let file = manifest.filter(|_| self.spool.is_some()).map(open).transpose()?;
        self.finish(file)
    }

    /// Compares everything with the manifest.
    pub(super) fn finish(mut self, manifest: Option<impl Read>) -> Result<ArchiveReport, ExtractError> {
        if !self.has_control {
            return Err(ExtractError::NoControlFile);
        }
        self.report.pages = self.pages.map(StreamPages::finish);
        if let Some(spool) = self.spool {
            let missing = ExtractError::Sequence { what: "the end, without the manifest that was asked for" };
            let manifest = manifest.ok_or(missing)?;
            self.report.manifest = Some(spool.compare(manifest, self.algorithm, &self.directory)?);
        }
        Ok(self.report)
    }
}

/// Of an archive that the server compressed, which this side only decompresses to look into it.
impl Clear for Check {
    fn start_archive(&mut self, tablespace: Option<u32>) -> Result<(), ExtractError> {
        self.begin(tablespace);
        Ok(())
    }

    fn start_manifest(&mut self) -> Result<(), ExtractError> {
        Ok(())
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ExtractError> {
        let mut parser = std::mem::take(&mut self.parser);
        while let Some(event) = parser.next(&mut bytes)? {
            self.event(&event)?;
        }
        self.parser = parser;
        Ok(())
    }

    fn end_archive(&mut self) -> Result<(), ExtractError> {
        Ok(self.parser.finish()?)
    }
}
