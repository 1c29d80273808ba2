//! An open WAL file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _};

use walfile::codec::{Compression, detect};
use walfile::{SegmentSize, WalName};

use super::{FoundWal, WalStoreError};
use crate::custom_filter::CustomFilter;
use crate::undo::Undo;
use crate::{encryption, same_content};

/// A file as it is stored, read from its start.
#[derive(Debug)]
#[non_exhaustive]
pub struct RawWal {
    /// The bytes.
    pub file: File,
    /// Which file it is.
    pub found: FoundWal,
    /// Bytes as stored, when it was opened.
    pub length: u64,
    /// What it is compressed with, by its first bytes.
    pub compression: Compression,
    /// It is compressed by the user's own filter; `compression` is then [`Compression::None`].
    pub custom: bool,
    /// `gpg` when it is encrypted.
    pub encryption: Option<&'static str>,
}

impl RawWal {
    /// Whether its bytes are the WAL.
    pub fn is_plain(&self) -> bool {
        self.compression == Compression::None && !self.custom && self.encryption.is_none()
    }

    /// `None` when it is no regular file.
    pub(super) fn open(found: &FoundWal, custom: Option<&CustomFilter>) -> io::Result<Option<Self>> {
        let mut file = File::open(&found.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let mut first = [0; 16];
        let got = same_content::read_up_to(&mut file, &mut first)?;
        file.rewind()?;
        let first = first.get(..got).unwrap_or_default();
        let encryption = encryption::detect(first);
        let custom = encryption.is_none() && custom.is_some_and(|custom| custom.wrote(first));
        let compression = if encryption.is_some() || custom { Compression::None } else { detect(first) };
        Ok(Some(Self { file, found: found.clone(), length: metadata.len(), compression, custom, encryption }))
    }
}

/// The WAL in a file, decompressed. A segment that ends early or late ends in an error, not in the end of the input.
pub struct WalReader {
    input: Box<dyn Read + Send>,
    found: FoundWal,
    /// What may still come, and whether the input must end exactly there.
    read: u64,
    rule: LengthRule,
}

#[derive(Clone, Copy)]
enum LengthRule {
    Exactly(u64),
    AnySegment,
    AtMostASegment,
}

impl WalReader {
    pub(super) fn new(
        raw: RawWal,
        segment_size: Option<SegmentSize>,
        undo: Undo<'_>,
    ) -> Result<Self, WalStoreError> {
        if let Some(encryption) = raw.encryption.filter(|_| undo.gpg.is_none()) {
            return Err(WalStoreError::Encrypted { path: raw.found.path, encryption: encryption.to_owned() });
        }
        let rule = LengthRule::of(raw.found.name, segment_size);
        if raw.is_plain() && !rule.allows(raw.length) {
            return Err(WalStoreError::Length {
                path: raw.found.path,
                expected: segment_size.map(SegmentSize::bytes),
                found: raw.length,
            });
        }
        let read = |source| WalStoreError::Read { path: raw.found.path.clone(), source };
        let input = undo.open(raw.file).map_err(read)?;
        Ok(Self { input, found: raw.found, read: 0, rule })
    }

    /// Of a file in an object store, decompressed.
    pub(super) fn of_object(
        input: Box<dyn Read + Send>,
        found: FoundWal,
        segment_size: Option<SegmentSize>,
    ) -> Self {
        let rule = LengthRule::of(found.name, segment_size);
        Self { input, found, read: 0, rule }
    }

    /// Which file it is.
    pub const fn found(&self) -> &FoundWal {
        &self.found
    }
}

impl LengthRule {
    const fn of(name: WalName, segment_size: Option<SegmentSize>) -> Self {
        match (name, segment_size) {
            (WalName::Segment(_), Some(size)) => Self::Exactly(size.bytes()),
            (WalName::Segment(_), None) => Self::AnySegment,
            _ => Self::AtMostASegment,
        }
    }

    fn allows(self, length: u64) -> bool {
        match self {
            Self::Exactly(expected) => length == expected,
            Self::AnySegment => SegmentSize::new(length).is_ok(),
            Self::AtMostASegment => length <= SegmentSize::MAX.bytes(),
        }
    }

    const fn limit(self) -> u64 {
        match self {
            Self::Exactly(expected) => expected,
            Self::AnySegment | Self::AtMostASegment => SegmentSize::MAX.bytes(),
        }
    }
}

impl Read for WalReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let got = self.input.read(buffer)?;
        self.read += got as u64;
        let is_wrong = if got == 0 { !self.rule.allows(self.read) } else { self.read > self.rule.limit() };
        if is_wrong {
            let text = format!(
                "{} holds {}{} bytes, which is no whole segment",
                self.found.path.display(),
                if got == 0 { "" } else { "more than " },
                if got == 0 { self.read } else { self.rule.limit() }
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(got)
    }
}

impl fmt::Debug for WalReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalReader")
            .field("found", &self.found)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}
