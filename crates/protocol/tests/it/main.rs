//! The client against real servers, and the laws of its core.
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

mod auth;
mod auth_pg;
mod base_backup;
mod commands;
mod connect;
mod conninfo;
mod conninfo_resolve;
mod framing;
mod hostile;
mod hostile_backup;
mod receive;
mod tls_end_point;
mod tls_handshake;
