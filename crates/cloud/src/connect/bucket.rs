//! Making a bucket, which the providers' clients cannot.

use http::Method;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::gcp::GcpCredentialProvider;

/// Whose bucket it becomes.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    /// `url` is that of the bucket.
    S3 { url: String, region: String, credentials: AwsCredentialProvider },
    /// `url` is that of the container.
    Azure { url: String, account: String, credentials: AzureCredentialProvider },
    /// `url` is that of all buckets. Google asks for a project.
    Google { url: String, bucket: String, project: Option<String>, credentials: GcpCredentialProvider },
}

fn wrong(reason: impl std::fmt::Display) -> object_store::Error {
    object_store::Error::Generic { store: "bucket", source: reason.to_string().into() }
}

impl Owner {
    /// Asks for the bucket once. What the store says against it is with the call that this runs in.
    pub(crate) async fn create(&self, client: &HttpClient) -> object_store::Result<()> {
        let request = self.request().await?;
        let response = client
            .execute(request)
            .await
            .map_err(|error| object_store::Error::Generic { store: "bucket", source: Box::new(error) })?;
        if response.status().is_success() { Ok(()) } else { Err(wrong(response.status())) }
    }

    async fn request(&self) -> object_store::Result<HttpRequest> {
        match self {
            Self::S3 { url, region, credentials } => {
                // That region is the default, and its name is refused here.
                let body = if region == "us-east-1" {
                    String::new()
                } else {
                    format!(
                        "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                         <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
                    )
                };
                let mut request = request(Method::PUT, url, body)?;
                let keys = credentials.get_credential().await?;
                AwsAuthorizer::new(&keys, "s3", region).try_authorize(&mut request, None)?;
                request.headers_mut().remove(HOST);
                Ok(request)
            }
            Self::Azure { url, account, credentials } => {
                let mut request = request(Method::PUT, &format!("{url}?restype=container"), String::new())?;
                let credential = credentials.get_credential().await?;
                AzureAuthorizer::new(&credential, account).try_authorize(&mut request)?;
                Ok(request)
            }
            Self::Google { url, bucket, project, credentials } => {
                let project = project.as_deref().ok_or_else(|| {
                    wrong("a bucket belongs to a project: set GOOGLE_CLOUD_PROJECT, or make the bucket yourself")
                })?;
                let body = serde_json::json!({ "name": bucket }).to_string();
                let mut request = request(Method::POST, &format!("{url}?project={project}"), body)?;
                request
                    .headers_mut()
                    .insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
                let credential = credentials.get_credential().await?;
                let bearer = format!("Bearer {}", credential.bearer).parse();
                request
                    .headers_mut()
                    .insert(AUTHORIZATION, bearer.map_err(|_| wrong("the token has odd signs"))?);
                Ok(request)
            }
        }
    }
}

fn request(method: Method, url: &str, body: String) -> object_store::Result<HttpRequest> {
    let length = body.len();
    http::Request::builder()
        .method(method)
        .uri(url)
        .header(http::header::CONTENT_LENGTH, length)
        .body(HttpRequestBody::from(body))
        .map_err(|_| wrong("its name makes no URL"))
}
