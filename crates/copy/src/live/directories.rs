//! The directories of the copy: made first, given their modes last.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::sync::{self, SyncError, at};
use crate::tree::TreeError;

/// Directories made so far, parents before children, with the modes they shall have.
#[derive(Debug, Default)]
pub(super) struct Directories(Vec<(PathBuf, u32)>);

impl Directories {
    /// Makes one; its parent is there.
    pub(super) fn make(&mut self, path: PathBuf, mode: u32) -> Result<(), TreeError> {
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(_) if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) => Ok(()),
            result => result.map_err(at("create", &path)),
        }?;
        self.0.push((path, mode));
        Ok(())
    }

    pub(super) fn root(&mut self, path: &Path, mode: u32) -> Result<(), TreeError> {
        sync::create_dir_all(path, 0o700)?;
        self.0.push((path.to_path_buf(), mode));
        Ok(())
    }

    /// Sets the modes, children first.
    pub(super) fn finish(&self) -> Result<(), SyncError> {
        self.0.iter().rev().try_for_each(|(path, mode)| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode)).map_err(at("chmod", path))
        })
    }

    pub(super) fn sync(&self) -> Result<(), SyncError> {
        self.0.iter().rev().try_for_each(|(path, _)| sync::directory(path))
    }
}
