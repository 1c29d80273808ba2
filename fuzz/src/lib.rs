//! Properties that must hold for any bytes. Each is a plain function: cargo-fuzz drives it through `fuzz_targets/`, and the ordinary
//! test run replays the corpus through it.

#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a property that fails is to panic"
)]

pub mod catalog;
pub mod copy;
pub mod manager;
pub mod protocol;
pub mod walfile;
pub mod walfile_archive;
pub mod walfile_built;

/// A property over arbitrary bytes.
pub type Property = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus directory.
pub const TARGETS: &[(&str, Property)] = &[
    ("python_literal", catalog::python_literal),
    ("backup_info", catalog::backup_info),
    ("xlogdb", catalog::xlogdb),
    ("wal_index", catalog::wal_index),
    ("tar", copy::tar),
    ("manifest", copy::manifest),
    ("incremental_header", copy::incremental_header),
    ("config_ini", manager::config_ini),
    ("conninfo", protocol::conninfo),
    ("scram", protocol::scram),
    ("frames", protocol::frames),
    ("backend_messages", protocol::backend_messages),
    ("wal_name", walfile::wal_name),
    ("decoder", walfile::decoder),
    ("record", walfile::record),
    ("changed_blocks", walfile::changed_blocks),
    ("history", walfile::history),
    ("page_walk", walfile::page_walk),
    ("backup_label", walfile::backup_label),
    ("control_file", walfile::control_file),
    ("codec", walfile::codec),
    ("built_log", walfile_built::built_log),
    ("archive", walfile_archive::archive),
];
