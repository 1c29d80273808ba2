//! What requests of a provider carry that its client cannot be told.

use http::header::{AUTHORIZATION, IF_NONE_MATCH};
use http::{HeaderName, HeaderValue, Method};
use object_store::azure::{AzureAuthorizer, AzureCredential, AzureCredentialProvider};
use object_store::client::{HttpError, HttpErrorKind, HttpRequest};

/// By provider.
#[derive(Debug, Clone, Default)]
pub(crate) enum Extra {
    /// An upload in parts ends only when there is no such object.
    #[default]
    S3,
    /// The same, and the encryption scope of what is written. A signature with the account's key covers these headers, so it is made
    /// anew.
    Azure { scope: Option<HeaderValue>, account: String, credentials: AzureCredentialProvider },
    /// The key that encrypts what is written.
    Google { kms: Option<HeaderValue> },
}

impl Extra {
    /// `creates` is whether an object that is there must not be replaced.
    pub(super) async fn add(&self, request: &mut HttpRequest, creates: bool) -> Result<(), HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let (is_put, is_post) = (request.method() == Method::PUT, request.method() == Method::POST);
        match self {
            Self::S3 => {
                if creates && is_post && query.contains("uploadId=") {
                    // A signature names the headers that it covers; this is none of them.
                    request.headers_mut().insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
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
