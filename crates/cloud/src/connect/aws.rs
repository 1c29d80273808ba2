//! Amazon S3, and what speaks like it.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};

use super::{connector, retry_config, unusable};
use crate::{Addressing, CloudError, Encryption, Environment, StoreOptions, StoreUrl};

/// What `boto3` looks for in the environment, and what it is to the client.
const VARIABLES: &[(&str, Key)] = &[
    ("AWS_ACCESS_KEY_ID", Key::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", Key::SecretAccessKey),
    ("AWS_SESSION_TOKEN", Key::Token),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", Key::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", Key::RoleArn),
    ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Key::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Key::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Key::ContainerAuthorizationTokenFile),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", Key::MetadataEndpoint),
];

pub(super) fn connect(
    url: &StoreUrl,
    options: &StoreOptions,
    environment: &Environment,
) -> Result<Arc<dyn ObjectStore>, CloudError> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(url.bucket())
        .with_retry(retry_config(&options.retries))
        .with_http_connector(connector(options));
    for (name, key) in VARIABLES {
        if let Some(value) = environment.get(name) {
            builder = builder.with_config(*key, value);
        }
    }
    let region = environment.get("AWS_REGION").or_else(|| environment.get("AWS_DEFAULT_REGION"));
    builder = builder.with_region(region.unwrap_or("us-east-1"));
    let endpoint = options.endpoint.as_deref().or_else(|| environment.get("AWS_ENDPOINT_URL_S3"));
    let endpoint = endpoint.or_else(|| environment.get("AWS_ENDPOINT_URL"));
    let is_virtual = match options.addressing {
        Addressing::Auto => endpoint.is_none(),
        Addressing::Virtual => true,
        Addressing::Path => false,
    };
    builder = builder.with_virtual_hosted_style_request(is_virtual);
    if let Some(endpoint) = endpoint {
        builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
    }
    let kind = match &options.encryption {
        None => None,
        Some(Encryption::S3Managed) => Some("AES256"),
        Some(Encryption::Kms { .. }) => Some("aws:kms"),
        Some(_) => return Err(unusable(url, "S3 has no such encryption")),
    };
    if let Some(kind) = kind {
        let key = "aws_server_side_encryption".parse().map_err(|e: object_store::Error| unusable(url, e))?;
        builder = builder.with_config(key, kind);
    }
    if let Some(Encryption::Kms { key: Some(key) }) = &options.encryption {
        builder = builder.with_sse_kms_encryption(key);
    }
    Ok(Arc::new(builder.build().map_err(|e| unusable(url, e))?))
}
