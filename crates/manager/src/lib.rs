//! The verbs.
pub mod config;
pub mod restore;
