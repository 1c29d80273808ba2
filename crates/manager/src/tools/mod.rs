//! The small tools: `pg_basebackup` and `pg_receivewal` on a plain directory and a connection string, with neither
//! configuration nor catalog.
//!
//! They show what the libraries do together, and let a script swap one program for the other: the same options, files,
//! texts and outcomes (PostgreSQL 15's `pg_basebackup.c`, `pg_receivewal.c`, `receivelog.c`, `walmethods.c`). What they
//! add is order: the control file and the manifest come last, and nothing is called done before it is on disk.

pub mod basebackup;
pub mod combinebackup;
pub mod receivewal;
pub mod recovery_settings;
pub mod verifybackup;

mod libpq;

pub use libpq::{LibpqText, NO_PASSWORD, connect_text};
