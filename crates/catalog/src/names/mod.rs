//! What servers and backups are called.

mod backup_id;
mod server_name;

pub use backup_id::{BackupId, ParseBackupIdError};
pub use server_name::{ServerName, ServerNameError};
