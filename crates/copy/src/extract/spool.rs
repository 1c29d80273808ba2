//! What was received, remembered until the manifest comes.
//!
//! One record per file in the order of arrival, in memory up to 1 MiB and in an unnamed temporary file
//! beyond. A server lists files in the order it sent them, so the comparison is a merge; entries out of
//! order are remembered, up to a bound. Archives that were taken side by side have a spool each, and each is merged on its own.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use tempfile::{SpooledTempFile, spooled_tempfile_in};

use super::error::ExtractError;
use crate::manifest::{ManifestFile, ManifestReader, ManifestSummary};
use crate::sync::at;
use crate::{Checksum, ChecksumAlgorithm};

/// Entries remembered at a time when the orders differ.
const MAX_OUT_OF_ORDER: usize = 200_000;
const IN_MEMORY: usize = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Spool {
    file: BufWriter<SpooledTempFile>,
    records: u64,
    /// Those of the archives of tablespaces that are not in this one.
    others: BTreeMap<u32, Self>,
}

type Found = (u64, Checksum);

impl Spool {
    pub(crate) fn new(directory: &Path) -> Self {
        let file = BufWriter::with_capacity(32 * 1024, spooled_tempfile_in(IN_MEMORY, directory));
        Self { file, records: 0, others: BTreeMap::new() }
    }

    /// What was received in the archive of a tablespace.
    pub(crate) fn beside(&mut self, tablespace: u32, other: Self) {
        self.others.insert(tablespace, other);
    }

    pub(crate) fn add(&mut self, path: &[u8], size: u64, checksum: Checksum) -> io::Result<()> {
        let length = u16::try_from(path.len()).map_err(io::Error::other)?;
        let sum = checksum.as_bytes();
        let sum_length = u8::try_from(sum.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(path)?;
        self.file.write_all(&size.to_le_bytes())?;
        self.file.write_all(&[sum_length])?;
        self.file.write_all(sum)?;
        self.records = self.records.saturating_add(1);
        Ok(())
    }

    /// Compares everything received with the manifest.
    pub(crate) fn compare(
        self,
        manifest: impl Read,
        algorithm: ChecksumAlgorithm,
        directory: &Path,
    ) -> Result<ManifestSummary, ExtractError> {
        let mut received = Received::new(self).map_err(at("read the list of files of", directory))?;
        let mut reader = ManifestReader::new(manifest)?;
        let mut listed = ManifestFile::default();
        while reader.next_file(&mut listed)? {
            let name = || String::from_utf8_lossy(&listed.path).into_owned();
            let (size, checksum) = received
                .find(&listed.path, directory)?
                .ok_or_else(|| ExtractError::Missing { path: name() })?;
            if size != listed.size {
                return Err(ExtractError::Size { path: name(), expected: listed.size, found: size });
            }
            if listed.algorithm == ChecksumAlgorithm::None {
                continue;
            }
            if listed.algorithm != algorithm {
                let (expected, found) = (algorithm.name(), listed.algorithm.name());
                return Err(ExtractError::Algorithm { path: name(), expected, found });
            }
            if checksum != listed.checksum {
                let (expected, found) = (listed.checksum.to_string(), checksum.to_string());
                return Err(ExtractError::Checksum { path: name(), expected, found });
            }
        }
        received.nothing_left(directory)?;
        Ok(reader.finish()?)
    }
}

/// The records of one spool, in order.
struct Records {
    file: BufReader<SpooledTempFile>,
    left: u64,
}

impl Records {
    fn new(file: BufWriter<SpooledTempFile>, left: u64) -> io::Result<Self> {
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file: BufReader::with_capacity(32 * 1024, file), left })
    }

    /// The next record; its path goes to `path`.
    fn next(&mut self, path: &mut Vec<u8>) -> io::Result<Option<Found>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let (mut length, mut size, mut sum_length, mut sum) = ([0; 2], [0; 8], [0; 1], [0; 64]);
        self.file.read_exact(&mut length)?;
        path.resize(usize::from(u16::from_le_bytes(length)), 0);
        self.file.read_exact(path)?;
        self.file.read_exact(&mut size)?;
        self.file.read_exact(&mut sum_length)?;
        let sum = sum.get_mut(..usize::from(sum_length[0])).ok_or(io::ErrorKind::InvalidData)?;
        self.file.read_exact(sum)?;
        let checksum = Checksum::new(sum).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some((u64::from_le_bytes(size), checksum)))
    }
}

