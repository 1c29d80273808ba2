//! What says that a server has backups although none is found: they may lie on a disk that is not mounted.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tapster_catalog::{BackupId, CatalogError};
use walfile::WalName;

use crate::Server;

/// What says that a server has backups, or had some, although none is found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BackupTrace {
    /// Where backups should be is no directory.
    NoDirectory {
        /// `basebackups_directory`.
        path: PathBuf,
    },
    /// The archive is on another file system than what tells of backups: one can be mounted without the other.
    OtherFileSystem {
        /// `backup_directory`, a directory below it, or `basebackups_directory`.
        path: PathBuf,
        /// `wals_directory`.
        wals: PathBuf,
    },
    /// A file that is there only since a backup was taken: `identity.json`, or something of a backup below `meta/`.
    File {
        /// The file.
        path: PathBuf,
    },
    /// The primary node of a passive server has backups, or its answer cannot be read.
    Primary {
        /// `primary.info`.
        path: PathBuf,
    },
    /// A base backup left its label in the archive.
    Label {
        /// The archived file.
        name: WalName,
    },
}

impl fmt::Display for BackupTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory { path } => write!(f, "{} is not there", path.display()),
            Self::OtherFileSystem { path, wals } => write!(
                f,
                "{} and {} are on different file systems, so that one may not be mounted",
                path.display(),
                wals.display()
            ),
            Self::File { path } => write!(f, "{} comes from one", path.display()),
            Self::Primary { path } => write!(f, "the primary node has some ({})", path.display()),
            Self::Label { name } => write!(f, "the archive has the label of one, {name}"),
        }
    }
}

/// What is there; `None` when nothing is.
fn metadata(path: &Path) -> Result<Option<Metadata>, CatalogError> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(CatalogError::List { path: path.to_owned(), source }),
    }
}

impl Server {
    /// The first of the traces outside the index of the archive.
    ///
    /// Records of Barman before 3.13.2 lie in `base/`, which may be a disk of its own; all that is elsewhere has to agree that there
    /// is none. Nothing of it proves a backup. Whoever knows better says so with `tapster_wal_only`.
    pub(super) fn backup_trace(&self) -> Result<Option<BackupTrace>, CatalogError> {
        let layout = self.layout();
        if !metadata(&layout.base)?.is_some_and(|found| found.is_dir()) {
            return Ok(Some(BackupTrace::NoDirectory { path: layout.base.clone() }));
        }
        let device = metadata(&layout.wals)?.map(|found| found.dev());
        for path in [&layout.root, &layout.meta, &layout.base] {
            if metadata(path)?.is_some_and(|found| Some(found.dev()) != device) {
                let (path, wals) = (path.clone(), layout.wals.clone());
                return Ok(Some(BackupTrace::OtherFileSystem { path, wals }));
            }
        }
        let identity = layout.identity();
        if metadata(&identity)?.is_some() {
            return Ok(Some(BackupTrace::File { path: identity }));
        }
        if let Some(path) = self.first_of_a_backup(&layout.meta)? {
            return Ok(Some(BackupTrace::File { path }));
        }
        let path = self.primary_info_file();
        let is_known = metadata(&path)?.is_some();
        Ok((is_known && self.primary_may_have_backups()).then_some(BackupTrace::Primary { path }))
    }

    /// `<id>-…` in `dir`: a record, an annotation, a manifest, or what is left of writing one.
    fn first_of_a_backup(&self, dir: &Path) -> Result<Option<PathBuf>, CatalogError> {
        let fail = |source| CatalogError::List { path: dir.to_owned(), source };
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        for entry in entries {
            let name = entry.map_err(fail)?.file_name().to_string_lossy().into_owned();
            let id = name.trim_start_matches('.').split('-').next().unwrap_or_default();
            if id.parse::<BackupId>().is_ok() {
                return Ok(Some(dir.join(name)));
            }
        }
        Ok(None)
    }
}
