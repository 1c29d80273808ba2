//! What an answer of a store means.

use object_store::client::{HttpError, HttpErrorKind};

use super::runtime::Ended;
use crate::wire::{Answer, Call, Last, deepest, one_line};
use crate::{CloudError, Provider, StoreUrl};

/// Of a call that ended without its result.
pub(super) fn classify(
    url: &StoreUrl,
    action: &'static str,
    key: &str,
    ended: Ended<object_store::Error>,
    call: &Call,
) -> CloudError {
    let about = About { url, action, key };
    let error = match ended {
        Ended::Failed(error) => error,
        Ended::TimedOut(after) => {
            let last = match call.last() {
                Last::Refused(answer) => format!("; at last: {}", answer.text()),
                Last::Broken(reason) => format!("; at last: {reason}"),
                _ => String::new(),
            };
            return about.unreachable(format!("no result within {after:?}{last}"));
        }
        Ended::Lost => return about.failed("the call was given up".to_owned()),
    };
    if let Some(broken) = http_error(&error) {
        return about.unreachable(broken_text(broken));
    }
    if let Last::Refused(answer) = call.last() {
        return about.refused(&answer);
    }
    use object_store::Error;
    match error {
        Error::NotFound { .. } => about.not_found(),
        Error::AlreadyExists { .. } | Error::Precondition { .. } => about.exists(),
        error => about.failed(one_line(&error.to_string())),
    }
}

struct About<'a> {
    url: &'a StoreUrl,
    action: &'static str,
    key: &'a str,
}

impl About<'_> {
    fn refused(&self, answer: &Answer) -> CloudError {
        match answer.code.as_deref() {
            Some("NoSuchBucket" | "ContainerNotFound") => {
                return CloudError::NoBucket { bucket: self.url.bucket().to_owned() };
            }
            Some("NoSuchKey" | "NoSuchVersion" | "BlobNotFound") => return self.not_found(),
            Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "InvalidAccessKeyId") => {
                return self.denied(answer);
            }
            Some(
                "SlowDown"
                | "Throttling"
                | "ServerBusy"
                | "OperationAborted"
                | "ConditionalRequestConflict"
                | "ContainerBeingDeleted",
            ) => return self.unreachable(answer.text()),
            _ if answer.is_of_the_way() => return self.unreachable(answer.text()),
            Some("NoSuchUpload") => {
                return self.failed("the store has dropped the parts of this upload".to_owned());
            }
            _ => {}
        }
        match answer.status {
            401 | 403 => self.denied(answer),
            404 if self.is_of_the_store(answer) => self.not_found(),
            404 => {
                let reason = "something that is not the store answered that there is nothing (a proxy, a wrong endpoint?)";
                self.failed(format!("{reason}: {}", answer.text()))
            }
            304 | 412 => self.exists(),
            409 if answer.code.as_deref().is_none_or(|code| code.ends_with("AlreadyExists")) => self.exists(),
            501 => self.answered(answer),
            408 | 429 | 500.. => self.unreachable(answer.text()),
            300..=399 => self.failed(elsewhere(answer)),
            _ if answer.region.is_some()
                && answer.code.as_deref() == Some("AuthorizationHeaderMalformed") =>
            {
                self.failed(elsewhere(answer))
            }
            _ => self.answered(answer),
        }
    }

    /// A recovery ends when the store says that there is no more; a page of a proxy must not end it.
    fn is_of_the_store(&self, answer: &Answer) -> bool {
        match self.url.provider() {
            Provider::S3 | Provider::Azure => answer.is_bare && answer.is_signed,
            Provider::Google => answer.is_signed || !answer.message.is_empty(),
        }
    }

    fn denied(&self, answer: &Answer) -> CloudError {
        let clock = answer.date.as_ref().map_or_else(String::new, |date| format!(" (its clock says {date})"));
        let hint = match answer.code.as_deref() {
            Some("RequestTimeTooSkewed") => {
                format!("; the clock of this machine is wrong, or the store's{clock}")
            }
            Some("SignatureDoesNotMatch") => {
                format!("; the secret key is wrong, the clock here is{clock}, or a proxy changes requests")
            }
            Some("InvalidAccessKeyId") => "; the store does not know the access key".to_owned(),
            Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
                "; the temporary credentials have ended or are not of this store".to_owned()
            }
            Some("AuthenticationFailed") => {
                format!("; the account's key or token is wrong, or the clock here is{clock}")
            }
            _ => String::new(),
        };
        CloudError::Denied {
            store: self.url.to_string(),
            action: self.action,
            key: self.key.to_owned(),
            reason: format!("{}{hint}", answer.text()),
        }
    }

    fn not_found(&self) -> CloudError {
        CloudError::NotFound { store: self.url.to_string(), key: self.key.to_owned() }
    }

    fn exists(&self) -> CloudError {
        CloudError::Exists { store: self.url.to_string(), key: self.key.to_owned() }
    }

    fn unreachable(&self, reason: String) -> CloudError {
        let (store, key) = (self.url.to_string(), self.key.to_owned());
        CloudError::Unreachable { store, action: self.action, key, reason }
    }

    fn failed(&self, reason: String) -> CloudError {
        let (store, key) = (self.url.to_string(), self.key.to_owned());
        CloudError::Failed { store, action: self.action, key, reason, status: None }
    }

    fn answered(&self, answer: &Answer) -> CloudError {
        let (store, key, reason) = (self.url.to_string(), self.key.to_owned(), answer.text());
        let status = match answer.code.as_deref() {
            Some("NotImplemented") => 501,
            Some("InvalidRange") => 416,
            _ => answer.status,
        };
        CloudError::Failed { store, action: self.action, key, reason, status: Some(status) }
    }
}

fn elsewhere(answer: &Answer) -> String {
    let text = answer.text();
    match (&answer.region, &answer.elsewhere) {
        (Some(region), _) => format!("the bucket is in the region {region} ({text})"),
        (None, Some(host)) => format!("the store sends elsewhere, to {host}, which is not followed ({text})"),
        (None, None) => format!("the store sends elsewhere without saying where: a wrong region? ({text})"),
    }
}

/// The broken connection in the chain of reasons, if it is one.
fn http_error(error: &object_store::Error) -> Option<&HttpError> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<HttpError>() {
            return Some(found);
        }
        source = error.source();
    }
    None
}

fn broken_text(error: &HttpError) -> String {
    let text = deepest(error);
    match error.kind() {
        HttpErrorKind::Connect => format!("no connection: {text}"),
        HttpErrorKind::Timeout => format!("no answer in time: {text}"),
        HttpErrorKind::Interrupted | HttpErrorKind::Request => format!("the connection broke: {text}"),
        _ => format!("a broken answer: {text}"),
    }
}
