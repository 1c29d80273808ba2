//! A base backup into a directory or archives: `pg_basebackup`.
//!
//! [`run`] composes the pieces: a replication connection, `BASE_BACKUP`, extraction or archives that are checked against
//! the server's manifest in the same pass, and a second connection that receives the WAL meanwhile. Nothing is left after a
//! failure, and a backup that was cut off has neither a control file nor a manifest, so no server starts on it.
//!
//! ```no_run
//! use std::sync::Arc;
//! use tapster_manager::tools::basebackup::{BaseBackupOptions, Target, run};
//! use tapster_protocol::{ConnInfo, ConnectOptions, Environment};
//!
//! let conninfo = ConnInfo::parse("host=/run/postgresql user=postgres")?;
//! let connect = ConnectOptions::resolve(&conninfo, &Environment::default())?;
//! let target = Target::Plain { directory: "/backup/today".into(), tablespaces: Vec::new(), wal_directory: None };
//! let report = run(&connect, &BaseBackupOptions::new(target), &|_| {}, &Arc::default())?;
//! println!("restorable from {}", report.stop_lsn);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod destination;
mod directories;
mod error;
mod event;
mod options;
mod run;
mod stdout;
mod wal;
mod wal_store;
mod wal_tar;

pub use error::BaseBackupToolError;
pub use event::{BaseBackupEvent, DirectoryKind, Progress};
pub use options::{BaseBackupOptions, Target, Wal};
pub use run::{BaseBackupReport, run};
