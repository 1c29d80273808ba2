//! `wal`: commands that look into WAL. Each has a file of its own and an entry `wal NAME` in the tree.

pub(crate) mod blocks;
pub(crate) mod errors;
pub(crate) mod find;
pub(crate) mod index;
pub(crate) mod inspect;
pub(crate) mod verify;

/// What `help` says about the group.
pub(super) const ABOUT: &str =
    "Look into the write-ahead log: find, show, verify, and clear up what was refused";
