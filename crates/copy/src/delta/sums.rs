//! The checksums of a backup, for comparing files that are somewhere else.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::combine::{CombineError, Index};
use crate::{Checksum, ChecksumAlgorithm};

const PIECE: usize = 256 * 1024;

/// A backup's manifest as a table. Memory: sixteen bytes for each file.
#[derive(Clone)]
pub struct Sums(Arc<Index>);

impl std::fmt::Debug for Sums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sums").field("manifest", &self.0.path).finish_non_exhaustive()
    }
}

impl Sums {
    /// Those of the backup in `data`; `None` when it has no manifest, or one without checksums.
    ///
    /// # Errors
    /// When the manifest cannot be read.
    pub fn read(data: &Path) -> Result<Option<Self>, CombineError> {
        let index = Index::load(data, true, &[])?;
        Ok(index
            .filter(|index| index.algorithm != ChecksumAlgorithm::None)
            .map(|index| Self(Arc::new(index))))
    }

    /// Whether an open file is the one that the backup has under the name `path`. `None` when the stop flag was raised.
    pub(crate) fn is_same(
        &self,
        path: &Path,
        file: &mut File,
        stop: &AtomicBool,
    ) -> std::io::Result<Option<bool>> {
        if !self.0.lists(path) {
            return Ok(Some(false));
        }
        let (mut hasher, mut buffer, mut size) = (self.0.algorithm.hasher(), vec![0; PIECE], 0_u64);
        loop {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            match file.read(&mut buffer) {
                Ok(0) => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => {
                    let bytes = buffer.get(..read?).unwrap_or_default();
                    hasher.update(bytes);
                    size = size.saturating_add(bytes.len() as u64);
                }
            }
        }
        let sum: Checksum = hasher.finish();
        Ok(Some(self.0.agrees(path, size, &sum) == Some(true)))
    }
}
