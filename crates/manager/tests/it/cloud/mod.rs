//! WAL and backups in an object store: `moto_server`, and Barman's own cloud tools beside ours on the same bucket.

mod lab;
mod proxy;
mod receive;
mod receive_again;
mod wal_archive;
mod wal_restore;
