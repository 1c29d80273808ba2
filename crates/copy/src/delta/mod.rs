//! A copy over what is there already: what is right is kept, everything else goes.
//!
//! Content alone decides, never a time stamp. A file that is there is compared with the checksum in the backup's manifest,
//! so that only it is read, or byte by byte with what is copied, so that only blocks that differ are written. What the backup
//! does not have is removed ([`Prune`]), so that no file of an older state survives in the new one.
//!
//! While that goes on, the directory is neither the old cluster nor the new one. Who restores takes `global/pg_control` away
//! first ([`disarm`]), and writes the new one last.

mod inventory;
mod listed;
mod over;
mod prune;
mod sums;

pub use inventory::{Inventory, Kind};
pub use listed::Listed;
pub(crate) use over::{Over, open_at};
pub use prune::{Prune, PruneError, PruneOptions, disarm};
pub use sums::Sums;