struct Received {
    own: Records,
    others: BTreeMap<u32, Records>,
    path: Vec<u8>,
    skipped: HashMap<Vec<u8>, Found>,
}

impl Received {
    fn new(spool: Spool) -> io::Result<Self> {
        let others = spool.others.into_iter();
        let others = others.map(|(oid, other)| Ok((oid, Records::new(other.file, other.records)?)));
        Ok(Self {
            own: Records::new(spool.file, spool.records)?,
            others: others.collect::<io::Result<_>>()?,
            path: Vec::new(),
            skipped: HashMap::new(),
        })
    }

    /// In the spool where a file of this name would be.
    fn find(&mut self, path: &[u8], directory: &Path) -> Result<Option<Found>, ExtractError> {
        if !self.skipped.is_empty()
            && let Some(found) = self.skipped.remove(path)
        {
            return Ok(Some(found));
        }
        let records = match tablespace(path).and_then(|oid| self.others.get_mut(&oid)) {
            Some(records) => records,
            None => &mut self.own,
        };
        let failed = || at("read the list of files of", directory);
        while let Some(found) = records.next(&mut self.path).map_err(failed())? {
            if self.path == path {
                return Ok(Some(found));
            }
            if unlisted(&self.path) {
                continue;
            }
            if self.skipped.len() >= MAX_OUT_OF_ORDER {
                return Err(ExtractError::OutOfOrder { limit: MAX_OUT_OF_ORDER });
            }
            self.skipped.insert(self.path.clone(), found);
        }
        Ok(None)
    }

    fn nothing_left(&mut self, directory: &Path) -> Result<(), ExtractError> {
        let mut extra = self.skipped.keys().min().cloned();
        for records in std::iter::once(&mut self.own).chain(self.others.values_mut()) {
            while extra.is_none()
                && records.next(&mut self.path).map_err(at("read the list of files of", directory))?.is_some()
            {
                extra = (!unlisted(&self.path)).then(|| self.path.clone());
            }
        }
        match extra {
            Some(path) => Err(ExtractError::Extra { path: String::from_utf8_lossy(&path).into_owned() }),
            None => Ok(()),
        }
    }
}

/// The tablespace in `pg_tblspc/<oid>/…`.
fn tablespace(path: &[u8]) -> Option<u32> {
    let rest = path.strip_prefix(b"pg_tblspc/")?;
    std::str::from_utf8(rest.split(|byte| *byte == b'/').next()?).ok()?.parse().ok()
}

/// WAL sent along with a backup is in no manifest.
fn unlisted(path: &[u8]) -> bool {
    path.starts_with(b"pg_wal/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManifestWriter;

    #[test]
    fn archives_have_an_order_of_their_own_each() {
        let dir = tempfile::tempdir().unwrap();
        let none = || ChecksumAlgorithm::None.hasher().finish();
        let spool = |names: &[String]| {
            let mut spool = Spool::new(dir.path());
            names.iter().for_each(|name| spool.add(name.as_bytes(), 0, none()).unwrap());
            spool
        };
        let own: Vec<String> = (0..=MAX_OUT_OF_ORDER).map(|number| format!("base/1/{number}")).collect();
        let other = ["pg_tblspc/7/PG_15_1/5/1".to_owned(), "pg_tblspc/7/PG_15_1/5/2".to_owned()];
        let mut writer = ManifestWriter::new(Vec::new(), 1, None).unwrap();
        for name in other[..1].iter().chain(&own).chain(&other[1..]) {
            writer.file(name.as_bytes(), 0, 0, ChecksumAlgorithm::None, None).unwrap();
        }
        let manifest = writer.finish(&[]).unwrap();
        let compare = |spool: Spool| spool.compare(manifest.as_slice(), ChecksumAlgorithm::None, dir.path());
        let mut beside = spool(&own);
        beside.beside(7, spool(&other));
        assert_eq!(compare(beside).unwrap().files, own.len() as u64 + 2);
        let behind: Vec<String> = own.iter().chain(&other).cloned().collect();
        assert!(matches!(compare(spool(&behind)), Err(ExtractError::OutOfOrder { .. })));
    }
}
