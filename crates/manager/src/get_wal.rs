//! WAL out of the hub: one file, or the names of those that follow it.

use std::io::{self, Read, Write};

use tapster_catalog::wal_store::{FoundWal, WalStore, WalStoreError};
use thiserror::Error;
use walfile::codec::{self, Compression, Level};
use walfile::{SegmentName, SegmentSize, WalName};

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
    /// Whoever was to take it did not.
    #[error("cannot write the WAL file: {0}")]
    Write(io::Error),
}

impl Server {
    fn wal_store(&self) -> WalStore<'_> {
        WalStore::new(self.layout())
    }

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
        let raw = self.wal_store().open_raw(name, options.partial)?;
        let stored_as_wanted = match options.form {
            WalForm::Plain => false,
            WalForm::Stored => true,
            WalForm::Compressed(wanted) => raw.compression == wanted,
        };
        if stored_as_wanted {
            let found = raw.found.clone();
            let mut file = raw.file;
            copy(&found, &mut file, output)?;
            return Ok(found);
        }
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
            WalForm::Plain | WalForm::Stored => copy(&found, &mut reader, output)?,
        }
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

    /// The segment size of this server as the newest backup tells it, else as the first segment's own length does.
    fn segment_size_of(&self, name: SegmentName) -> SegmentSize {
        let recorded = || self.catalog.records().ok()?.last()?.xlog_segment_size;
        let measured = || {
            let mut reader = self.wal_store().open(name.into(), true).ok()?;
            SegmentSize::new(io::copy(&mut reader, &mut io::sink()).ok()?).ok()
        };
        recorded().or_else(measured).unwrap_or_default()
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
