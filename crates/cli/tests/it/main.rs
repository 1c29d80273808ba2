//! The program as its users call it; real Barman 3.19.1 and PostgreSQL 15's tools, where they are installed, say what
//! is right.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    unreachable_pub
)]

mod architecture;
mod backup_archives;
mod backup_files;
mod backup_hooks;
mod backup_standby;
mod barman_parity;
mod catalog_care;
mod chaos;
mod chaos_archive;
mod chaos_backup;
mod chaos_cluster;
mod chaos_disk_full;
mod chaos_receive;
mod check_lines;
#[cfg(feature = "cloud")]
mod cloud_conf;
#[cfg(feature = "cloud")]
mod cloud_conf_wal;
#[cfg(feature = "cloud")]
mod cloud_cycle;
#[cfg(feature = "cloud")]
mod cloud_garage;
mod cloud_killed;
#[cfg(feature = "cloud")]
mod cloud_lab;
#[cfg(feature = "cloud")]
mod cloud_memory;
#[cfg(feature = "cloud")]
mod cloud_parity;
#[cfg(feature = "cloud")]
mod cloud_receive;
mod cloud_servers;
#[cfg(feature = "cloud")]
mod cloud_wal;
mod commands_cycle;
mod commands_errors;
mod config_keys;
mod configuration;
mod cron;
mod daemon;
mod data_loss;
mod display;
mod encryption;
mod export_backup;
mod get_wal;
mod help;
mod incremental;
mod lab;
mod links;
mod maintenance;
mod manual;
mod parity_catalog;
mod passive;
mod pg_tools;
mod program;
mod replication;
mod report;
mod restore_delta;
mod restore_remote;
mod restore_targets;
mod shelf;
mod sshd;
mod streaming;
mod tools;
mod tools_basebackup;
mod tools_receivewal;
mod tools_verifybackup;
mod verify_restore;
mod wal_archive;
mod wal_custom;
mod wal_exit_codes;
mod wal_find;
mod wal_inspect;
mod wal_put;
mod wal_replay;
mod wal_restore;
mod wal_verify;
