//! The catalog on a real file system, against files made by real Barman, and against Barman itself.
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

mod barman;
mod catalog;
mod crash;
mod delete;
mod durable;
mod import;
mod ingest;
mod locks;
mod records;
mod segment_dir;
mod wal_index;
mod wal_log;
mod wal_samples;
mod xlogdb;
