//! Reading a record's data while it is described.

use std::fmt;

use crate::Lsn;
use crate::record::{Fields, RelFile};

/// Why a description ends early.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The data is shorter than what it should hold.
    Damaged,
    /// What is written to does not take more.
    Output(fmt::Error),
}

impl From<fmt::Error> for Fault {
    fn from(error: fmt::Error) -> Self {
        Self::Output(error)
    }
}

pub(super) type Result<T = ()> = std::result::Result<T, Fault>;

/// Fields that are still to be read; too few of them are a [`Fault::Damaged`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a>(Fields<'a>);

impl<'a> Input<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(Fields::new(bytes))
    }

    pub(super) const fn len(self) -> usize {
        self.0.len()
    }

    pub(super) const fn rest(self) -> &'a [u8] {
        self.0.rest()
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.0.u8().ok_or(Fault::Damaged)
    }

    pub(super) fn bool(&mut self) -> Result<bool> {
        Ok(self.u8()? != 0)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.0.u16().ok_or(Fault::Damaged)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.0.u32().ok_or(Fault::Damaged)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.0.u64().ok_or(Fault::Damaged)
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        self.0.i64().ok_or(Fault::Damaged)
    }

    pub(super) fn i32(&mut self) -> Result<i32> {
        Ok(self.u32()?.cast_signed())
    }

    pub(super) fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_bits(self.u64()?))
    }

    pub(super) fn lsn(&mut self) -> Result<Lsn> {
        Ok(Lsn::new(self.u64()?))
    }

    pub(super) fn rel(&mut self) -> Result<RelFile> {
        RelFile::read(&mut self.0).ok_or(Fault::Damaged)
    }

    /// A C `int` that counts.
    pub(super) fn count(&mut self) -> Result<usize> {
        self.0.count().ok_or(Fault::Damaged)
    }

    /// A block number in two halves (`BlockIdData`).
    pub(super) fn block_id(&mut self) -> Result<u32> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        self.0.bytes(length).ok_or(Fault::Damaged)
    }

    /// `count` elements of `size` bytes.
    pub(super) fn part(&mut self, count: usize, size: usize) -> Result<Self> {
        Ok(Self::new(self.bytes(count.checked_mul(size).ok_or(Fault::Damaged)?)?))
    }

    pub(super) fn skip(&mut self, length: usize) -> Result {
        self.bytes(length).map(drop)
    }

    /// Text up to the zero byte that ends it, or up to the end.
    pub(super) fn text(&self) -> &'a [u8] {
        let bytes = self.rest();
        bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
    }
}
