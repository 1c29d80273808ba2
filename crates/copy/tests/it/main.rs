//! The crate's integration tests.
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
mod combine;
mod delta;
mod extract;
mod generate;
mod hostile;
mod live;
mod manifest;
mod pages;
mod remote;
mod rsync;
mod server;
mod tar;
mod tree;
