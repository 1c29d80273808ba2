//! WAL out of the hub: one file, or the names of those that follow it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use tapster_catalog::durable::{self, Clobber, DurableError, Publish, RealDisk};
use tapster_catalog::wal_store::{FoundWal, WalStoreError};
use thiserror::Error;
use walfile::codec::{self, Compression, Level};
use walfile::{LongPageHeader, SegmentName, SegmentSize, WalName};

use crate::Server;

/// Options of [`Server::get_wal`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct GetWalOptions {
    /// The beginning of a segment will do, when that is all there is.
    pub partial: bool,
    /// In which form.
    pub form: WalForm,
}

/// The form in which a WAL file is handed out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WalForm {
    /// Decompressed.
    #[default]
    Plain,
    /// Compressed with this, whatever it is stored with.
    Compressed(Compression),
    /// As it is stored.
    Stored,
}

/// A WAL file that could not be handed out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GetWalError {
    /// It is not there, or cannot be read.
    #[error(transparent)]
    Store(#[from] WalStoreError),
    /// Reading, decompressing or compressing failed on the way.
    #[error("cannot read {}: {source}", found.path.display())]
    Read {
        /// The file.
        found: Box<FoundWal>,
        /// Why.
        source: io::Error,
    },
    /// The file it was to become cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Destination {
        /// The destination.
        path: PathBuf,
        /// Why not.
        source: DurableError,
    },
    /// Whoever was to take it did not.
    #[error("cannot write the WAL file: {0}")]
    Write(io::Error),
}

impl Server {
    /// Writes the file called `name` to `output` and returns where it was found.
    ///
    /// # Errors
    /// When it is nowhere, or reading or writing fails; then `output` may have got a part of it.
    pub fn get_wal(
        &self,
        name: WalName,
        options: &GetWalOptions,
        output: &mut dyn Write,
    ) -> Result<FoundWal, GetWalError> {
        if self.has_wals_in_bucket() {
            return self.get_stored_elsewhere(name, options, output);
        }
        let raw = self.wal_store().open_raw(name, options.partial)?;
        let stored_as_wanted = match options.form {
            WalForm::Plain => false,
            WalForm::Stored => true,
            WalForm::Compressed(wanted) => {
                raw.compression == wanted && !raw.custom && raw.encryption.is_none()
            }
        };
        if stored_as_wanted {
            let found = raw.found.clone();
            let mut file = raw.file;
            copy(&found, &mut file, output)?;
            return Ok(found);
        }
        let raw_is_plain = raw.compression == Compression::None && !raw.custom;
        drop(raw);
        let mut reader = self.wal_store().open(name, options.partial)?;
        let found = reader.found().clone();
        match options.form {
            WalForm::Compressed(wanted) => {
                let fail = |source: io::Error| GetWalError::Read { found: Box::new(found.clone()), source };
                let mut encoder =
                    codec::encoder(output, wanted, Level::default()).map_err(|error| fail(error.into()))?;
                copy(&found, &mut reader, &mut encoder)?;
                encoder.finish().map_err(GetWalError::Write)?;
            }
            WalForm::Plain | WalForm::Stored if raw_is_plain => copy(&found, &mut reader, output)?,
            WalForm::Plain | WalForm::Stored => copy_beside(&found, reader, output)?,
        }
        Ok(found)
    }

    /// With the archive in an object store. What is on its way there is here still.
    fn get_stored_elsewhere(
        &self,
        name: WalName,
        options: &GetWalOptions,
        output: &mut dyn Write,
    ) -> Result<FoundWal, GetWalError> {
        let store = self.wal_store();
        if options.form == WalForm::Stored {
            let (found, mut stored) = store.open_stored(name, options.partial)?;
            copy(&found, &mut stored, output)?;
            return Ok(found);
        }
        let mut reader = store.open(name, options.partial)?;
        let found = reader.found().clone();
        let WalForm::Compressed(wanted) = options.form else {
            copy(&found, &mut reader, output)?;
            return Ok(found);
        };
        let fail = |source: io::Error| GetWalError::Read { found: Box::new(found.clone()), source };
        let mut encoder =
            codec::encoder(output, wanted, Level::default()).map_err(|error| fail(error.into()))?;
        copy(&found, &mut reader, &mut encoder)?;
        encoder.finish().map_err(GetWalError::Write)?;
        Ok(found)
    }

    /// `restore_command` on the backup host itself: the file called `name`, whole and durable at `destination`, or not there.
    ///
    /// # Errors
    /// As [`Self::get_wal`]; the destination is then as it was.
    pub fn restore_wal(
        &self,
        name: WalName,
        partial: bool,
        destination: &Path,
    ) -> Result<FoundWal, GetWalError> {
        let fail = |source| GetWalError::Destination { path: destination.to_owned(), source };
        // A run that was killed may have left its temporary file.
        drop(durable::remove_stale(&RealDisk, durable::parent(destination)));
        // First, because creating a file beside it is useless when there is none.
        let options = GetWalOptions { partial, form: WalForm::Plain };
        if self.wal_store().find(name, partial)?.is_none() {
            return Err(WalStoreError::NotFound { name, server: self.name().to_owned() }.into());
        }
        let mut file = Publish::create(&RealDisk, destination, Some(0o600)).map_err(fail)?;
        let found = self.get_wal(name, &options, &mut Destination(&mut file))?;
        file.publish(Clobber::Replace).map_err(fail)?;
        Ok(found)
    }

