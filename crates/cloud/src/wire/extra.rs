//! What requests of a provider carry that its client cannot be told.

use std::sync::{Arc, OnceLock};

use http::header::{AUTHORIZATION, IF_NONE_MATCH};
use http::{HeaderName, HeaderValue, Method};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::azure::{AzureAuthorizer, AzureCredential, AzureCredentialProvider};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest};

use super::Answer;

/// By provider.
#[derive(Debug, Clone, Default)]
pub(crate) enum Extra {
    /// An upload in parts ends only when there is no such object.
    #[default]
    S3,
    /// The same, and a bucket that is elsewhere is followed, signed for there: this is of the region that was guessed.
    Region(Arc<Region>),
    /// The same, and the encryption scope of what is written. A signature with the account's key covers these headers, so it is made
    /// anew.
    Azure { scope: Option<HeaderValue>, account: String, credentials: AzureCredentialProvider },
    /// The key that encrypts what is written.
    Google { kms: Option<HeaderValue> },
}

/// Where a bucket is, when nobody said it.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) guessed: String,
    pub(crate) credentials: AwsCredentialProvider,
    /// What the store said.
    pub(crate) found: OnceLock<String>,
}

impl Region {
    /// Signs a request for where the bucket is, if that is known by now.
    async fn follow(&self, request: &mut HttpRequest) -> Result<(), HttpError> {
        let Some(region) = self.found.get() else { return Ok(()) };
        let broken = || HttpError::new(HttpErrorKind::Unknown, NoRegion(region.clone()));
        let headers = request.headers_mut();
        // Requests for credentials are signed otherwise, and go elsewhere.
        let is_s3 = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if !is_s3.is_some_and(|text| text.contains("/s3/aws4_request")) {
            return Ok(());
        }
        headers.remove(AUTHORIZATION);
        let digest = headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
        let digest = digest.and_then(digest_of);
        let uri = request.uri().to_string();
        let here = format!(".{}.amazonaws.com", self.guessed);
        if let Some((before, after)) = uri.split_once(&here) {
            *request.uri_mut() =
                format!("{before}.{region}.amazonaws.com{after}").parse().map_err(|_| broken())?;
        }
        let unknown = |e| HttpError::new::<object_store::Error>(HttpErrorKind::Unknown, e);
        let keys = self.credentials.get_credential().await.map_err(unknown)?;
        AwsAuthorizer::new(&keys, "s3", region).try_authorize(request, digest.as_deref()).map_err(unknown)
    }

    /// Takes note of where an answer says that the bucket is. Whether that is news.
    pub(super) fn learn(&self, answer: &Answer) -> bool {
        let says_so = matches!(answer.status, 301 | 307 | 400) || answer.status == 403;
        match &answer.region {
            Some(region) if says_so && *region != self.guessed && is_name(region) => {
                self.found.set(region.clone()).is_ok()
            }
            _ => false,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the region {0} makes no host name")]
struct NoRegion(String);

fn is_name(region: &str) -> bool {
    region.len() <= 64 && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn digest_of(hex: &str) -> Option<Vec<u8>> {
    if hex.len() != 64 {
        return None;
    }
    (0..64).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

impl Extra {
    /// `creates` is whether an object that is there must not be replaced.
    pub(super) async fn add(&self, request: &mut HttpRequest, creates: bool) -> Result<(), HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let (is_put, is_post) = (request.method() == Method::PUT, request.method() == Method::POST);
        match self {
            Self::S3 | Self::Region(_) => {
                if creates && is_post && query.contains("uploadId=") {
                    // A signature names the headers that it covers; this is none of them.
                    request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
                }
                if let Self::Region(region) = self {
                    region.follow(request).await?;
                }
            }
            Self::Google { kms } => {
                let begins = is_post && query.split('&').any(|part| part.starts_with("uploads"));
                if let Some(kms) = kms
                    && ((is_put && !query.contains("partNumber=")) || begins)
                {
                    let name = HeaderName::from_static("x-goog-encryption-kms-key-name");
                    request.headers_mut().insert(name, kms.clone());
                }
            }
            Self::Azure { scope, account, credentials } => {
                let is_object = is_put && !query.contains("comp=tags") && !query.contains("restype=");
                let ends = creates && is_put && query.contains("comp=blocklist");
                if !is_object || !(ends || scope.is_some()) {
                    return Ok(());
                }
                if let Some(scope) = scope {
                    let name = HeaderName::from_static("x-ms-encryption-scope");
                    request.headers_mut().insert(name, scope.clone());
                }
                if ends {
                    request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
                }
                let unknown = |e| HttpError::new::<object_store::Error>(HttpErrorKind::Unknown, e);
                let credential = credentials.get_credential().await.map_err(unknown)?;
                if matches!(*credential, AzureCredential::AccessKey(_)) {
                    request.headers_mut().remove(AUTHORIZATION);
                    AzureAuthorizer::new(&credential, account).try_authorize(request).map_err(unknown)?;
                }
            }
        }
        Ok(())
    }
}
