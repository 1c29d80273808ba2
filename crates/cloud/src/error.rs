//! What can go wrong between here and an object store.

use std::io;
use std::path::PathBuf;

/// A URL that names no place in an object store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid URL {url:?} of an object store: {reason}")]
#[non_exhaustive]
pub struct UrlError {
    /// What was given.
    pub url: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// Why a call to an object store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudError {
    /// See [`UrlError`].
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The options or credentials cannot be used; no request was made.
    #[error("cannot use {store}: {reason}")]
    Options {
        /// The URL of the store.
        store: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no such object. The store was reached and said so.
    #[error("there is no object {key} in {store}")]
    NotFound {
        /// The URL of the store.
        store: String,
        /// The key below its prefix.
        key: String,
    },
    /// There is no such bucket or container.
    #[error("there is no bucket {bucket}")]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// The object is there already, and was not to be replaced.
    #[error("the object {key} is in {store} already")]
    Exists {
        /// The URL of the store.
        store: String,
        /// The key below its prefix.
        key: String,
    },
    /// The store was reached and refuses.
    #[error("{store} refuses {action} {key}: {reason}")]
    Denied {
        /// The URL of the store.
        store: String,
        /// What was tried: `reading`, `writing`, …
        action: &'static str,
        /// The key below its prefix.
        key: String,
        /// What the store said.
        reason: String,
    },
    /// No answer, a broken one, or one that says to come again later, until patience ended. Nothing is known about the object.
    #[error("could not reach {store} for {action} {key}: {reason}")]
    Unreachable {
        /// The URL of the store.
        store: String,
        /// What was tried.
        action: &'static str,
        /// The key below its prefix.
        key: String,
        /// What happened.
        reason: String,
    },
    /// Any other answer of the store.
    #[error("{action} {key} in {store} failed: {reason}")]
    Failed {
        /// The URL of the store.
        store: String,
        /// What was tried.
        action: &'static str,
        /// The key below its prefix.
        key: String,
        /// What the store said.
        reason: String,
        /// The status of its answer, or the one that its own name for what happened stands for; `None` when it is not about an answer.
        status: Option<u16>,
    },
    /// What is in an object is not what it must be.
    #[error("the object {key} in {store} is invalid: {reason}")]
    Invalid {
        /// The URL of the store.
        store: String,
        /// The key below its prefix.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file here cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Local {
        /// What was tried: `read`, `write`, `sync`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The stop flag was raised.
    #[error("stopped on request")]
    Stopped,
}

impl CloudError {
    /// Whether the store said that it cannot do what the request was for, with this object or any other.
    pub const fn is_not_implemented(&self) -> bool {
        matches!(self, Self::Failed { status: Some(501), .. })
    }

    /// Whether the store said that the object has no such bytes.
    pub(crate) const fn is_out_of_range(&self) -> bool {
        matches!(self, Self::Failed { status: Some(416), .. })
    }

    /// Whether the store was reached and has no such object, or no such bucket.
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NoBucket { .. })
    }

    /// Whether a later try may succeed without anybody changing anything.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
