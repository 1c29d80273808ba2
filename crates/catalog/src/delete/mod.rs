//! Deleting backups and the WAL that no backup needs any more: first a plan, then its execution.
//!
//! The order makes a crash harmless: a marker says that deletion has begun; then the files go, then the WAL (the
//! index first, so that what is listed is there), then the record, and the marker last. Executing a new plan for a
//! marked backup finishes the work.

mod beside;
mod error;
mod execute;
mod observer;
mod plan;
mod trim;

pub use error::{DeleteError, DeleteRefusal};
pub use execute::DeleteEvent;
pub use observer::DeleteObserver;
pub use plan::{DeleteCause, DeleteOptions, DeletePlan, DeleteStep};
pub use trim::WalTrim;
