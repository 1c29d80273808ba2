//! A backup from elsewhere into the catalog: Barman's `import-backup`, without the archive it came in.
//!
//! Everything is first written below `base/.import-…`, where no program looks, and synced. Then, under the lock of the index,
//! its WAL is compared with the archive and published, the index merged, and at last the directory renamed to
//! `base/<id>`, with the record and its `keep` annotation inside, in the places where older versions of Barman had them: this
//! one rename is the import. Before it the backup is not there (WAL that a crash left in the archive is complete, and the same
//! import run again takes it as its own); after it everything is. What follows only moves record and annotation to
//! `meta/`.

mod error;
mod publish;
mod syncer;
mod wals;

pub use error::ImportError;

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use walfile::WalName;

use crate::custom_filter::CustomFilter;
use crate::durable::{self, DurableError, DurableFile, OpenMode};
use crate::gpg::Gpg;
use crate::locks::{Lock, LockError, LockName};
use crate::{BackupId, BackupRecord, Catalog, CatalogError, KeepTarget, XlogEntry};
use syncer::Syncer;

/// What the names of staging directories begin with, as Barman's do.
const PREFIX: &str = ".import-";

/// An import under way. Dropped before [`Import::publish`] it leaves nothing behind.
///
/// ```
/// use std::io::Write as _;
/// use std::time::SystemTime;
/// use tapster_catalog::import::Import;
/// use tapster_catalog::{Catalog, ServerLayout, ServerName, UtcOffset};
/// let home = tempfile::tempdir()?;
/// let layout = ServerLayout::standard(home.path(), ServerName::new("main")?);
/// let catalog = Catalog::open(layout, UtcOffset::UTC);
/// let mut import = Import::begin(&catalog, "20261121T000542".parse()?)?;
/// import.directory("data".as_ref(), 0o700)?;
/// let mut file = import.file("data/PG_VERSION".as_ref())?;
/// file.write_all(b"15\n")?;
/// file.finish(0o600, SystemTime::UNIX_EPOCH)?;
/// drop(import);
/// assert_eq!(std::fs::read_dir(home.path().join("main/base"))?.count(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Import<'c> {
    catalog: &'c Catalog,
    id: BackupId,
    staging: PathBuf,
    syncer: Syncer,
    links: BTreeSet<u32>,
    /// Whether the directory has become the backup's.
    published: bool,
    _locks: [Lock; 2],
}

/// What is to be published besides the files.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportPlan {
    /// The backup's record; its id is that of the import.
    pub record: BackupRecord,
    /// The WAL that came, as it was listed where it comes from.
    pub wals: Vec<XlogEntry>,
    /// History files that came and are not listed.
    pub histories: Vec<WalName>,
    /// How the backup is kept, `None` for not at all.
    pub keep: Option<KeepTarget>,
    /// The user's own compression, if any of the WAL may be compressed with it.
    pub custom: Option<CustomFilter>,
    /// Decrypts, to compare.
    pub gpg: Option<Gpg>,
    /// Threads that compare WAL with its names.
    pub workers: usize,
}

impl ImportPlan {
    /// A backup with its WAL, kept `standalone`, as Barman's import does: nothing says that the archive goes on from it.
    pub const fn new(record: BackupRecord, wals: Vec<XlogEntry>) -> Self {
        Self {
            record,
            wals,
            histories: Vec::new(),
            custom: None,
            gpg: None,
            keep: Some(KeepTarget::Standalone),
            workers: 1,
        }
    }
}

/// What an import did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Imported {
    /// WAL files that went into the archive.
    pub wals: usize,
    /// WAL files that the archive had already.
    pub already_archived: usize,
    /// Why record or annotation are still in the places of older versions, where both programs find them.
    pub unsettled: Option<String>,
}

impl<'c> Import<'c> {
    /// Takes the locks, as Barman does, removes what a killed import left, and makes the directory to write to.
    ///
    /// # Errors
    /// [`ImportError::Busy`], [`ImportError::Exists`], [`ImportError::InTheWay`], or what the storage says.
    pub fn begin(catalog: &'c Catalog, id: BackupId) -> Result<Self, ImportError> {
        let layout = catalog.layout();
        let lock = |name| {
            Lock::try_acquire(&layout.lock(&name)).map_err(|error| match error {
                LockError::Busy { .. } => ImportError::Busy { server: layout.server.to_string() },
                other => ImportError::Lock(other),
            })
        };
        durable::create_dir_all(catalog.disk(), &layout.lock_dir, None)?;
        let locks = [lock(LockName::Backup)?, lock(LockName::BackupId(id))?];
        match catalog.load(&id) {
            Err(CatalogError::Unknown { .. }) => {}
            // A record that cannot be read is a backup all the same.
            Ok(_) | Err(CatalogError::Record(_)) => {
                return Err(ImportError::Exists { id, server: layout.server.to_string() });
            }
            Err(error) => return Err(error.into()),
        }
        let path = layout.backup_dir(&id);
        if path.symlink_metadata().is_ok() {
            return Err(ImportError::InTheWay { id, path });
        }
        for dir in layout.directories() {
            durable::create_dir_all(catalog.disk(), dir, None)?;
        }
        remove_leftovers(catalog)?;
        let staging = layout.base.join(format!("{PREFIX}{id}-{}", std::process::id()));
        let syncer = Syncer::start();
        let links = BTreeSet::new();
        let import = Self { catalog, id, staging, syncer, links, published: false, _locks: locks };
        for dir in [import.staging.clone(), import.staging.join("backup"), import.staging.join("wals")] {
            import.make_dir(&dir, None)?;
        }
        Ok(import)
    }

