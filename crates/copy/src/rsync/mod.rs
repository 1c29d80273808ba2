//! The files of a running cluster on another host, through the real `rsync` and `ssh`: what `backup_method = rsync` does.
//!
//! The source is listed, as Barman 3.19 does it. What the list says about a file that the previous backup has with the same
//! size and time, from before that backup began, is linked here without asking again; the rest is dealt out to a pool of
//! `rsync` processes: by size and time where that is safe, by checksum where it is not. The exclusions are those of
//! [`Rules`](crate::live::Rules). Afterwards the pages of what was transferred are verified, those that look torn are
//! fetched again, and everything is brought to disk.

mod buckets;
mod command;
mod copy;
mod list;
mod pace;
mod pages;
mod process;
mod push;
mod shared;
mod stored;

pub use command::{Rsync, RsyncTree, SSH_OPTIONS, try_ssh};
pub use process::RsyncError;
pub use push::{Existing, PushOptions, PushTree};
