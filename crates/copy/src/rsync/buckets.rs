//! Lists of files for the processes to copy, of about the same weight.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::sync::{SyncError, at};

/// A list for one process is not longer than this, so that a failure does not begin too much again (Barman's size).
const MAX_BYTES: u64 = 10 * 1024 * 1024 * 1024;

/// One list.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    pub(super) list: PathBuf,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Compare by checksum: the time stamps do not say whether the files are the same.
    pub(super) checksum: bool,
}

/// Deals files out to lists, which are kept on disk.
pub(super) struct Buckets<'d> {
    directory: &'d Path,
    prefix: String,
    checksum: bool,
    open: Vec<(Bucket, BufWriter<File>)>,
    full: Vec<Bucket>,
    width: usize,
}

impl<'d> Buckets<'d> {
    pub(super) fn new(directory: &'d Path, prefix: &str, width: usize, checksum: bool) -> Self {
        let prefix = prefix.to_owned();
        Self { directory, prefix, checksum, open: Vec::new(), full: Vec::new(), width: width.max(1) }
    }

    /// To the list that has least.
    pub(super) fn add(&mut self, path: &Path, size: u64) -> Result<(), SyncError> {
        if self.open.len() < self.width {
            self.create()?;
        }
        let lightest =
            self.open.iter().enumerate().min_by_key(|(_, (bucket, _))| bucket.bytes + bucket.files);
        let Some(index) = lightest.map(|(index, _)| index) else { return Ok(()) };
        let Some((bucket, writer)) = self.open.get_mut(index) else { return Ok(()) };
        let written = writer.write_all(path.as_os_str().as_bytes()).and_then(|()| writer.write_all(&[0]));
        written.map_err(at("write", &bucket.list))?;
        bucket.files += 1;
        bucket.bytes = bucket.bytes.saturating_add(size);
        if bucket.bytes >= MAX_BYTES {
            let (bucket, writer) = self.open.swap_remove(index);
            self.full.push(close(bucket, writer)?);
        }
        Ok(())
    }

    fn create(&mut self) -> Result<(), SyncError> {
        let kind = if self.checksum { "check" } else { "safe" };
        let number = self.open.len() + self.full.len();
        let list = self.directory.join(format!("{}-{kind}-{number}", self.prefix));
        let file = File::create_new(&list).map_err(at("create", &list))?;
        let bucket = Bucket { list, files: 0, bytes: 0, checksum: self.checksum };
        self.open.push((bucket, BufWriter::new(file)));
        Ok(())
    }

    /// All lists.
    pub(super) fn finish(mut self) -> Result<Vec<Bucket>, SyncError> {
        for (bucket, writer) in self.open {
            self.full.push(close(bucket, writer)?);
        }
        Ok(self.full)
    }
}

fn close(bucket: Bucket, mut writer: BufWriter<File>) -> Result<Bucket, SyncError> {
    writer.flush().map_err(at("write", &bucket.list))?;
    Ok(bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_dealt_out_evenly_and_large_lists_are_closed() {
        let dir = tempfile::tempdir().unwrap();
        let mut buckets = Buckets::new(dir.path(), "0", 2, false);
        for n in 0..10 {
            buckets.add(Path::new(&format!("f{n}")), 3 * 1024 * 1024 * 1024).unwrap();
        }
        let lists = buckets.finish().unwrap();
        assert_eq!(lists.iter().map(|list| list.files).sum::<u64>(), 10);
        assert!(
            lists.len() >= 3 && lists.iter().all(|list| list.bytes <= 12 * 1024 * 1024 * 1024),
            "{lists:?}"
        );
        let mut names: Vec<_> = lists
            .iter()
            .flat_map(|list| {
                let text = String::from_utf8(std::fs::read(&list.list).unwrap()).unwrap();
                text.split_terminator('\0').map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        names.sort();
        assert_eq!(names, (0..10).map(|n| format!("f{n}")).collect::<Vec<_>>());
        assert!(Buckets::new(dir.path(), "1", 2, true).finish().unwrap().is_empty());
    }
}
