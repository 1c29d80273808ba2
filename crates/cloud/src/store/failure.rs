//! What an answer of a store means.

use std::error::Error as _;

use super::runtime::Ended;
use crate::{CloudError, StoreUrl};

pub(super) fn classify(
    url: &StoreUrl,
    action: &'static str,
    key: &str,
    ended: Ended<object_store::Error>,
) -> CloudError {
    use object_store::Error;
    let (store, key) = (url.to_string(), key.to_owned());
    let error = match ended {
        Ended::Failed(error) => error,
        Ended::TimedOut(after) => {
            let reason = format!("no answer within {} seconds", after.as_secs());
            return CloudError::Unreachable { store, action, key, reason };
        }
        Ended::Lost => {
            let reason = "the call was given up".to_owned();
            return CloudError::Failed { store, action, key, reason };
        }
    };
    let reason = one_line(&error);
    match error {
        Error::NotFound { .. } if reason.contains("NoSuchBucket") || reason.contains("ContainerNotFound") => {
            CloudError::NoBucket { bucket: url.bucket().to_owned() }
        }
        Error::NotFound { .. } => CloudError::NotFound { store, key },
        Error::AlreadyExists { .. } | Error::Precondition { .. } => CloudError::Exists { store, key },
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            CloudError::Denied { store, action, key, reason }
        }
        _ if may_pass(&error, &reason) => CloudError::Unreachable { store, action, key, reason },
        _ => CloudError::Failed { store, action, key, reason },
    }
}

/// Whether it may be another answer the next time: no connection or a broken one, a fault of the store's own (5xx), one that says
/// to slow down (429), or an error in an answer that began as a success. The client says the last three only in words.
fn may_pass(error: &object_store::Error, text: &str) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.is::<object_store::client::HttpError>() {
            return true;
        }
        source = error.source();
    }
    ["status code: 5", "status code: 429", "status code: 408", "returned error response"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// The innermost reason first, in one line of bounded length, and without what a URL's query may hold.
fn one_line(error: &object_store::Error) -> String {
    let text = error.to_string();
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(end) = line.char_indices().nth(500).map(|(at, _)| at) {
        line.truncate(end);
    }
    line
}
