//! Which blocks changed in a range of the log: what PostgreSQL 17's WAL summarizer finds, for every major.
//!
//! [`ChangedBlocks`] is filled record by record, for any range; [`Summarizer`] cuts the log where the server does. Both
//! can be written as a file of `pg_wal/summaries` and compared with one.
//!
//! An incremental backup copies, from the files as they are at the end, the blocks that changed since the backup
//! before began, and everything from the *limit block* on: the shortest that a file has been in between. Per fork:
//!
//! ```text
//!  blocks   0 1 2 3 4 5 6 7        before the range: 8 blocks
//!  changed    x       x            changes of 1 and 5
//!  cut to 4         |              limit 4; the change of 5 is forgotten
//!  extended to 7    | x x x        changes of 4, 5 and 6
//!                                  → limit 4, changed 1 4 5 6
//! ```

mod apply;
mod chunk;
mod file;
mod fork;
mod name;
mod summarizer;
mod table;

pub use apply::announced_wal_level;
pub use file::{SummaryError, SummaryReader, SummaryWriter};
pub use fork::{ChangedBlockNumbers, ForkChanges};
pub use name::{ParseSummaryNameError, SummaryName};
pub use summarizer::{Summarizer, Summary};
pub use table::{ChangedBlocks, Changes, ForkId};
