//! PostgreSQL base backups and WAL in an object store.
//!
//! * [`StoreUrl`] and [`StoreOptions`]: where, and how to get there: provider, credentials, encryption, tags, patience.
//! * [`Store`]: a bucket (or container) below a prefix. Its calls block; each has a deadline, and is tried again with back-off.
//! * [`Layout`]: which object holds what: the names of Barman 3.19's cloud tools, so that a bucket serves both programs.
//!
//! An error says whether an object [is not there](CloudError::NotFound) or the store
//! [could not be reached](CloudError::Unreachable): a recovery ends at the first, and must wait at the second.
//!
//! ```
//! use tapster_cloud::{Layout, StoreUrl};
//! use walfile::WalName;
//!
//! let url: StoreUrl = "s3://backups/production".parse()?;
//! assert_eq!((url.bucket(), url.prefix()), ("backups", "production"));
//!
//! let name: WalName = "0000000100000002000000A0".parse()?;
//! assert_eq!(Layout::new("main").wal(name), "main/wals/0000000100000002/0000000100000002000000A0");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connect;
mod error;
mod layout;
mod options;
mod store;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;
mod url;
mod wire;

pub use bytes::Bytes;
pub use connect::StoreIdentity;
pub use error::{CloudError, UrlError};
pub use layout::Layout;
pub use options::{Addressing, AzureCredential, Encryption, Environment, Retries, StoreOptions};
pub use store::{
    DownloadOptions, Lock, LockMode, ObjectInfo, ObjectReader, PutMode, RangeRead, Store, Upload,
    WriteOptions,
};
pub use url::{Provider, StoreUrl};
