//! Replication commands and the streams they start (protocol chapter, "Streaming Replication Protocol").

mod backup_error;
mod backup_options;
mod backup_stream;
mod history;
mod identify;
mod slot;
mod start;
mod upload;
mod wal_stream;

pub use backup_error::BaseBackupError;
pub use backup_options::{BaseBackupOptions, ManifestMode, ServerCompression};
pub use backup_stream::{BackupEnd, BackupEvent, BaseBackupStream, Tablespace};
pub use history::HistoryFile;
pub use identify::SystemIdentity;
pub use slot::{CreateSlot, SlotName, SlotNameError, SlotState};
pub use start::{ReplicationError, StartReplication};
pub use wal_stream::{NextTimeline, StandbyStatus, WalEvent, WalStream};
