//! A role, which is asked of Amazon's token service (STS).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST};
use object_store::aws::{AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector as _, HttpRequest, HttpRequestBody};
use object_store::{ClientOptions, CredentialProvider};

use super::credentials::Sts;
use super::fresh::{Fresh, no_credentials};
use crate::wire::{element, one_line};

/// What one shows to be given a role.
#[derive(Debug)]
pub(super) enum Proof {
    /// A signature with these.
    Keys(AwsCredentialProvider),
    /// The token in a file, which is replaced from time to time.
    Token(PathBuf),
}

#[derive(Debug)]
pub(super) struct Role {
    endpoint: String,
    region: String,
    client: HttpClient,
    arn: String,
    session: String,
    external_id: Option<String>,
    seconds: u32,
    proof: Proof,
    fresh: Fresh,
}

impl Role {
    pub(super) fn new(
        sts: &Sts,
        arn: &str,
        session: &str,
        external_id: Option<&str>,
        seconds: u32,
        proof: Proof,
    ) -> Result<Self, String> {
        let options = ClientOptions::new().with_allow_http(sts.endpoint.starts_with("http://"));
        Ok(Self {
            endpoint: sts.endpoint.clone(),
            region: sts.region.clone(),
            client: sts.connector.connect(&options).map_err(|e| e.to_string())?,
            arn: arn.to_owned(),
            session: session.to_owned(),
            external_id: external_id.map(str::to_owned),
            seconds,
            proof,
            fresh: Fresh::new(Duration::from_secs(u64::from(seconds) * 3 / 4)),
        })
    }

    async fn ask(&self) -> Result<AwsCredential, String> {
        let seconds = self.seconds.to_string();
        let mut form = vec![
            ("Version", "2011-06-15"),
            ("RoleArn", &self.arn),
            ("RoleSessionName", &self.session),
            ("DurationSeconds", &seconds),
        ];
        let token = match &self.proof {
            Proof::Keys(_) => None,
            Proof::Token(path) => {
                let text = std::fs::read_to_string(path);
                Some(text.map_err(|e| format!("cannot read {}: {e}", path.display()))?)
            }
        };
        match &token {
            None => form.push(("Action", "AssumeRole")),
            Some(token) => {
                form.push(("Action", "AssumeRoleWithWebIdentity"));
                form.push(("WebIdentityToken", token.trim()));
            }
        }
        if let Some(id) = &self.external_id {
            form.push(("ExternalId", id));
        }
        let body: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let mut request: HttpRequest = http::Request::post(&self.endpoint)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(HttpRequestBody::from(body.join("&")))
            .map_err(|_| format!("{} is no endpoint", self.endpoint))?;
        if let Proof::Keys(keys) = &self.proof {
            let keys = keys.get_credential().await.map_err(|e| e.to_string())?;
            let signer = AwsAuthorizer::new(&keys, "sts", &self.region);
            signer.try_authorize(&mut request, None).map_err(|e| e.to_string())?;
            request.headers_mut().remove(HOST);
        }
        let response = self.client.execute(request).await.map_err(|e| crate::wire::deepest(&e))?;
        let (parts, body) = response.into_parts();
        let body = body.bytes().await.map_err(|e| crate::wire::deepest(&e))?;
        let text = String::from_utf8_lossy(&body);
        if !parts.status.is_success() {
            let code = element(&text, "Code").unwrap_or_else(|| parts.status.to_string());
            let message = element(&text, "Message").unwrap_or_default();
            return Err(format!("the role {} is not given: {code}: {message}", one_line(&self.arn)));
        }
        let part =
            |name| element(&text, name).ok_or_else(|| format!("the answer about the role has no {name}"));
        Ok(AwsCredential {
            key_id: part("AccessKeyId")?,
            secret_key: whole(&text, "SecretAccessKey")?,
            token: Some(whole(&text, "SessionToken")?),
        })
    }
}

/// A token may be longer than a line that is shown.
fn whole(text: &str, name: &str) -> Result<String, String> {
    let rest = text.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
    let found = rest.and_then(|rest| rest.split_once(&format!("</{name}>"))).map(|(found, _)| found.trim());
    found.map(str::to_owned).ok_or_else(|| format!("the answer about the role has no {name}"))
}

#[async_trait::async_trait]
impl CredentialProvider for Role {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.fresh.get(async { self.ask().await.map_err(no_credentials) }).await
    }
}

/// As in a form: all but letters, digits and a few signs by their bytes.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
