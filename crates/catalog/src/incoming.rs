//! The receiving side of `put-wal` and `barman-wal-archive`: WAL files into `incoming/`, durably, each once.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use thiserror::Error;
use walfile::{SegmentSize, WalName};

use crate::ServerLayout;
use crate::custom_filter::CustomFilter;
use crate::durable::{self, Disk, DurableError, Publish, Step};
use crate::gpg::Gpg;
use crate::undo::{self, Undo};
use crate::{ingest, same_content};

/// How a file came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accepted {
    /// It is in `incoming/`, durably.
    New,
    /// It was there already, or in the archive, with the same content, and is durable.
    Already,
    /// The archive has one of this name that cannot be decrypted here to be compared, so whoever asked has put this one into
    /// `errors/`, durably. [`Received::commit`] says [`AcceptError::Undecided`].
    SetAside,
}

/// A file that was not taken. Nothing of it is kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// There is a file of this name with other content, which stays. Barman reports success in this case.
    #[error("{} exists already with different content", path.display())]
    Different {
        /// The file in `incoming/`, or in the archive.
        path: PathBuf,
    },
    /// There is a file of this name, which stays, and nobody here can decrypt it. Unless the new one is kept elsewhere and
    /// success reported, PostgreSQL offers it for ever, and its WAL directory fills up behind it.
    #[error("{} cannot be compared with what came: {source}", path.display())]
    Undecided {
        /// The file in `incoming/`, or in the archive.
        path: PathBuf,
        /// What `gpg` says.
        source: io::Error,
    },
    /// The sender's checksum does not match.
    #[error("checksum of {name} does not match: {problem}")]
    Checksum {
        /// The file.
        name: WalName,
        /// What [`Verify::verify`] said.
        problem: String,
    },
    /// The server's directories are not there. They are not made here: on the mount point of a volume that is missing, the file
    /// would be out of sight once the volume is back, and PostgreSQL would have let go of its own copy.
    #[error("the WAL archive {} is not there", path.display())]
    NoArchive {
        /// Where it should be.
        path: PathBuf,
    },
    /// More bytes than any segment has.
    #[error("{name} has more than {limit} bytes")]
    TooLong {
        /// The file.
        name: WalName,
        /// Bytes of the largest segment, and some room for a codec that makes it larger.
        limit: u64,
    },
    /// The sender's bytes ended with an error.
    #[error("cannot receive {name}: {source}")]
    Receive {
        /// The file.
        name: WalName,
        /// Why.
        source: io::Error,
    },
    /// The storage failed.
    #[error(transparent)]
    Durable(#[from] DurableError),
}

/// A checksum that sees the bytes as they pass; the hash algorithms are the caller's.
pub trait Verify {
    /// Takes the next bytes.
    fn update(&mut self, bytes: &[u8]);

    /// After the last byte: whether they are what the sender meant.
    ///
    /// # Errors
    /// What does not match, as text.
    fn verify(&mut self) -> Result<(), String>;
}

/// No checksum.
impl Verify for () {
    fn update(&mut self, _: &[u8]) {}

