//! The commands of `wal`.

pub(crate) mod inspect;
pub(crate) mod blocks;
pub(crate) mod verify;
