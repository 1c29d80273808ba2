//! What a PostgreSQL backup host keeps on disk, in the layout and formats of Barman 3.19, byte for byte.

pub mod durable;
pub mod locks;
pub mod record;

mod layout;
mod names;

pub use layout::ServerLayout;
pub use names::{BackupId, ParseBackupIdError, ServerName, ServerNameError};
pub use record::{
    BackupMode, BackupRecord, BackupStatus, BackupType, CopyStats, RecordError, RecordProblem, TablespaceInfo,
};