    fn verify(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// A codec can make what it cannot compress slightly larger.
const LIMIT: u64 = SegmentSize::MAX.bytes() + SegmentSize::MAX.bytes() / 16;

/// How often a name is looked at that others give and take away meanwhile.
const LOOKS: u32 = 5;

/// A received file under a temporary name, checked and synced: several of one transfer are accepted together, or
/// none ([`Received::commit`]). Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Received<'d> {
    disk: &'d dyn Disk,
    publish: Publish<'d>,
    name: WalName,
    archived: PathBuf,
    undo: Undo<'d>,
}

/// Reads a file to its end into `incoming/` under a temporary name. `home` is a directory that is there when the server's volume is:
/// that of the archive, or, where the archive is in an object store, of the records.
///
/// # Errors
/// When the sender's bytes end early or do not match, or the storage fails.
pub fn receive<'d>(
    disk: &'d dyn Disk,
    layout: &ServerLayout,
    home: &Path,
    name: WalName,
    modified: Option<SystemTime>,
    input: impl Read,
    checksum: &mut dyn Verify,
) -> Result<Received<'d>, AcceptError> {
    if !home.is_dir() {
        return Err(AcceptError::NoArchive { path: home.to_owned() });
    }
    durable::create_dir_all(disk, &layout.incoming, None)?;
    let target = layout.incoming.join(name.to_string());
    let mut publish = Publish::create(disk, &target, Some(0o600))?;
    let mut input = input.take(LIMIT + 1);
    let mut buffer = vec![0; 256 * 1024];
    let mut length = 0;
    loop {
        let got = same_content::read_up_to(&mut input, &mut buffer)
            .map_err(|source| AcceptError::Receive { name, source })?;
        let bytes = buffer.get(..got).unwrap_or_default();
        checksum.update(bytes);
        publish.write_all(bytes)?;
        length += got as u64;
        if length > LIMIT {
            return Err(AcceptError::TooLong { name, limit: LIMIT });
        }
        if got < buffer.len() {
            break;
        }
    }
    checksum.verify().map_err(|problem| AcceptError::Checksum { name, problem })?;
    if let Some(modified) = modified {
        publish.set_modified(modified)?;
    }
    Ok(Received { disk, publish, name, archived: layout.wal(name), undo: Undo::default() })
}

impl<'d> Received<'d> {
    /// What the archive has of this name may have been compressed by the user's own filter.
    #[must_use]
    pub fn with_custom_filter(self, custom: Option<&'d CustomFilter>) -> Self {
        Self { undo: Undo { custom, ..self.undo }, ..self }
    }

    /// What the archive has encrypted is decrypted to be compared.
    #[must_use]
    pub fn with_gpg(self, gpg: Option<&'d Gpg>) -> Self {
        Self { undo: Undo { gpg, ..self.undo }, ..self }
    }

    /// The bytes received, under their temporary name, for a checksum that comes after them.
    pub fn temp_path(&self) -> &Path {
        self.publish.temp_path()
    }

    /// Gives the file its name. When this returns it is there for good, and `archive_command` may report success.
    ///
    /// # Errors
    /// [`AcceptError::Different`], or when the storage fails.
    pub fn commit(mut self) -> Result<Accepted, AcceptError> {
        let target = self.publish.target().to_owned();
        // Two senders at once, or the archiver takes the file away while it is compared: then it is looked at again.
        for _ in 0..LOOKS {
            match self.compare(&target) {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => {}
                Err(AcceptError::Durable(error)) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            match self.publish.try_publish() {
                Ok(()) => return Ok(Accepted::New),
                Err(DurableError::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(AcceptError::Different { path: target })
    }

    /// Compares the bytes with the file that has the name already, if there is one.
    fn compare(&self, target: &Path) -> Result<Option<Accepted>, AcceptError> {
        let there = [target, &self.archived].into_iter().find(|path| path.exists());
        let Some(there) = there else { return Ok(None) };
        let same = ingest::same_as_archived(self.name, there, self.publish.temp_path(), self.undo).map_err(
            |source| match undo::cannot_decrypt(&source) {
                true => AcceptError::Undecided { path: there.to_owned(), source },
                false => DurableError::io(Step::Read, there, source).into(),
            },
        )?;
        if !same {
            return Err(AcceptError::Different { path: there.to_owned() });
        }
        // Whoever wrote it may not have come to the sync.
        self.disk.sync_file(there).map_err(|e| DurableError::io(Step::Sync, there, e))?;
        durable::sync_dir(self.disk, durable::parent(there))?;
        Ok(Some(Accepted::Already))
    }
}

/// Takes one file into `incoming/`.
///
/// # Errors
/// As [`receive`] and [`Received::commit`].
pub fn accept(
    disk: &dyn Disk,
    layout: &ServerLayout,
    name: WalName,
    modified: Option<SystemTime>,
    input: impl Read,
    checksum: &mut dyn Verify,
) -> Result<Accepted, AcceptError> {
    receive(disk, layout, &layout.wals, name, modified, input, checksum)?.commit()
}
