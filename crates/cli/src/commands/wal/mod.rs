//! The commands of `wal`.

pub(crate) mod blocks;
pub(crate) mod errors;
pub(crate) mod find;
pub(crate) mod index;
pub(crate) mod inspect;
pub(crate) mod verify;
