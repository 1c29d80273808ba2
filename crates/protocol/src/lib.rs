//! A PostgreSQL client for what backup needs.
//!
//! Connection strings as libpq reads them, TLS, SCRAM, simple queries, the replication commands, the stream of
//! a base backup and the stream of WAL, and a [`receive::Receiver`] that keeps a WAL archive up to date.
//! It blocks, has no async runtime, and its [`proto`] core does no I/O at all.
//!
//! ```no_run
//! use tapster_protocol::{ConnInfo, ConnectOptions, Connection, Environment, Mode};
//!
//! let conninfo = ConnInfo::parse("host=/run/postgresql user=postgres")?;
//! let options = ConnectOptions::resolve(&conninfo, &Environment::default())?;
//! let mut connection = Connection::connect(&options, Mode::PhysicalReplication)?;
//! let system = connection.identify_system()?;
//! println!("{} is at {} on timeline {}", system.system_id, system.position, system.timeline);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The parts without I/O run anywhere:
//!
//! ```
//! use tapster_protocol::{ServerVersion, quote};
//! assert_eq!(quote::literal("it's"), "'it''s'");
//! assert_eq!(ServerVersion::parse("15.18 (Debian 15.18-0+deb12u1)").map(ServerVersion::major), Some(15));
//! ```

pub mod auth;
mod connection;
pub mod conninfo;
mod net;
pub mod proto;
pub mod quote;
pub mod receive;
mod replication;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
pub mod tls;

pub use connection::{ConnectError, Connection, ConnectionError, Mode, Notice, QueryError};
pub use conninfo::{ConnInfo, ConnInfoError, ConnectOptions, Environment};
pub use proto::{Rows, ServerError, ServerVersion};
pub use replication::{
    BackupEnd, BackupEvent, BaseBackupError, BaseBackupOptions, BaseBackupStream, CreateSlot, HistoryFile,
    ManifestMode, NextTimeline, ReplicationError, ServerCompression, SlotName, SlotNameError, SlotState,
    StandbyStatus, StartReplication, SystemIdentity, Tablespace, WalEvent, WalStream,
};
pub use walfile::SystemId;