    /// The names of up to `count` successive segments from `first` on that are in the hub, stopping at the first that is not;
    /// a history file has no successors.
    ///
    /// # Errors
    /// When the hub cannot be read.
    pub fn peek_wal(&self, first: WalName, count: usize) -> Result<Vec<WalName>, WalStoreError> {
        match first {
            WalName::Segment(first) => {
                let names = self.wal_store().successive(first, self.segment_size_of(first), count)?;
                Ok(names.into_iter().map(WalName::from).collect())
            }
            other => Ok(if count > 0 && self.wal_store().exists(other)? { vec![other] } else { Vec::new() }),
        }
    }

    /// The segment size as the segment's own header tells it, else as the newest backup does.
    fn segment_size_of(&self, name: SegmentName) -> SegmentSize {
        let stated = || {
            let mut first = [0; LongPageHeader::LEN];
            self.wal_store().open(name.into(), true).ok()?.read_exact(&mut first).ok()?;
            Some(LongPageHeader::parse(&first).ok()?.segment_size)
        };
        let recorded = || self.catalog.records().ok()?.last()?.xlog_segment_size;
        stated().or_else(recorded).unwrap_or_default()
    }
}

struct Destination<'p, 'd>(&'p mut Publish<'d>);

impl Write for Destination<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies to the end, telling a failing source from a failing destination: the one is our fault, the other the caller's.
fn copy(found: &FoundWal, input: &mut dyn Read, output: &mut dyn Write) -> Result<(), GetWalError> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return output.flush().map_err(GetWalError::Write),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(GetWalError::Read { found: Box::new(found.clone()), source }),
        };
        output.write_all(buffer.get(..count).unwrap_or_default()).map_err(GetWalError::Write)?;
    }
}

/// Pieces that are decompressed and not written yet.
const PIECES: usize = 4;
const PIECE: usize = 256 * 1024;

/// As [`copy`], with the decompression on a thread of its own: it and the writing take about as long.
fn copy_beside(
    found: &FoundWal,
    mut input: impl Read + Send,
    output: &mut dyn Write,
) -> Result<(), GetWalError> {
    let (full, filled) = mpsc::sync_channel::<io::Result<Vec<u8>>>(PIECES);
    let (empty, emptied) = mpsc::channel::<Vec<u8>>();
    for _ in 0..=PIECES {
        drop(empty.send(Vec::with_capacity(PIECE)));
    }
    // With its end of the channels, so that a failure here ends the thread as well.
    std::thread::scope(move |scope| {
        scope.spawn(move || {
            // Ends with the input, and when nobody listens any more.
            while let Ok(mut piece) = emptied.recv() {
                piece.clear();
                let read = input.by_ref().take(PIECE as u64).read_to_end(&mut piece);
                let is_end = piece.is_empty() || read.is_err();
                if full.send(read.map(|_| piece)).is_err() || is_end {
                    return;
                }
            }
        });
        for piece in filled {
            match piece {
                Ok(piece) => {
                    output.write_all(&piece).map_err(GetWalError::Write)?;
                    drop(empty.send(piece));
                }
                Err(source) => return Err(GetWalError::Read { found: Box::new(found.clone()), source }),
            }
        }
        output.flush().map_err(GetWalError::Write)
    })
}

#[cfg(test)]
mod tests {
    use tapster_catalog::WalStore;

    use super::*;

    struct Fails(usize);

    impl Write for Fails {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Whichever side fails, and wherever, the other ends too.
    #[test]
    fn reading_beside_the_writing_ends_with_either() {
        let found =
            FoundWal::clone(&WalStore::new(&layout()).possible_places(NAME.parse().unwrap(), false)[0]);
        let content: Vec<u8> = (0..=250).cycle().take(7 * PIECE + 5).collect();
        for length in [0, 1, PIECE, content.len()] {
            let mut output = Vec::new();
            copy_beside(&found, &content[..length], &mut output).unwrap();
            assert!(output == content[..length]);
            let broken = content[..length].chain(Broken);
            let failed = copy_beside(&found, broken, &mut Vec::new());
            assert!(matches!(failed, Err(GetWalError::Read { .. })), "{failed:?}");
        }
        for writes in 0..3 {
            let failed = copy_beside(&found, io::repeat(1), &mut Fails(writes));
            assert!(matches!(failed, Err(GetWalError::Write(_))), "{failed:?}");
        }
    }

    const NAME: &str = "000000010000000000000005";

    fn layout() -> tapster_catalog::ServerLayout {
        tapster_catalog::ServerLayout::standard(Path::new("/nowhere"), "main".parse().unwrap())
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}
