//! WAL out of the archive: found by name wherever it lies, decompressed, streamed.
//!
//! A file is looked for in Barman's order: archive, `incoming/`, `streaming/`, with partials allowed their `.partial`s,
//! and the archive again, because the archiver may have moved it meanwhile. A file that vanishes between being found and
//! opened is looked for further on. What is shorter or longer than a segment is never handed out as one: recovery
//! would end there without an error.

mod archive;
mod error;
mod list;
mod needed;
mod reader;
mod runs_cache;

pub use archive::{SegmentRun, SegmentRuns};
pub use error::WalStoreError;
pub use needed::{Needed, WalsOfBackup};
pub use reader::{RawWal, WalReader};
pub use runs_cache::RunsCache;

use std::io::{self, Read};
use std::path::PathBuf;

use walfile::{SegmentSize, WalName};

use crate::custom_filter::CustomFilter;
use crate::gpg::Gpg;
use crate::undo::Undo;
use crate::{ServerLayout, WalObjects};

/// Where a file was found.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// `wals/`.
    Archive,
    /// `incoming/`.
    Incoming,
    /// `streaming/`.
    Streaming,
}

/// A file that exists, or did a moment ago.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FoundWal {
    /// Its own name: `.partial` when a partial was found for a segment.
    pub name: WalName,
    /// In which directory of the server.
    pub place: Place,
    /// The file.
    pub path: PathBuf,
}

/// Reads one server's WAL.
#[derive(Clone, Copy, Debug)]
pub struct WalStore<'a> {
    layout: &'a ServerLayout,
    segment_size: Option<SegmentSize>,
    undo: Undo<'a>,
    objects: Option<&'a dyn WalObjects>,
}

impl<'a> WalStore<'a> {
    /// The WAL of a server whose segment size is not known: any size a segment can have is accepted.
    pub const fn new(layout: &'a ServerLayout) -> Self {
        Self { layout, segment_size: None, undo: Undo { custom: None, gpg: None }, objects: None }
    }

    /// Only segments of this size are handed out.
    #[must_use]
    pub const fn with_segment_size(self, segment_size: SegmentSize) -> Self {
        Self { segment_size: Some(segment_size), ..self }
    }

    /// What the user's own filter compressed is decompressed by it.
    #[must_use]
    pub const fn with_custom_filter(self, custom: Option<&'a CustomFilter>) -> Self {
        Self { undo: Undo { custom, ..self.undo }, ..self }
    }

    /// What is encrypted is decrypted.
    #[must_use]
    pub const fn with_gpg(self, gpg: Option<&'a Gpg>) -> Self {
        Self { undo: Undo { gpg, ..self.undo }, ..self }
    }

    /// The archive is in an object store. Names are looked for there, and files opened.
    #[must_use]
    pub const fn with_objects(self, objects: Option<&'a dyn WalObjects>) -> Self {
        Self { objects, ..self }
    }

    /// Where the file may lie, in the order of looking. With `partial`, also where its beginning may lie.
    pub fn possible_places(&self, name: WalName, partial: bool) -> Vec<FoundWal> {
        let found = |name: WalName, place| {
            let path = match place {
                Place::Archive => match self.objects {
                    Some(objects) => objects.place(name),
                    None => self.layout.wal(name),
                },
                Place::Incoming => self.layout.incoming.join(name.to_string()),
                Place::Streaming => self.layout.streaming.join(name.to_string()),
            };
            FoundWal { name, place, path }
        };
        let mut places =
            vec![found(name, Place::Archive), found(name, Place::Incoming), found(name, Place::Streaming)];
        if let (true, WalName::Segment(segment)) = (partial, name) {
            let beginning = WalName::Partial(segment);
            places.extend([
                found(beginning, Place::Streaming),
                // The receiver may have completed it just now.
                found(name, Place::Streaming),
                found(beginning, Place::Archive),
                found(beginning, Place::Incoming),
            ]);
        }
        places.push(found(name, Place::Archive));
        places
    }

