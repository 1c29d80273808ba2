//! Tests of `walfile` against files of real PostgreSQL servers, and laws.
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

mod archive;
mod capi;
mod changed_blocks;
mod codecs;
mod control;
mod golden;
mod labels;
mod laws;
mod pages;
mod records;
mod records_events;
mod records_laws;
#[cfg(feature = "serde")]
mod serde_forms;
mod wal;
