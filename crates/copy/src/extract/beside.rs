//! The archives of tablespaces, written beside that of the data directory.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::ExtractError;
use super::extractor::{SYNC_THREADS, Stage, TarExtractor};
use super::options::{ExtractReport, TablespaceTarget};
use super::output::Output;
use super::spool::Spool;
use crate::sync::{self, Background, SyncMethod};
use crate::tar::Parser;
use crate::{ChecksumAlgorithm, ExtractOptions};

impl TarExtractor {
    /// One for the archive of a tablespace alone, which another thread can feed meanwhile; [`join`](Self::join) takes it back.
    /// `None` where that archive goes the same way as others: into the data directory elsewhere, or compared with an earlier backup
    /// or page by page.
    ///
    /// # Errors
    /// When the data directory cannot be opened, or the tablespace was not announced.
    pub fn beside(&mut self, tablespace: u32) -> Result<Option<Self>, ExtractError> {
        if self.pages.is_some() || !self.earlier.is_empty() {
            return Ok(None);
        }
        let target = self.options.tablespaces.get(&tablespace);
        let target = target.ok_or(ExtractError::UnknownTablespace { oid: tablespace })?.clone();
        let root = self.base.absolute(Path::new(""));
        let mut tablespaces = BTreeMap::new();
        let base = match (&self.base, &target) {
            (Output::Stream(_), TablespaceTarget::InPlace) => return Ok(None),
            // Nothing is written to it.
            (Output::Stream(stream), _) => Output::Stream(stream.clone()),
            (Output::Tree(_), _) => Output::open(&root, self.options.sync)?.over(self.options.over),
        };
        if let Some(output) = self.tablespaces.get(&tablespace) {
            tablespaces.insert(tablespace, output.again(self.options.sync)?.over(self.options.over));
        }
        let mut options = ExtractOptions::default();
        (options.sync, options.checksum, options.over) =
            (self.options.sync, self.options.checksum, self.options.over);
        options.tablespaces = BTreeMap::from([(tablespace, target)]);
        let spools = self.scratch.as_ref().map_or(root.as_path(), tempfile::TempDir::path);
        Ok(Some(Self {
            base,
            tablespaces,
            earlier: BTreeMap::new(),
            // The whole one holds them.
            file_systems: Vec::new(),
            queue: (options.sync == SyncMethod::Fsync).then(|| Background::start(SYNC_THREADS)),
            stage: Stage::Before,
            parser: Parser::new(),
            current: super::extractor::Current::None,
            hasher: ChecksumAlgorithm::None.hasher(),
            pages: None,
            name: Vec::new(),
            size: 0,
            spool: options.checksum.map(|_| Spool::new(spools)),
            scratch: None,
            control: None,
            label: None,
            manifest: None,
            links: BTreeMap::new(),
            report: ExtractReport::default(),
            options,
        }))
    }

    /// Takes back what [`beside`](Self::beside) gave, when its archive is complete: its files are on disk then, but for what
    /// [`SyncMethod::Syncfs`] does at the end, and are compared with the manifest like all others.
    ///
    /// # Errors
    /// When the archive is incomplete, something of it could not be stored, or it is none of this backup.
    pub fn join(&mut self, mut part: Self) -> Result<(), ExtractError> {
        let result = part.end_part();
        if result.is_err() {
            self.stage = Stage::Failed;
        }
        result?;
        let taken = part.options.tablespaces.keys().next().copied();
        let oid = taken.ok_or(ExtractError::Sequence { what: "the archive of no tablespace" })?;
        if let (Some(own), Some(spool)) = (&mut self.spool, part.spool.take()) {
            own.beside(oid, spool);
        }
        let (own, more) = (&mut self.report, &part.report);
        own.files = own.files.saturating_add(more.files);
        own.bytes = own.bytes.saturating_add(more.bytes);
        own.kept = own.kept.saturating_add(more.kept);
        own.kept_bytes = own.kept_bytes.saturating_add(more.kept_bytes);
        Ok(())
    }

    fn end_part(&mut self) -> Result<(), ExtractError> {
        self.guarded(Self::end_archive)?;
        if let Some(queue) = self.queue.take() {
            queue.finish()?;
            for output in std::iter::once(&self.base).chain(self.tablespaces.values()) {
                output.directories().iter().rev().try_for_each(|path| sync::directory(path))?;
            }
        }
        Ok(())
    }
}