    /// The first place where the file is now.
    ///
    /// # Errors
    /// When a directory cannot be looked into, or there is no archive at all. Another directory that is missing holds no files.
    pub fn find(&self, name: WalName, partial: bool) -> Result<Option<FoundWal>, WalStoreError> {
        for place in self.possible_places(name, partial) {
            if let Some(objects) = self.objects.filter(|_| place.place == Place::Archive) {
                if objects.exists(place.name)? {
                    return Ok(Some(place));
                }
                continue;
            }
            match place.path.metadata() {
                Ok(metadata) if metadata.is_file() => return Ok(Some(place)),
                Ok(_) => {}
                Err(e) if is_absent(&e) => {}
                Err(source) => return Err(WalStoreError::Read { path: place.path, source }),
            }
        }
        self.require_archive()?;
        Ok(None)
    }

    /// Nothing can be said of files where the archive itself is missing.
    fn require_archive(&self) -> Result<(), WalStoreError> {
        if self.objects.is_some() || self.layout.wals.is_dir() {
            return Ok(());
        }
        Err(WalStoreError::NoArchive {
            path: self.layout.wals.clone(),
            server: self.layout.server.to_string(),
        })
    }

    /// Whether the file is anywhere.
    ///
    /// # Errors
    /// As [`WalStore::find`].
    pub fn exists(&self, name: WalName) -> Result<bool, WalStoreError> {
        Ok(self.find(name, false)?.is_some())
    }

    /// Opens the file's WAL, decompressed whatever it is stored as.
    ///
    /// # Errors
    /// [`WalStoreError::NotFound`]; [`WalStoreError::Encrypted`]; [`WalStoreError::Length`] for an uncompressed segment
    /// that is not whole (a compressed one fails at its end, when reading).
    pub fn open(&self, name: WalName, partial: bool) -> Result<WalReader, WalStoreError> {
        match self.locate(name, partial, true)? {
            Located::File(raw) => WalReader::new(raw, self.segment_size, self.undo),
            Located::Object(found, input) => Ok(WalReader::of_object(input, found, self.segment_size)),
        }
    }

    /// The bytes of the file as they are stored, wherever that is.
    ///
    /// # Errors
    /// [`WalStoreError::NotFound`], or what the system or the store says.
    pub fn open_stored(
        &self,
        name: WalName,
        partial: bool,
    ) -> Result<(FoundWal, Box<dyn Read + Send>), WalStoreError> {
        Ok(match self.locate(name, partial, false)? {
            Located::File(raw) => (raw.found, Box::new(raw.file)),
            Located::Object(found, input) => (found, input),
        })
    }

    /// Opens the file as it is stored.
    ///
    /// # Errors
    /// [`WalStoreError::NotFound`], or what the system says.
    pub fn open_raw(&self, name: WalName, partial: bool) -> Result<RawWal, WalStoreError> {
        match self.locate(name, partial, false)? {
            Located::File(raw) => Ok(raw),
            Located::Object(found, _) => Err(WalStoreError::InObjectStore { path: found.path }),
        }
    }

    fn locate(&self, name: WalName, partial: bool, decompressed: bool) -> Result<Located, WalStoreError> {
        for place in self.possible_places(name, partial) {
            if let Some(objects) = self.objects.filter(|_| place.place == Place::Archive) {
                if let Some(input) = objects.open(place.name, decompressed)? {
                    return Ok(Located::Object(place, input));
                }
                continue;
            }
            match RawWal::open(&place, self.undo.custom) {
                Ok(Some(raw)) => return Ok(Located::File(raw)),
                Ok(None) => {}
                Err(e) if is_absent(&e) => {}
                Err(source) => return Err(WalStoreError::Read { path: place.path, source }),
            }
        }
        self.require_archive()?;
        Err(WalStoreError::NotFound { name, server: self.layout.server.to_string() })
    }
}

/// A file that was found, open.
enum Located {
    File(RawWal),
    Object(FoundWal, Box<dyn Read + Send>),
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
