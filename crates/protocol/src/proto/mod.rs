//! The PostgreSQL protocol without I/O: bytes in, messages out, and back.
//!
//! [`FrameBuffer`] cuts the byte stream into frames that borrow from one reused buffer; [`BackendMessage`] reads
//! a frame; [`WalMessage`] and [`BackupMessage`] read what replication wraps into `CopyData`. Nothing here
//! allocates for a length that was not checked first.

mod backend;
mod backup;
mod cursor;
mod frame;
mod rows;
mod server_error;
mod version;
mod wal;

pub use backend::{Authentication, BackendMessage, MessageError, TransactionStatus};
pub use backup::{ArchiveNameError, BackupMessage, archive_oid};
pub use frame::{Frame, FrameBuffer, FrameError, FrameLimits};
pub use rows::{Rows, RowsError};
pub use server_error::ServerError;
pub use version::ServerVersion;
pub use wal::{WalMessage, write_standby_status};
