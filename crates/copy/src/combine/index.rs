//! A manifest as a table that can be asked for one file: sixteen bytes for each.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::CombineError;
use crate::manifest::{FILE_NAME, ManifestError, ManifestFile, ManifestReader, ManifestSummary};
use crate::sync::at;
use crate::{Checksum, ChecksumAlgorithm};

/// Entries that are sorted together; one list that grows would need twice its size for a moment.
const CHUNK: usize = 64 * 1024;

/// The checksums of one backup.
pub(super) struct Index {
    pub(super) path: PathBuf,
    pub(super) summary: ManifestSummary,
    /// That of most files; others are not compared.
    pub(super) algorithm: ChecksumAlgorithm,
    keys: RandomState,
    /// Hash of the name, hash of the rest.
    chunks: Vec<Vec<(u64, u64)>>,
}

impl Index {
    /// Reads the manifest of the backup in `data`; `None` when there is none. Without `files` only its summary.
    pub(super) fn load(data: &Path, files: bool) -> Result<Option<Self>, CombineError> {
        let path = data.join(FILE_NAME);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(at("open", &path))?,
        };
        Self::read(&path, file, files).map(Some).map_err(|source| CombineError::Manifest { path, source })
    }

    fn read(path: &Path, file: File, files: bool) -> Result<Self, ManifestError> {
        let keys = RandomState::new();
        let mut reader = ManifestReader::new(file)?;
        let mut chunks: Vec<Vec<(u64, u64)>> = Vec::new();
        let mut algorithm = ChecksumAlgorithm::None;
        let mut entry = ManifestFile::default();
        while files && reader.next_file(&mut entry)? {
            algorithm = entry.algorithm;
            if chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
                chunks.push(Vec::with_capacity(CHUNK));
            }
            if let Some(chunk) = chunks.last_mut() {
                let name = keys.hash_one(Path::new(OsStr::from_bytes(&entry.path)));
                chunk.push((name, value(&keys, entry.size, entry.algorithm, &entry.checksum)));
            }
        }
        for chunk in &mut chunks {
            chunk.sort_unstable();
        }
        Ok(Self { path: path.to_owned(), summary: reader.finish()?, algorithm, keys, chunks })
    }

    /// Whether the file is as listed; `None` when it is not listed.
    pub(super) fn agrees(&self, path: &Path, size: u64, checksum: &Checksum) -> Option<bool> {
        let name = self.keys.hash_one(path);
        let entry = self.chunks.iter().find_map(|chunk| {
            let at = chunk.partition_point(|(found, _)| *found < name);
            chunk.get(at).filter(|(found, _)| *found == name)
        })?;
        Some(entry.1 == value(&self.keys, size, self.algorithm, checksum))
    }
}

fn value(keys: &RandomState, size: u64, algorithm: ChecksumAlgorithm, checksum: &Checksum) -> u64 {
    keys.hash_one((size, algorithm, checksum.as_bytes()))
}
