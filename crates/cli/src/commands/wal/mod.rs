//! The commands of `wal`.

pub(crate) mod verify;
