//! The archives of a finished copy, encrypted: `base.tar.gz` becomes `base.tar.gz.gpg`, as Barman leaves it.
//!
//! The manifest stays in the clear: it holds names, sizes and checksums, and nothing of the content.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tapster_catalog::durable::{self, Clobber, DurableError, Publish};
use tapster_catalog::{BackupRecord, Gpg};

use super::BackupStepError;
use crate::event::Event;
use crate::{Context, Server, encryption};

impl Server {
    /// Encrypts the archives, as many at a time as there are processors, each clear one removed when its encrypted one is on
    /// disk.
    pub(super) fn encrypt_backup(
        &self,
        record: &mut BackupRecord,
        context: &Context<'_>,
    ) -> Result<(), BackupStepError> {
        if !encryption::is_on(&self.config) {
            return Ok(());
        }
        context.tell(Event::Encrypting { method: "gpg" });
        let data = self.layout().data_dir(&record.id);
        let archives =
            archives(&data).map_err(|source| BackupStepError::Io { path: data.clone(), source })?;
        let gpg = self.gpg.clone().with_stop(context.stop.clone());
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let work = || {
            while let Some(path) = archives.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.encrypt_archive(path, &gpg) {
                    next.store(archives.len(), Ordering::Relaxed);
                    if let Ok(mut failed) = failed.lock() {
                        failed.get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..crate::processors().clamp(1, archives.len().max(1)) {
                scope.spawn(work);
            }
            work();
        });
        match failed.into_inner() {
            Ok(Some(_)) if context.stopped() => return Err(BackupStepError::Stopped),
            Ok(Some(error)) => return Err(error),
            _ => {}
        }
        record.encryption = Some("gpg".to_owned());
        Ok(())
    }

    fn encrypt_archive(&self, path: &Path, gpg: &Gpg) -> Result<(), BackupStepError> {
        let fail = |source| BackupStepError::Io { path: path.to_owned(), source };
        let disk = self.catalog.disk();
        let mut file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        let mut target = path.as_os_str().to_owned();
        target.push(".gpg");
        let mut encrypted = Publish::create(disk, Path::new(&target), Some(0o600))?;
        gpg.encrypt(|pipe| io::copy(&mut file, pipe).map(|_| ()), &mut encrypted).map_err(fail)?;
        encrypted.copy_attributes(&metadata)?;
        encrypted.publish(Clobber::Refuse)?;
        durable::remove_file(disk, path).map(|_| ()).map_err(DurableError::into)
    }
}

/// `….tar` and `….tar.…`.
fn archives(data: &Path) -> io::Result<Vec<PathBuf>> {
    let mut archives = Vec::new();
    for entry in std::fs::read_dir(data)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_archive = name
            .rsplit_once(".tar")
            .is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('.') && !rest.contains(".gpg"));
        if is_archive && !name.starts_with('.') {
            archives.push(path);
        }
    }
    archives.sort_unstable();
    Ok(archives)
}
