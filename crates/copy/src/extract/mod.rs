//! Base-backup archives into directories, in one pass.
//!
//! Invariants: a name from the stream is opened relative to a directory reached without following a link,
//! and always created new; `global/pg_control` is written when everything else is on disk and agrees with
//! the server's manifest; `backup_manifest` gets its name last of all. So a backup that was interrupted, or
//! ran out of space, has neither.

mod beside;
mod control;
mod error;
mod extractor;
mod options;
mod output;
mod reuse;
mod sink;
pub(crate) mod spool;

pub(crate) use control::CONTROL_FILE;
pub use control::ControlFile;
pub use error::ExtractError;
pub use extractor::TarExtractor;
pub use options::{ExtractOptions, ExtractReport, TablespaceTarget};
pub use reuse::Earlier;
pub use sink::{Outlet, TreeSink};
