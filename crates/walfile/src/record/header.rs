//! The header every record begins with (`XLogRecord`).

use crate::Lsn;
use crate::record::Xid;
use crate::rmgr::Rmgr;

/// The header of a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecordHeader {
    /// Bytes of the record, header included, without the page headers it may cross and the padding after it.
    pub total_len: u32,
    /// The transaction that wrote it; [`Xid::INVALID`] for none. A `COMMIT PREPARED` carries none here: see
    /// [`Transaction::xid`](crate::rmgr::Transaction).
    pub xid: Xid,
    /// Where the record before begins.
    pub prev: Lsn,
    /// What the record is, in the upper four bits, and flags of the log itself in the lower four.
    pub info: u8,
    /// The resource manager that replays it.
    pub rmgr: Rmgr,
    /// CRC-32C over the bytes after the header, then the header without this field.
    pub crc: u32,
}

impl RecordHeader {
    /// Length in a page.
    pub const LEN: usize = 24;
    /// The shortest record: a header alone.
    pub const MIN_TOTAL_LEN: u32 = 24;
    /// The longest record that is read: 1 GiB. PostgreSQL 16 and later write at most 1020 MiB, earlier releases
    /// what memory allows, which is just below this.
    pub const MAX_TOTAL_LEN: u32 = 1 << 30;

    /// Reads the header; whether its fields make sense is not looked at.
    pub const fn read(bytes: &[u8; Self::LEN]) -> Self {
        let [t0, t1, t2, t3, x0, x1, x2, x3, prev @ .., info, rmgr, _, _, c0, c1, c2, c3] = *bytes;
        Self {
            total_len: u32::from_le_bytes([t0, t1, t2, t3]),
            xid: Xid::new(u32::from_le_bytes([x0, x1, x2, x3])),
            prev: Lsn::new(u64::from_le_bytes(prev)),
            info,
            rmgr: Rmgr::new(rmgr),
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
        }
    }

    /// The upper four bits of `info`: which of the resource manager's records this is, and its flags.
    pub const fn kind(&self) -> u8 {
        self.info & 0xF0
    }

    /// Whether this is `XLOG_SWITCH`, after which the rest of the segment holds nothing.
    pub const fn is_switch(&self) -> bool {
        self.rmgr.id() == Rmgr::XLOG.id() && self.kind() == 0x40
    }

    /// Whether this is `XLOG_OVERWRITE_CONTRECORD`.
    pub const fn is_overwrite(&self) -> bool {
        self.rmgr.id() == Rmgr::XLOG.id() && self.kind() == 0xD0
    }
}
