//! What the crate promises, against real Barman's answers and as laws.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(missing_docs, unreachable_pub)]

mod backup;
mod golden;
mod laws;
mod periods;
mod rules;
