//! What a PostgreSQL backup host keeps on disk, in the layout and formats of Barman 3.19, byte for byte.
//!
//! One server has a directory below `barman_home` ([`ServerLayout`]). In it lie backup records ([`BackupRecord`],
//! found through a [`Catalog`]), the archive of WAL with its index ([`XlogDb`]), and the places where WAL arrives.
//! Everything is written through [`durable`], under the lock files of [`locks`], so that Barman and this crate can work on
//! one catalog, and a power cut at any moment loses nothing that was acknowledged.
//!
//! ```
//! use tapster_catalog::{BackupRecord, BackupStatus, Catalog, Selector, ServerLayout, ServerName};
//!
//! let home = tempfile::tempdir()?;
//! let layout = ServerLayout::standard(home.path(), ServerName::new("main")?);
//! let catalog = Catalog::open(layout, time::UtcOffset::UTC);
//!
//! let mut record = BackupRecord::new("20261121T000542".parse()?);
//! record.status = BackupStatus::Done;
//! record.backup_name = Some("before the upgrade".to_owned());
//! catalog.save(&record)?;
//!
//! let found = catalog.select(&Selector::from("before the upgrade"))?;
//! assert_eq!(found.id.to_string(), "20261121T000542");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod custom_filter;
pub mod delete;
pub mod durable;
pub mod errors_dir;
pub mod gpg;
pub mod import;
pub mod incoming;
pub mod ingest;
pub mod keep;
pub mod locks;
pub mod record;
pub mod same_content;
pub mod segment_dir;
pub mod wal_index;
pub mod wal_mirror;
pub mod wal_store;
pub mod xlogdb;

mod catalog;
mod child;
mod encryption;
mod gzip_blocks;
mod identity;
mod layout;
mod names;
mod objects;
mod transcode;
mod undo;
mod wal_directory;
mod wal_end;

pub use catalog::{Catalog, CatalogError, FoundBackup, Selector, next_of, previous_of};
pub use durable::DurableError;
pub use gpg::Gpg;
pub use identity::{Identity, IdentityError};
pub use ingest::{IngestError, IngestObserver, IngestOptions, IngestReport, ingest};
pub use keep::{AnnotationError, KeepTarget};
pub use layout::ServerLayout;
pub use names::{BackupId, ParseBackupIdError, ServerName, ServerNameError};
pub use objects::{ArchivedObject, BackupObjects, NotArchived, ObjectsError, WalObjects};
pub use record::{
    BackupMode, BackupRecord, BackupStatus, BackupType, CopyStats, RecordError, RecordProblem, TablespaceInfo,
};
pub use segment_dir::{Resume, SegmentCompression, SegmentDir, SegmentDirError, SegmentDirOptions};
pub use time::UtcOffset;
pub use wal_directory::WalDirectory;
pub use wal_store::{FoundWal, Place, SegmentRun, SegmentRuns, WalReader, WalStore, WalStoreError};
pub use xlogdb::{
    ParseXlogEntryError, RebuildReport, XlogBrief, XlogDb, XlogDbError, XlogEntry, XlogLine, XlogLines,
    XlogSnapshot,
};
