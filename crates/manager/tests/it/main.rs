//! What the crate promises, against real Barman and real PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    unreachable_pub
)]

mod check;
#[cfg(feature = "cloud")]
mod cloud;
#[cfg(feature = "cloud")]
mod cloud_backup;
#[cfg(feature = "cloud")]
mod cloud_delete;
#[cfg(feature = "cloud")]
mod cloud_verify;
mod completeness;
mod config;
mod cycle;
mod daemon;
mod files;
mod offline;
mod wal_blocks;
mod wal_verify;
mod wal_verify_backup;
