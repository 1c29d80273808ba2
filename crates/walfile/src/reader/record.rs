//! One record.

use thiserror::Error;

use crate::record::{Parts, PartsError, RecordHeader, image_bytes, parts};
use crate::rmgr::{Payload, PayloadError, type_name};
use crate::{Lsn, Timeline, WalMagic};

/// A record whose checksum and links are right.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Record<'a> {
    /// Where it begins. This is what `pg_waldump` calls `lsn`.
    pub lsn: Lsn,
    /// Where the log goes on after it: after its padding, and after `XLOG_SWITCH` the start of the next segment.
    /// On the boundary of a page the next record begins after the page's header.
    pub end: Lsn,
    /// The timeline of the page on which it ends.
    pub timeline: Timeline,
    /// Which PostgreSQL wrote it.
    pub magic: WalMagic,
    /// Its header.
    pub header: RecordHeader,
    /// All of it, header included, page headers left out.
    pub bytes: &'a [u8],
    /// A record that began here and was lost in a crash before it was whole. The record that says so
    /// (`XLOG_OVERWRITE_CONTRECORD`) is this one.
    pub replaces: Option<Lsn>,
}

impl<'a> Record<'a> {
    /// The major release of PostgreSQL that wrote it.
    pub const fn major(&self) -> u16 {
        self.magic.major()
    }

    /// The name of its type, as in `pg_waldump`: see [`type_name`].
    pub fn type_name(&self) -> Option<&'static str> {
        type_name(self.header.rmgr, self.header.info, self.magic.major())
    }

    /// What follows the header.
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(RecordHeader::LEN..).unwrap_or(&[])
    }

    /// Bytes of its page images; `None` when its inside is not what a server writes.
    pub fn image_bytes(&self) -> Option<u32> {
        image_bytes(self.body(), self.major())
    }

    /// Takes the record apart, for data pages of 8192 bytes; for others see [`parts`].
    ///
    /// # Errors
    /// When its inside is not what a server writes.
    pub fn parts(&self) -> Result<Parts<'a>, PartsError> {
        parts(self.body(), self.major(), 8192)
    }

    /// What the record says, as far as recovery and backup care.
    ///
    /// # Errors
    /// When its inside is not what a server writes.
    pub fn payload(&self) -> Result<Payload<'a>, RecordError> {
        Ok(Payload::read(&self.header, self.parts()?.main, self.major())?)
    }
}

/// A record with a right checksum whose inside is not what a server writes.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RecordError {
    /// Its parts do not fit together.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// Its own data is damaged.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}
