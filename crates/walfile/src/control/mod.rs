//! `global/pg_control`: the state of a cluster (PostgreSQL's `pg_control.h`).
//!
//! The struct changes from release to release, so the layout is chosen by the exact pair of control version and
//! catalog version; an unknown pair is refused, since every offset after it would be a guess. The layouts are
//! those of little-endian, 8-byte-aligned builds, and all of them, PostgreSQL 10 to 18, are checked in the tests
//! against files of real servers.

mod file;
mod layout;
mod state;

pub use file::{ControlFile, ControlFileError};
pub use state::{ClusterState, WalLevel};
