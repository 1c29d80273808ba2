//! `tapster wal-archive`: `archive_command` on the backup host itself, without ssh between.

use std::fs::File;
use std::path::Path;

use tapster_catalog::Identity;
use tapster_catalog::durable;
use tapster_catalog::incoming::{self, AcceptError, Accepted};

use super::validate::{self, NotThisWal, Strictness};
use super::{PutWal, PutWalError};
use crate::{Context, Server};

impl Server {
    /// Takes the file at `path` (PostgreSQL's `%p`) into `incoming/` under its own name.
    ///
    /// # Errors
    /// When it is not WAL of this server, differs from what is here under that name, or cannot be stored durably.
    pub fn archive_local_wal(&self, path: &Path, context: &Context<'_>) -> Result<PutWal, PutWalError> {
        let read = |source| PutWalError::Read { path: path.to_owned(), source };
        let text = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let invalid = |problem| PutWalError::Invalid { name: text.clone(), problem };
        let name = text.parse().map_err(|_| invalid(NotThisWal::Name))?;
        let mut file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        if !metadata.is_file() {
            return Err(invalid(NotThisWal::FileType));
        }
        validate::check(&mut file, name, self.system_id()?, Strictness::Full)
            .map_err(read)?
            .map_err(invalid)?;
        std::io::Seek::rewind(&mut file).map_err(read)?;

        let disk = self.catalog.disk();
        drop(durable::remove_stale(disk, &self.layout().incoming));
        // Exactly what was looked at; a file that grows or shrinks meanwhile is caught below.
        let mut length = Counted(0);
        let received = incoming::receive(
            disk,
            self.layout(),
            self.wal_home(),
            name,
            metadata.modified().ok(),
            &file,
            &mut length,
        )?;
        if length.0 != metadata.len() {
            return Err(invalid(NotThisWal::Length { expected: Some(metadata.len()), found: length.0 }));
        }
        let accepted: Accepted = received
            .with_custom_filter(self.custom.as_ref())
            .with_gpg(Some(&self.gpg))
            .commit()
            .or_else(|error| match error {
                AcceptError::Undecided { path: there, source } => {
                    let again = File::open(path).map_err(read)?;
                    self.set_aside(name, again, (&there, &source), context)
                }
                AcceptError::Different { path: there } => {
                    let again = File::open(path).ok();
                    let moved =
                        again.and_then(|file| self.keep_duplicate(name, file, context.now()).ok()).flatten();
                    Err(PutWalError::Different { name, server: self.name().to_owned(), path: there, moved })
                }
                error => Err(error.into()),
            })?;
        Ok(PutWal { files: vec![(name, accepted)] })
    }

    pub(super) fn system_id(&self) -> Result<Option<u64>, PutWalError> {
        Ok(Identity::load(&self.layout().identity())?.and_then(|identity| identity.system_id.parse().ok()))
    }
}

struct Counted(u64);

impl incoming::Verify for Counted {
    fn update(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }

    fn verify(&mut self) -> Result<(), String> {
        Ok(())
    }
}
