//! Files that nobody writes to any more: those of a backup that is stored on another host, and of an archive of WAL.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::command::{Rsync, RsyncTree, filters};
use super::process::{RsyncError, run};
use super::shared::SCRATCH;
use crate::sync::at;

impl Rsync {
    /// Before a copy that an earlier attempt had begun: removes what the source does not have, and what a killed attempt left.
    ///
    /// # Errors
    /// When a process or a file operation fails.
    pub fn prepare_again(&self, tree: &RsyncTree, stop: &AtomicBool) -> Result<(), RsyncError> {
        for entry in std::fs::read_dir(&tree.target).map_err(at("read", &tree.target))? {
            let entry = entry.map_err(at("read", &tree.target))?;
            if entry.file_name().as_bytes().starts_with(SCRATCH.as_bytes()) {
                let path = entry.path();
                std::fs::remove_dir_all(&path).map_err(at("remove", &path))?;
            }
        }
        let what = format!("looking for what is left of {}", tree.label);
        self.with_retries(stop, &mut |_, _| {}, || {
            let mut command = self.base();
            command.args(["-rLs", "--delete", "--existing", "--ignore-existing"]).args(filters(&tree.rules));
            command.arg(self.place(&format!("{}/", tree.source))).arg(&tree.target);
            run(command, stop, &mut |_| Ok(()))?.complete(&what)
        })
    }

    /// Copies those of the files that are there, to the same places below `target`, with times and modes. Nothing is synced.
    /// Returns whether the directory `source` is there.
    ///
    /// # Errors
    /// When rsync fails for another reason than that something is not there.
    pub fn fetch(
        &self,
        source: &str,
        names: &[PathBuf],
        target: &Path,
        limit: Option<u32>,
        stop: &AtomicBool,
    ) -> Result<bool, RsyncError> {
        let lists = tempfile::tempdir().map_err(at("create a directory in", &std::env::temp_dir()))?;
        let list = lists.path().join("names");
        let mut text = Vec::new();
        for name in names {
            text.extend_from_slice(name.as_os_str().as_bytes());
            text.push(0);
        }
        File::create(&list).and_then(|mut file| file.write_all(&text)).map_err(at("write", &list))?;
        self.with_retries(stop, &mut |_, _| {}, || {
            let mut command = self.base();
            command.args(["-pts", "--ignore-missing-args", "--from0"]);
            if let Some(limit) = limit {
                command.arg(format!("--bwlimit={limit}"));
            }
            let mut from = std::ffi::OsString::from("--files-from=");
            from.push(&list);
            command.arg(from).arg(self.place(&format!("{}/", source.trim_end_matches('/')))).arg(target);
            let ended = run(command, stop, &mut |_| Ok(()))?;
            if ended.has_no_root() {
                return Ok(false);
            }
            // A file that goes in this moment was not there.
            ended.check(&format!("copying from {source}")).map(|_| true)
        })
    }
}
