//! Reading the log out of an archive: segment after segment, through changes of timeline, whatever the files are
//! compressed with. The archive itself (a directory, an object store) is behind the trait [`WalArchive`].
//!
//! ```text
//!  history of timeline 2:  1  0/5800000            0/5800000
//!                                                      │
//!  files of timeline 1    [ …03 ] [ …04 ] [ …05.partial ┊     ]
//!  files of timeline 2                    [ …05         ┊     ] [ …06 ] [ …07.partial ]
//!                            │       │        │                    │        │
//!  read on timeline 2        └───────┴────────┴────────────────────┴────────┘
//! ```
//! The segment in which a timeline begins is read from the file of that timeline: PostgreSQL copies into it what its
//! parent wrote there before.

mod end;
mod file;
mod path;
mod reader;
mod segments;

use std::io::{self, Read};

pub use end::{ArchiveEnd, ArchiveError, ArchiveStop};
pub use reader::ArchiveReader;

use crate::WalName;

/// Where WAL files are kept.
///
/// ```no_run
/// use std::io::{self, Read};
/// use walfile::WalName;
///
/// struct Directory(std::path::PathBuf);
///
/// impl walfile::WalArchive for Directory {
///     fn open(&self, name: WalName) -> io::Result<Option<Box<dyn Read + Send>>> {
///         match std::fs::File::open(self.0.join(name.to_string())) {
///             Ok(file) => Ok(Some(Box::new(file))),
///             Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
///             Err(error) => Err(error),
///         }
///     }
/// }
/// ```
pub trait WalArchive {
    /// Opens a file for reading from its start: as it is stored, or decompressed already. `None` when there is none of this
    /// name. Large reads come; no buffer is needed.
    ///
    /// # Errors
    /// When it may be there and cannot be read.
    fn open(&self, name: WalName) -> io::Result<Option<Box<dyn Read + Send>>>;
}

impl<A: WalArchive + ?Sized> WalArchive for &A {
    fn open(&self, name: WalName) -> io::Result<Option<Box<dyn Read + Send>>> {
        (**self).open(name)
    }
}
