//! The `keep` annotation: backups that retention and `delete` must leave alone.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

use crate::durable::{self, DurableError};
use crate::{BackupId, Catalog, ObjectsError};

pub(crate) const KEY: &str = "keep";

/// How much is kept.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeepTarget {
    /// The backup and all WAL since, for recovery to any later time.
    Full,
    /// The backup and the WAL that makes it consistent.
    Standalone,
}

impl KeepTarget {
    /// The word in the annotation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Standalone => "standalone",
        }
    }
}

impl fmt::Display for KeepTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for KeepTarget {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Full, Self::Standalone].into_iter().find(|target| target.as_str() == text).ok_or(())
    }
}

/// An annotation that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnnotationError {
    /// It cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The object store does not say.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// It says something unknown. The backup counts as kept until somebody has looked.
    #[error("{} says {found:?} instead of full or standalone", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it says, shortened.
        found: String,
    },
}

impl Catalog {
    /// The keep annotation of a backup, from `meta/` or where versions up to 3.13.2 put it.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn keep_target(&self, id: &BackupId) -> Result<Option<KeepTarget>, AnnotationError> {
        for path in [self.layout().annotation(id, KEY), self.layout().old_annotation(id, KEY)] {
            if let Some(text) = read(&path)? {
                let found = || text.chars().take(40).collect();
                let unknown = |()| AnnotationError::Unknown { path: path.clone(), found: found() };
                return text.trim().parse().map(Some).map_err(unknown);
            }
        }
        // A host that knows the backups of another one by the store alone must know what is kept by it too.
        let objects = self.backup_objects().filter(|_| self.reads_store());
        objects.map_or(Ok(None), |objects| Ok(objects.keep(id)?))
    }

    /// Annotates a backup; the content has no newline, as Barman's. Where base backups are in an object store, a copy goes there
    /// first, as with Barman.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_keep_target(&self, id: &BackupId, target: KeepTarget) -> Result<(), DurableError> {
        if let Some(objects) = self.backup_objects() {
            objects.annotate(id, Some(target))?;
        }
        durable::create_dir_all(self.disk(), &self.layout().meta, None)?;
        durable::replace(self.disk(), &self.layout().annotation(id, KEY), target.as_str().as_bytes())
    }

    /// Takes the annotation away. Returns whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn release_keep(&self, id: &BackupId) -> Result<bool, DurableError> {
        if let Some(objects) = self.backup_objects() {
            objects.annotate(id, None)?;
        }
        let old = durable::remove_file(self.disk(), &self.layout().old_annotation(id, KEY))?;
        Ok(durable::remove_file(self.disk(), &self.layout().annotation(id, KEY))? || old)
    }
}

fn read(path: &Path) -> Result<Option<String>, AnnotationError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    match std::fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(AnnotationError::Io { path: path.to_owned(), source }),
    }
}
