//! A manifest as a table that can be asked for one file: sixteen bytes for each.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{CombineError, CombineSource};
use crate::manifest::{FILE_NAME, ManifestError, ManifestFile, ManifestReader, ManifestSummary};
use crate::sync::at;
use crate::tree::is_excluded;
use crate::{Checksum, ChecksumAlgorithm};

/// Entries that are sorted together; one list that grows would need twice its size for a moment.
const CHUNK: usize = 64 * 1024;

/// The checksums of one backup.
pub(crate) struct Index {
    pub(crate) path: PathBuf,
    pub(super) summary: ManifestSummary,
    /// That of most files; others are not compared.
    pub(crate) algorithm: ChecksumAlgorithm,
    keys: RandomState,
    /// Hash of the name, hash of the rest.
    chunks: Vec<Vec<(u64, u64)>>,
    listed: Names,
}

/// A set of names, as their number and the sum of their keyed hashes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Names {
    count: u64,
    sum: u64,
}

impl Names {
    fn add(&mut self, name: u64) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(name);
    }
}

impl Index {
    /// Reads the manifest of the backup in `data`; `None` when there is none. Without `files` only its summary.
    /// Of what `excludes` leaves out, nobody asks whether it is there.
    pub(crate) fn load(data: &Path, files: bool, excludes: &[String]) -> Result<Option<Self>, CombineError> {
        let path = data.join(FILE_NAME);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(at("open", &path))?,
        };
        Self::read(&path, file, files, excludes)
            .map(Some)
            .map_err(|source| CombineError::Manifest { path, source })
    }

    fn read(path: &Path, file: File, files: bool, excludes: &[String]) -> Result<Self, ManifestError> {
        let keys = RandomState::new();
        let mut reader = ManifestReader::new(file)?;
        let mut chunks: Vec<Vec<(u64, u64)>> = Vec::new();
        let mut algorithm = ChecksumAlgorithm::None;
        let mut listed = Names::default();
        let mut entry = ManifestFile::default();
        while files && reader.next_file(&mut entry)? {
            algorithm = entry.algorithm;
            if chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
                chunks.push(Vec::with_capacity(CHUNK));
            }
            if let Some(chunk) = chunks.last_mut() {
                let path = Path::new(OsStr::from_bytes(&entry.path));
                let name = keys.hash_one(path);
                if is_asked_for(path, excludes) {
                    listed.add(name);
                }
                chunk.push((name, value(&keys, entry.size, entry.algorithm, &entry.checksum)));
            }
        }
        for chunk in &mut chunks {
            chunk.sort_unstable();
        }
        Ok(Self { path: path.to_owned(), summary: reader.finish()?, algorithm, keys, chunks, listed })
    }

    /// Whether the file is as listed; `None` when it is not listed.
    pub(crate) fn agrees(&self, path: &Path, size: u64, checksum: &Checksum) -> Option<bool> {
        let entry = self.entry(self.keys.hash_one(path))?;
        Some(entry == value(&self.keys, size, self.algorithm, checksum))
    }

    /// Whether it has a file of this name.
    pub(crate) fn lists(&self, path: &Path) -> bool {
        self.entry(self.keys.hash_one(path)).is_some()
    }

    fn entry(&self, name: u64) -> Option<u64> {
        self.chunks.iter().find_map(|chunk| {
            let at = chunk.partition_point(|(found, _)| *found < name);
            chunk.get(at).filter(|(found, _)| *found == name).map(|(_, value)| *value)
        })
    }

    /// Counts a file that is there. One that is not listed is found out when it is read.
    pub(super) fn visit(&self, path: &Path, visited: &mut Names) {
        let name = self.keys.hash_one(path);
        if is_asked_for(path, &[]) && self.entry(name).is_some() {
            visited.add(name);
        }
    }

    /// That everything which is listed was visited; only when it was not, the manifest is read again for a name.
    pub(super) fn check_visited(
        &self,
        source: &CombineSource,
        visited: Names,
        excludes: &[String],
    ) -> Result<(), CombineError> {
        if visited == self.listed {
            return Ok(());
        }
        let manifest = self.path.clone();
        let fail = |source| CombineError::Manifest { path: manifest.clone(), source };
        let file = File::open(&self.path).map_err(at("open", &self.path))?;
        let mut reader = ManifestReader::new(file).map_err(fail)?;
        let mut entry = ManifestFile::default();
        while reader.next_file(&mut entry).map_err(fail)? {
            let path = Path::new(OsStr::from_bytes(&entry.path));
            let is_there = || std::fs::symlink_metadata(source.path(path)).is_ok_and(|found| found.is_file());
            if is_asked_for(path, excludes) && !is_there() {
                return Err(CombineError::Missing { manifest, path: path.to_owned() });
            }
        }
        // A name that is listed twice.
        Ok(())
    }
}

/// WAL is in no manifest, or in one that somebody made of more than a server lists.
fn is_asked_for(path: &Path, excludes: &[String]) -> bool {
    !path.starts_with("pg_wal") && !path.ancestors().any(|part| is_excluded(excludes, part))
}

fn value(keys: &RandomState, size: u64, algorithm: ChecksumAlgorithm, checksum: &Checksum) -> u64 {
    keys.hash_one((size, algorithm, checksum.as_bytes()))
}
