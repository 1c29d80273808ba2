//! Proving that a backup can be restored, by doing it (`verify-restore`).
//!
//! The backup goes through an ordinary restore into a scratch directory. PostgreSQL of its major release is started there,
//! reachable by nobody but us and reaching nobody: it listens on a Unix socket in a directory of mode 0700, archives nothing,
//! streams from nobody, starts no subscription and loads no library unless told. It replays WAL from this catalog until it
//! has reached the target and is open for writing; then every database is connected to, and more is checked if asked for.
//! Whatever happens, the server is stopped and the directory removed. What came of it is remembered in `meta/`.

mod account;
mod binaries;
mod blame;
mod checks;
mod error;
mod instance;
mod log;
mod memory;
mod options;
mod reach;
mod report;
mod run;
mod scratch;

pub use checks::CheckOutcome;
pub use error::VerifyRestoreError;
pub use memory::{RestoreTest, last};
pub use options::VerifyRestoreOptions;
pub use report::{RestoredDatabase, VerifyRestoreReport};
