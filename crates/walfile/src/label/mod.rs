//! The text files of a base backup: `backup_label` and the archived `.backup` file (PostgreSQL's
//! `xlogbackup.c`).

mod backup_label;
mod error;
mod history_file;
mod lines;

pub use backup_label::{BackupFrom, BackupLabel, BackupMethod};
pub use error::{BackupLabelError, BackupLabelProblem};
pub use history_file::BackupHistoryFile;
