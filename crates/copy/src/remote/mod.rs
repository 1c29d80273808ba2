//! Directories of another host, through the ssh command that leads there.
//!
//! [`Host`] runs commands of any POSIX system there (`sh`, `tar`, and whatever the caller names), over one connection where the
//! ssh is OpenSSH's. [`RemoteArchive`] is a directory there that is written as a tar archive, unpacked while it arrives. What
//! the other host says is kept within bounds, and every word that becomes part of a command is quoted.

mod archive;
mod error;
mod guard;
mod host;
mod process;

pub use archive::{RemoteArchive, RemoteOutlet, Transfer};
pub use error::RemoteError;
pub use guard::Guard;
pub use host::{Host, Script};
pub use process::Sending;
