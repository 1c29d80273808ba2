//! A file of a backup, read once and from front to back, and compared with the backup's manifest at the end.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::CombineError;
use super::index::Index;
use crate::sync::at;
use crate::{ChecksumAlgorithm, Hasher};

pub(super) struct Reading<'a> {
    file: File,
    pub(super) path: PathBuf,
    pub(super) metadata: Metadata,
    position: u64,
    /// The sum of what was read, and whom to ask about it.
    sum: Option<(Hasher, &'a Index)>,
    relative: PathBuf,
}

impl<'a> Reading<'a> {
    /// Opens a file; `None` when it is not there.
    pub(super) fn open(
        path: PathBuf,
        relative: &Path,
        index: Option<&'a Index>,
    ) -> Result<Option<Self>, CombineError> {
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(at("open", &path))?,
        };
        let metadata = file.metadata().map_err(at("read", &path))?;
        // WAL and the manifest itself are in no manifest.
        let index = index.filter(|_| !relative.starts_with("pg_wal"));
        let sum = index.filter(|index| index.algorithm != ChecksumAlgorithm::None);
        let sum = sum.map(|index| (index.algorithm.hasher(), index));
        Ok(Some(Self { file, path, metadata, position: 0, sum, relative: relative.to_owned() }))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Bytes of the file when it was opened.
    pub(super) fn length(&self) -> u64 {
        self.metadata.len()
    }

    /// Fills `target` with what lies at `offset`, which is never before what was read last.
    pub(super) fn read_at(&mut self, offset: u64, target: &mut [u8]) -> Result<(), CombineError> {
        self.go_to(offset)?;
        let expected = offset.saturating_add(target.len() as u64);
        match self.read_exact(target) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let found = self.length();
                Err(CombineError::Short { path: self.path.clone(), expected, found })
            }
            result => Ok(result.map_err(at("read", &self.path))?),
        }
    }

    fn go_to(&mut self, offset: u64) -> Result<(), CombineError> {
        if self.sum.is_some() {
            let skip = offset.saturating_sub(self.position);
            self.pass_over(skip)?;
        } else if offset != self.position {
            self.file.seek(SeekFrom::Start(offset)).map_err(at("read", &self.path))?;
            self.position = offset;
        }
        Ok(())
    }

    /// Sums up what nobody needs.
    fn pass_over(&mut self, bytes: u64) -> Result<(), CombineError> {
        let mut left = bytes;
        let mut scratch = Vec::new();
        while left > 0 {
            scratch.resize(usize::try_from(left).unwrap_or(usize::MAX).min(256 * 1024), 0);
            match self.read(&mut scratch).map_err(at("read", &self.path))? {
                0 => break,
                length => left = left.saturating_sub(length as u64),
            }
        }
        Ok(())
    }

    /// Reads what is left and compares the whole with the manifest.
    pub(super) fn finish(mut self) -> Result<(), CombineError> {
        if self.sum.is_none() {
            return Ok(());
        }
        self.pass_over(u64::MAX)?;
        let Some((hasher, index)) = self.sum.take() else { return Ok(()) };
        match index.agrees(&self.relative, self.position, &hasher.finish()) {
            Some(true) => Ok(()),
            Some(false) => Err(CombineError::Checksum { path: self.path, algorithm: index.algorithm }),
            None => Err(CombineError::Unlisted { manifest: index.path.clone(), path: self.relative }),
        }
    }
}

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(length) => {
                    self.position = self.position.saturating_add(length as u64);
                    if let Some((hasher, _)) = &mut self.sum {
                        hasher.update(buffer.get(..length).unwrap_or_default());
                    }
                    return Ok(length);
                }
            }
        }
    }
}
