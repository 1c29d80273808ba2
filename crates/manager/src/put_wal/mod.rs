//! WAL from an `archive_command` into `incoming/`: over ssh (`put-wal`, a tar stream with checksums) or on the same host.
//!
//! When these return success the file is durable here under its name with just this content; PostgreSQL removes its own then.

#[cfg(test)]
mod faults;
mod local;
mod stream;
mod sums;
mod validate;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tapster_catalog::IdentityError;
use tapster_catalog::durable::{Clobber, DurableError, Publish, Step};
use tapster_catalog::incoming::{AcceptError, Accepted};
use thiserror::Error;
use walfile::WalName;

use crate::event::Event;
use crate::{Context, Server};

pub use validate::NotThisWal;

/// What came in.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PutWal {
    /// The files in the order of the stream, each with whether it was new.
    pub files: Vec<(WalName, Accepted)>,
}

/// WAL that was not taken: `archive_command` has to fail.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PutWalError {
    /// The stream is no tar archive, or ends in its middle.
    #[error("Error reading the tar stream: {0}")]
    Stream(io::Error),
    /// A member that does not belong into it.
    #[error("Unsupported file type or name in the tar stream: {name}: {problem}")]
    Member {
        /// Its name, shortened to 64 characters.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The stream holds nothing.
    #[error("No WAL file in the tar stream")]
    Empty,
    /// A file without a checksum.
    #[error("Missing checksum for file {name}")]
    NoChecksum {
        /// The file.
        name: WalName,
    },
    /// A checksum that does not match, or one without a file.
    #[error("Bad file checksum '{found}' (expected '{expected}') for file '{name}'")]
    Checksum {
        /// The file, as the sender calls it.
        name: String,
        /// What the sender says.
        expected: String,
        /// What came.
        found: String,
    },
    /// There is a file of this name with other content, which stays. Barman reports success here.
    #[error(
        "Duplicate Files Detected with Mismatched Checksums. File {name} already exists on server {server} with different \
         content ({}){}", path.display(), kept(moved.as_deref())
    )]
    Different {
        /// The file.
        name: WalName,
        /// The server.
        server: String,
        /// The one that was there before.
        path: PathBuf,
        /// The copy of the new one in `errors/`, if there is none of this name already.
        moved: Option<PathBuf>,
    },
    /// It is not what its name says, or of another cluster.
    #[error("{name} is refused: {problem}")]
    Invalid {
        /// The file.
        name: String,
        /// What is wrong with it.
        problem: NotThisWal,
    },
    /// The file to be archived cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Receiving or storing failed.
    #[error(transparent)]
    Accept(#[from] AcceptError),
    /// `identity.json` cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

fn kept(moved: Option<&Path>) -> String {
    moved.map_or_else(String::new, |_| ". The file has been moved to the errors directory".to_owned())
}

impl Server {
    /// Keeps a file in `errors/` that nobody here can compare with the one archived under its name. Success is reported for it, so
    /// it is durable when this returns, each content once.
    fn set_aside(
        &self,
        name: WalName,
        mut from: impl io::Read + io::Seek,
        (there, problem): (&Path, &io::Error),
        context: &Context<'_>,
    ) -> Result<Accepted, PutWalError> {
        let errors = &self.layout().errors;
        let read = |source| PutWalError::Read { path: errors.clone(), source };
        let kept = |e: DurableError| PutWalError::from(AcceptError::from(e));
        for path in self.duplicates(name).map_err(kept)? {
            from.rewind().map_err(read)?;
            if has_content(&path, &mut from).map_err(read)? {
                // Whoever put it there may not have come to the sync.
                self.catalog.disk().sync_file(&path).map_err(read)?;
                tapster_catalog::durable::sync_dir(self.catalog.disk(), errors).map_err(kept)?;
                return Ok(Accepted::SetAside);
            }
        }
        from.rewind().map_err(read)?;
        let moved = self.keep_copy(name, from, context.now()).map_err(kept)?;
        context.tell(Event::Warning(format!(
            "{name} cannot be compared with {}, which stays, because that cannot be decrypted: {problem}. The new file has been put \
             into the errors directory: {}",
            there.display(),
            moved.display()
        )));
        Ok(Accepted::SetAside)
    }

    /// Barman keeps what it refuses in `errors/`, where its `check` counts it. PostgreSQL, unlike with Barman, offers the file again
    /// and again, so one copy has to do.
    fn keep_duplicate(
        &self,
        name: WalName,
        from: impl io::Read,
        now: time::OffsetDateTime,
    ) -> Result<Option<PathBuf>, DurableError> {
        if !self.duplicates(name)?.is_empty() {
            return Ok(None);
        }
        self.keep_copy(name, from, now).map(Some)
    }

    /// The files of this name that `errors/` has as duplicates.
    fn duplicates(&self, name: WalName) -> Result<Vec<PathBuf>, DurableError> {
        let errors = &self.layout().errors;
        let read = |e| DurableError::io(Step::Read, errors, e);
        tapster_catalog::durable::create_dir_all(self.catalog.disk(), errors, None)?;
        // What a run left that was killed here.
        drop(tapster_catalog::durable::remove_stale(self.catalog.disk(), errors));
        let prefix = format!("{name}.");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(errors).map_err(read)? {
            let entry = entry.map_err(read)?;
            let file_name = entry.file_name();
            let is_one = |text: &str| text.starts_with(&prefix) && text.ends_with(".duplicate");
            if file_name.to_str().is_some_and(is_one) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    /// A durable copy in `errors/` under a name of its own.
    fn keep_copy(
        &self,
        name: WalName,
        mut from: impl io::Read,
        now: time::OffsetDateTime,
    ) -> Result<PathBuf, DurableError> {
        let errors = &self.layout().errors;
        let now = now.to_offset(time::UtcOffset::UTC);
        let stamp = format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
            now.year(),
            u8::from(now.month()),
            now.day(),
            now.hour(),
            now.minute(),
            now.second()
        );
        let target = (0_u32..)
            .map(|number| match number {
                0 => errors.join(format!("{name}.{stamp}.duplicate")),
                number => errors.join(format!("{name}.{stamp}-{number}.duplicate")),
            })
            .find(|target| target.symlink_metadata().is_err())
            .unwrap_or_default();
        let mut copy = Publish::create(self.catalog.disk(), &target, None)?;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match from.read(&mut buffer).map_err(|e| DurableError::io(Step::Read, copy.temp_path(), e))? {
                0 => break,
                got => copy.write_all(buffer.get(..got).unwrap_or_default())?,
            }
        }
        copy.publish(Clobber::Refuse)?;
        Ok(target)
    }
}

/// Whether the file has the content that is read from `from`.
fn has_content(path: &Path, from: &mut impl io::Read) -> io::Result<bool> {
    let mut file = std::fs::File::open(path)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    loop {
        ours.clear();
        theirs.clear();
        file.by_ref().take(128 * 1024).read_to_end(&mut ours)?;
        from.by_ref().take(128 * 1024).read_to_end(&mut theirs)?;
        if ours != theirs {
            return Ok(false);
        }
        if ours.is_empty() {
            return Ok(true);
        }
    }
}
