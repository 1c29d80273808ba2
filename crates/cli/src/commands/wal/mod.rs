//! The commands of `wal`.

pub(crate) mod blocks;
pub(crate) mod inspect;
pub(crate) mod verify;
