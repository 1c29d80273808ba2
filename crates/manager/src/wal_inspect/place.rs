//! Files by their paths.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tapster_catalog::WalDirectory;
use walfile::{SegmentName, WalArchive, WalName};

use super::WalInspectError;

/// The directory of some segment; when it is one of an archive in Barman's layout, the directories beside it too.
#[derive(Clone, Debug)]
pub struct SegmentFiles {
    directory: WalDirectory,
    /// The directory of the archive.
    archive: Option<PathBuf>,
}

impl SegmentFiles {
    /// The files in `directory`, or where there is none in its `pg_wal`.
    ///
    /// # Errors
    /// When the directory cannot be read, or holds no segment.
    pub fn in_directory(directory: &Path) -> Result<Self, WalInspectError> {
        let fail = |source| WalInspectError::Directory { path: directory.to_owned(), source };
        for directory in [directory.to_owned(), directory.join("pg_wal")] {
            let files = match WalDirectory::new(&directory).files() {
                Ok(files) => files,
                Err(error) if error.kind() == io::ErrorKind::NotFound && directory.ends_with("pg_wal") => {
                    continue;
                }
                Err(error) => return Err(fail(error)),
            };
            let segment = |name: &WalName| matches!(name, WalName::Segment(_) | WalName::Partial(_));
            if files.iter().any(segment) {
                return Ok(Self::beside(&directory));
            }
        }
        Err(WalInspectError::Empty)
    }

    /// The directory and the name of each of these files, which may be compressed or partial. They are looked for in
    /// `directory` when there is one, whatever their paths are.
    ///
    /// # Errors
    /// When a name is not that of a segment, or they are not in one directory.
    pub fn of(
        paths: &[PathBuf],
        directory: Option<&Path>,
    ) -> Result<(Self, Vec<SegmentName>), WalInspectError> {
        let mut names = Vec::with_capacity(paths.len());
        let mut place: Option<Self> = None;
        for path in paths {
            names.push(Self::name_of(path)?);
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let here = match (parent, directory) {
                (_, Some(directory)) => Self::in_directory(directory)?,
                (Some(parent), None) => Self::beside(parent),
                (None, None) if path.exists() || !Path::new("pg_wal").join(path).exists() => {
                    Self::beside(Path::new("."))
                }
                (None, None) => Self::beside(Path::new("pg_wal")),
            };
            match &place {
                None => place = Some(here),
                // pg_waldump, too, looks for the last segment beside the first.
                Some(first) if parent.is_none() || directory.is_some() || first.is_beside(&here) => {}
                Some(_) => return Err(WalInspectError::Directories),
            }
        }
        Ok((place.ok_or(WalInspectError::NoStart)?, names))
    }

    /// The segment that a file holds: its name up to the first point.
    ///
    /// # Errors
    /// When that is not the name of a segment.
    pub fn name_of(path: &Path) -> Result<SegmentName, WalInspectError> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let stem = name.split('.').next().unwrap_or_default();
        stem.parse().map_err(|_| WalInspectError::Name { name: name.into_owned() })
    }

    fn beside(directory: &Path) -> Self {
        let is_hash = |name: &str| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hashed = directory.file_name().and_then(|name| name.to_str()).is_some_and(is_hash);
        let archive = directory.parent().filter(|_| hashed).map(Path::to_owned);
        Self { directory: WalDirectory::new(directory), archive }
    }

    fn is_beside(&self, other: &Self) -> bool {
        self.directory.path() == other.directory.path()
            || (self.archive.is_some() && self.archive == other.archive)
    }
}

impl WalArchive for SegmentFiles {
    fn open(&self, name: WalName) -> io::Result<Option<Box<dyn Read + Send>>> {
        if let Some(file) = self.directory.open(name)? {
            return Ok(Some(file));
        }
        let (Some(archive), WalName::Segment(segment) | WalName::Partial(segment)) = (&self.archive, name)
        else {
            return Ok(None);
        };
        WalDirectory::new(archive.join(segment.hash_dir())).open(name)
    }
}
