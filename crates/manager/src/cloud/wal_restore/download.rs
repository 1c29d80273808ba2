//! One object into a temporary file that is the whole WAL file, or nothing.

use std::io::Read as _;
use std::path::Path;

use tapster_catalog::durable::{Publish, RealDisk};
use walfile::WalName;

use super::super::wal_content::{START, check_length, check_start};
use super::super::wal_objects::StoredWal;
use super::super::{CloudServer, CloudWalError};

/// A WAL file under its temporary name, complete and that of its name.
pub(super) struct Downloaded {
    pub(super) file: Publish<'static>,
    pub(super) length: u64,
}

impl CloudServer {
    /// Fetches `stored`, decompressed, next to `target`. Dropped without being published, it leaves nothing.
    pub(super) fn download(
        &self,
        stored: &StoredWal,
        wanted: WalName,
        target: &Path,
    ) -> Result<Downloaded, CloudWalError> {
        let write = |source: std::io::Error| CloudWalError::Write { path: target.to_owned(), source };
        let wrong = |problem: crate::put_wal::NotThisWal| CloudWalError::Content {
            name: wanted.to_string(),
            store: self.store().url().to_string(),
            key: stored.key.clone(),
            problem: problem.to_string(),
        };
        let mut content = self.open_wal(stored)?;
        let mut start = Vec::with_capacity(START);
        (&mut content).take(START as u64).read_to_end(&mut start).map_err(|e| self.unreadable(stored, e))?;
        let size = check_start(stored.name, &start).map_err(wrong)?.map(|(size, _)| size);
        let mut file = Publish::create(&RealDisk, target, Some(0o600)).map_err(|e| write(e.into()))?;
        file.write_all(&start).map_err(|e| write(e.into()))?;
        let mut length = start.len() as u64;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => {
                    length += got as u64;
                    file.write_all(buffer.get(..got).unwrap_or_default()).map_err(|e| write(e.into()))?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unreadable(stored, error)),
            }
        }
        check_length(stored.name, size, length).map_err(wrong)?;
        Ok(Downloaded { file, length })
    }
}