    /// The directory that is written to, for asking how much room there is.
    pub fn staging(&self) -> &Path {
        &self.staging
    }

    /// A directory of the backup; `path` is relative to `base/<id>`, and empty for that itself. The owner may always write.
    ///
    /// # Errors
    /// When the path leaves the backup, or the storage fails.
    pub fn directory(&mut self, path: &Path, mode: u32) -> Result<(), ImportError> {
        let place = self.place(path)?;
        if place.is_dir() {
            return Ok(());
        }
        self.make_parents(&place)?;
        self.make_dir(&place, Some(mode & 0o777 | 0o700))
    }

    /// A file of the backup, to be written; `path` is relative to `base/<id>`.
    ///
    /// # Errors
    /// When the path leaves the backup, the file came before, or the storage fails.
    pub fn file(&mut self, path: &Path) -> Result<ImportFile<'_>, ImportError> {
        let place = self.place(path)?;
        if place.file_name() != path.file_name() {
            return Err(ImportError::Path { path: path.to_owned() });
        }
        self.create(&place, path)
    }

    /// A file of WAL, to be written as it is stored.
    ///
    /// # Errors
    /// When it came before, or the storage fails.
    pub fn wal(&mut self, name: WalName) -> Result<ImportFile<'_>, ImportError> {
        let place = self.staged_wal(name);
        self.create(&place, Path::new(&name.to_string()))
    }

    /// The backup has a link of this tablespace in `data/pg_tblspc`; it is made anew, to where the tablespace's files will lie.
    pub fn tablespace_link(&mut self, oid: u32) {
        self.links.insert(oid);
    }

    fn create(&self, place: &Path, name: &Path) -> Result<ImportFile<'_>, ImportError> {
        self.make_parents(place)?;
        let file = DurableFile::open(self.catalog.disk(), place, OpenMode::CreateNew, Some(0o600));
        let file = file.map_err(|error| match error {
            DurableError::Exists { .. } => ImportError::Twice { path: name.to_owned() },
            other => other.into(),
        })?;
        Ok(ImportFile { file, syncer: &self.syncer })
    }

    /// Directories above a file that did not come as members of their own.
    fn make_parents(&self, place: &Path) -> Result<(), ImportError> {
        let above = durable::parent(place);
        if above.is_dir() || !above.starts_with(&self.staging) {
            return Ok(());
        }
        self.make_parents(above)?;
        self.make_dir(above, None)
    }

    fn make_dir(&self, dir: &Path, mode: Option<u32>) -> Result<(), ImportError> {
        let made = self.catalog.disk().mkdir(dir, mode);
        Ok(made.map_err(|e| DurableError::io(durable::Step::MakeDir, dir, e))?)
    }

    fn place(&self, path: &Path) -> Result<PathBuf, ImportError> {
        if path.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(ImportError::Path { path: path.to_owned() });
        }
        Ok(self.staged_backup().join(path))
    }

    fn staged_backup(&self) -> PathBuf {
        self.staging.join("backup")
    }

    fn staged_wal(&self, name: WalName) -> PathBuf {
        let dir = self.staging.join("wals").join(name.hash_dir().unwrap_or_default());
        dir.join(name.to_string())
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct ImportFile<'i> {
    file: DurableFile,
    syncer: &'i Syncer,
}

impl ImportFile<'_> {
    /// The file is complete. It is synced while others are written.
    ///
    /// # Errors
    /// When its attributes cannot be set.
    pub fn finish(mut self, mode: u32, modified: SystemTime) -> Result<(), ImportError> {
        self.file.set_mode(mode & 0o777)?;
        self.file.set_modified(modified)?;
        Ok(self.syncer.push(self.file)?)
    }
}

impl io::Write for ImportFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut self.file, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Import<'_> {
    fn drop(&mut self) {
        // Its threads hold files in it.
        drop(self.syncer.finish());
        // When this fails the next import removes it.
        if let Err(error) = durable::remove_tree(self.catalog.disk(), &self.staging)
            && !self.published
        {
            tracing::warn!(directory = %self.staging.display(), "what was imported so far stays: {error}");
        }
    }
}

/// Removes what killed imports have staged, which may be as large as a cluster. While the server's lock of backups is held,
/// whoever holds it may be importing: then nothing happens.
///
/// # Errors
/// When something cannot be listed or removed, or the lock not be used.
pub fn remove_abandoned(catalog: &Catalog) -> Result<(), ImportError> {
    // Nearly always there is none, and then nobody finds the lock held.
    if staged(catalog)?.is_empty() {
        return Ok(());
    }
    match Lock::try_acquire(&catalog.layout().lock(&LockName::Backup)) {
        Ok(_lock) => remove_leftovers(catalog),
        Err(LockError::Busy { .. }) => Ok(()),
        Err(error) => Err(ImportError::Lock(error)),
    }
}

/// Under the lock of backups nobody imports, so all staging directories are those of killed runs.
fn remove_leftovers(catalog: &Catalog) -> Result<(), ImportError> {
    for path in staged(catalog)? {
        durable::remove_tree(catalog.disk(), &path)?;
    }
    Ok(())
}

fn staged(catalog: &Catalog) -> Result<Vec<PathBuf>, ImportError> {
    let base = &catalog.layout().base;
    let fail = |source| ImportError::Read { path: base.clone(), source };
    let entries = match std::fs::read_dir(base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fail)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fail)?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
