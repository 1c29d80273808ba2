//! Real PostgreSQL servers for tests. No stability promise.
//!
//! Servers are found in `TAPSTER_TEST_PG` (a colon-separated list of `bin` directories) or in
//! `/usr/lib/postgresql/*/bin`. With none, a test is skipped; with `TAPSTER_TEST_PG=require`, or in CI, it fails.
//! Whatever goes wrong here panics: this is a test's own set-up.
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "test support: a failing set-up must end the test, and tests are configured by the environment"
)]

mod account;
mod binaries;
mod builder;
mod cluster;
mod standby;
mod template;

pub use binaries::{Binaries, servers};
pub use builder::Builder;
pub use cluster::{Cluster, StopMode};
