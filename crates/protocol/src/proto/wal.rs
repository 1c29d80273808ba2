//! What a walsender and its client put into `CopyData` during START_REPLICATION.

use bytes::{BufMut, BytesMut};
use walfile::Lsn;

use super::backend::MessageError;
use super::cursor::Cursor;

/// A message of the walsender.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum WalMessage<'a> {
    /// `w`: WAL.
    Data {
        /// Position of the first byte.
        start: Lsn,
        /// The end of WAL on the server when it was sent.
        server_end: Lsn,
        /// The server's clock, microseconds since 2000-01-01.
        sent_at: i64,
        /// The WAL; may cross a segment boundary and start or end within a record.
        bytes: &'a [u8],
    },
    /// `k`: a sign of life.
    Keepalive {
        /// The end of WAL on the server, or what it has sent while it catches up.
        server_end: Lsn,
        /// The server's clock, microseconds since 2000-01-01.
        sent_at: i64,
        /// Whether the server waits for an answer.
        reply_requested: bool,
    },
}

impl<'a> WalMessage<'a> {
    /// Reads the payload of a `CopyData` message.
    ///
    /// # Errors
    /// When the payload is neither kind or too short for its kind.
    pub fn parse(payload: &'a [u8]) -> Result<Self, MessageError> {
        let malformed = |what| MessageError::Malformed { what };
        let mut cursor = Cursor(payload);
        match cursor.u8() {
            Some(b'w') => Self::data(cursor).ok_or(malformed("XLogData")),
            Some(b'k') => Self::keepalive(cursor).ok_or(malformed("keepalive")),
            Some(other) => Err(MessageError::Unknown { tag: char::from(other) }),
            None => Err(malformed("CopyData")),
        }
    }

    fn data(mut cursor: Cursor<'a>) -> Option<Self> {
        let start = Lsn::new(cursor.u64()?);
        let server_end = Lsn::new(cursor.u64()?);
        let sent_at = cursor.i64()?;
        start.checked_add(u64::try_from(cursor.0.len()).ok()?)?;
        Some(Self::Data { start, server_end, sent_at, bytes: cursor.0 })
    }

    fn keepalive(mut cursor: Cursor<'a>) -> Option<Self> {
        let server_end = Lsn::new(cursor.u64()?);
        let sent_at = cursor.i64()?;
        let reply_requested = cursor.u8()? != 0;
        Some(Self::Keepalive { server_end, sent_at, reply_requested })
    }
}

/// Writes a whole `CopyData` message with a standby status update (`r`). Positions are last byte + 1;
/// [`Lsn::INVALID`] for `flush` or `apply` means "unknown" and leaves the slot alone.
pub fn write_standby_status(
    write: Lsn,
    flush: Lsn,
    apply: Lsn,
    clock: i64,
    reply_requested: bool,
    out: &mut BytesMut,
) {
    const PAYLOAD: u32 = 1 + 8 * 4 + 1;
    out.put_u8(b'd');
    out.put_u32(4 + PAYLOAD);
    out.put_u8(b'r');
    for position in [write, flush, apply] {
        out.put_u64(position.get());
    }
    out.put_i64(clock);
    out.put_u8(u8::from(reply_requested));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds() {
        let mut payload = vec![b'w'];
        payload.extend_from_slice(&0x100u64.to_be_bytes());
        payload.extend_from_slice(&0x200u64.to_be_bytes());
        payload.extend_from_slice(&7i64.to_be_bytes());
        payload.extend_from_slice(b"abc");
        assert_eq!(
            WalMessage::parse(&payload),
            Ok(WalMessage::Data {
                start: Lsn::new(0x100),
                server_end: Lsn::new(0x200),
                sent_at: 7,
                bytes: b"abc"
            })
        );
        payload[1..9].copy_from_slice(&u64::MAX.to_be_bytes());
        assert!(WalMessage::parse(&payload).is_err(), "the end is past the number space");
        assert!(WalMessage::parse(b"k").is_err());
        assert!(WalMessage::parse(b"x").is_err());
        assert!(WalMessage::parse(b"").is_err());
    }

    #[test]
    fn status_is_34_bytes_in_the_frame() {
        let mut out = BytesMut::new();
        write_standby_status(Lsn::new(3), Lsn::new(2), Lsn::INVALID, 9, true, &mut out);
        assert_eq!(out.len(), 5 + 34);
        assert_eq!(&out[..6], b"d\0\0\0\x26r");
        assert_eq!(out.last(), Some(&1));
    }
}
