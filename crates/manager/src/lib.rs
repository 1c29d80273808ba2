//! The verbs.
pub mod restore;
