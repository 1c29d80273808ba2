//! Real object stores for tests. No stability promise.
//!
//! [`Moto`] is a store that speaks like S3 and keeps everything in memory; `scripts/setup cloud` installs it. It is looked for in
//! `TAPSTER_TEST_MOTO` (the program) or in `target/barman/bin`. Without it a test is skipped; in CI it fails.
//! [`Azurite`] speaks like Azure Blob Storage (`scripts/setup azurite`); without its program tests are skipped.
//! [`Google`] speaks like Google Cloud Storage, with `moto` and `gcp-storage-emulator` (`scripts/setup cloud`).
//! [`Garage`] is a real cluster of three nodes, which can be killed and cut off; without its program tests are skipped.
//! Whatever goes wrong here panics: this is a test's own set-up.
#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "test support: a failing set-up must end the test, and tests are configured by the environment"
)]

mod azurite;
mod garage;
mod google;
mod http;
mod moto;
mod place;
mod proxy;
mod server;

pub use azurite::Azurite;
pub use garage::Garage;
pub use google::Google;
pub use moto::Moto;
pub use proxy::{Fate, Proxy};
