//! Moving the files of a PostgreSQL cluster, safely and in one pass.
//!
//! * [`tar`]: a push parser for base-backup streams. It does no I/O and leaves the data where it is.
//! * [`extract`]: base-backup archives become directories, each file checked against the server's manifest.
//! * [`archive`]: the same archives become `base.tar`, `<oid>.tar`, compressed when asked.
//! * [`compress`]: one gzip, bzip2 or xz stream on all cores, as any program reads it.
//! * [`manifest`]: PostgreSQL's `backup_manifest`: read, written, and a backup verified with it.
//! * [`live`]: the files of a running cluster into a backup, in parallel, sharing what the one before has.
//! * [`rsync`]: the same from another host, through the real `rsync` and `ssh`.
//! * [`remote`]: commands and tar streams on another host, over one ssh connection.
//! * [`combine`]: a full backup and the incremental ones on top of it become one.
//! * [`tree`]: one directory becomes another, in parallel; what a local restore does.
//! * [`delta`]: any of these over what is there already, of which is kept what is right.
//! * [`pages`]: checksums of data pages, verified while files pass.
//! * [`sync`] and [`publish`]: what "on disk" means here, in one place.
//!
//! Memory stays bounded whatever the size of the cluster. Every name that comes from outside is checked
//! before it reaches the file system, and nothing is ever written through a symbolic link.
//!
//! ```
//! use tapster_copy::tar::{Event, Parser, member_header};
//!
//! let mut stream = member_header("PG_VERSION", 3, 0o600, 0)?.to_vec();
//! stream.extend_from_slice(b"15\n");
//! stream.resize(1024, 0);
//!
//! let mut parser = Parser::new();
//! let mut input = stream.as_slice();
//! while let Some(event) = parser.next(&mut input)? {
//!     match event {
//!         Event::Member(member) => assert_eq!(member.path.to_str(), Some("PG_VERSION")),
//!         Event::Data(bytes) => assert_eq!(bytes, b"15\n"),
//!         _ => {}
//!     }
//! }
//! parser.finish()?;
//! # Ok::<(), tapster_copy::tar::TarError>(())
//! ```

pub mod archive;
mod checksum;
pub mod combine;
pub mod compress;
mod decrypt;
pub mod delta;
pub mod extract;
pub mod live;
pub mod manifest;
mod observer;
pub mod pages;
pub mod publish;
pub mod remote;
pub mod rsync;
pub mod sync;
pub mod tar;
pub mod tree;
mod unpack;

pub use checksum::{Checksum, ChecksumAlgorithm, Hasher, ParseChecksumError};
pub use decrypt::Decrypt;
pub use extract::{ExtractError, ExtractOptions, ExtractReport, TarExtractor};
pub use manifest::{ManifestError, ManifestReader, ManifestWriter};
pub use observer::{CopyObserver, Silent};
pub use sync::{SyncError, SyncMethod};
pub use unpack::Unpacker;
