//! The credentials of a container: of a task of ECS, or a pod of EKS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use object_store::aws::AwsCredential;
use object_store::client::{HttpClient, HttpConnector as _, HttpRequest, HttpRequestBody};
use object_store::{ClientOptions, CredentialProvider};

use super::fresh::{Fresh, no_credentials};
use super::process::parse;
use crate::Environment;
use crate::wire::{Connector, deepest};

/// They are renewed long before they end.
const KEPT: Duration = Duration::from_secs(600);
/// Where a request may go unencrypted.
const NEAR: [&str; 6] =
    ["127.0.0.1", "localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

#[derive(Debug)]
pub(super) struct Container {
    url: String,
    token: Option<String>,
    /// Read each time, as it is replaced.
    token_file: Option<PathBuf>,
    client: HttpClient,
    fresh: Fresh,
}

impl Container {
    /// What the environment says of one, if it is one.
    pub(super) fn new(environment: &Environment, connector: &Connector) -> Result<Option<Self>, String> {
        let relative = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let url = match (relative, environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            (Some(path), _) => format!("http://169.254.170.2{path}"),
            (None, Some(url)) => url.to_owned(),
            (None, None) => return Ok(None),
        };
        let host = url.strip_prefix("http://").map(host_of);
        if !url.starts_with("https://") && !host.is_some_and(|host| NEAR.contains(&host)) {
            return Err("AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor of this machine".to_owned());
        }
        // The providers' own mark of a server that is near, or not there at all.
        let options = ClientOptions::new().with_allow_http(true).with_connect_timeout(Duration::from_secs(1));
        Ok(Some(Self {
            url,
            token: environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(str::to_owned),
            token_file: environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from),
            client: connector.connect(&options).map_err(|e| e.to_string())?,
            fresh: Fresh::new(KEPT),
        }))
    }

    async fn ask(&self) -> Result<AwsCredential, String> {
        let token = match &self.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                Some(text.map_err(|e| format!("cannot read {}: {e}", path.display()))?)
            }
            None => self.token.clone(),
        };
        let mut request = http::Request::get(&self.url);
        if let Some(token) = &token {
            request = request.header(AUTHORIZATION, token.trim());
        }
        let request: HttpRequest = request
            .body(HttpRequestBody::empty())
            .map_err(|_| "the container's token or URL has odd signs".to_owned())?;
        let response = self.client.execute(request).await.map_err(|e| deepest(&e))?;
        let (parts, body) = response.into_parts();
        let body = body.bytes().await.map_err(|e| deepest(&e))?;
        if !parts.status.is_success() {
            return Err(format!("the container's identity service answers {}", parts.status));
        }
        parse(&String::from_utf8_lossy(&body)).map_err(|e| format!("the container's identity service: {e}"))
    }
}

fn host_of(rest: &str) -> &str {
    let host = rest.split('/').next().unwrap_or_default();
    match host.strip_prefix('[') {
        Some(_) => host.split_inclusive(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

#[async_trait::async_trait]
impl CredentialProvider for Container {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.fresh.get(async { self.ask().await.map_err(no_credentials) }).await
    }
}
