//! Amazon S3, and what speaks like it.

mod container;
mod credentials;
mod fresh;
mod process;
mod profile;
mod role;

use std::sync::{Arc, OnceLock};

use object_store::ClientOptions;
use object_store::aws::AmazonS3Builder;

use super::bucket::Owner;
use super::{Connected, connector, retry_config, unusable};
use crate::wire::{Connector, Extra, Region};
use crate::{Addressing, CloudError, Encryption, Environment, StoreOptions, StoreUrl};
use credentials::Sts;
use profile::{Profile, Profiles};

pub(super) fn connect(
    url: &StoreUrl,
    options: &StoreOptions,
    environment: &Environment,
) -> Result<Connected, CloudError> {
    let profiles = Profiles::read(environment, options.profile.as_deref()).map_err(|e| unusable(url, e))?;
    let profile = profiles.current().map_err(|e| unusable(url, e))?;
    let connector =
        connector(options, environment, profile.get("ca_bundle")).map_err(|e| unusable(url, e))?;
    let region = environment.get("AWS_DEFAULT_REGION").or_else(|| environment.get("AWS_REGION"));
    let region = region.or_else(|| profile.get("region"));
    let is_guessed = region.is_none();
    let region = region.unwrap_or("us-east-1").to_owned();
    let endpoint = options.endpoint.clone().or_else(|| endpoint(environment, &profiles, &profile, "S3"));

    // Each body is signed by its SHA-256, so that the store refuses one that has changed on its way; other checksums are not sent, as
    // not every store knows them.
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(url.bucket())
        .with_region(&region)
        .with_retry(retry_config(&options.retries))
        .with_http_connector(connector.clone());
    let sts = endpoint_of_roles(environment, &profiles, &profile, &region);
    let sts = Sts { endpoint: sts, region: region.clone(), connector: connector.clone() };
    let is_chosen = options.profile.is_some();
    let provider = credentials::provider(&profiles, is_chosen, environment, &sts, &builder);
    let credentials = provider.map_err(|e| unusable(url, e))?;
    builder = builder.with_credentials(Arc::clone(&credentials));
    if is_guessed {
        let (guessed, credentials) = (region.clone(), Arc::clone(&credentials));
        let extra = Extra::Region(Arc::new(Region { guessed, credentials, found: OnceLock::new() }));
        builder = builder.with_http_connector(Connector { extra, ..connector.clone() });
    }

    let style = profile.get("s3.addressing_style");
    let is_virtual = match (options.addressing, style) {
        (Addressing::Virtual, _) | (Addressing::Auto, Some("virtual")) => true,
        (Addressing::Path, _) | (Addressing::Auto, Some("path")) => false,
        // A certificate for all buckets is not one for names with dots.
        (Addressing::Auto, _) => endpoint.is_none() && !url.bucket().contains('.'),
    };
    builder = builder.with_virtual_hosted_style_request(is_virtual);
    let (scheme, host) = match &endpoint {
        None => ("https", format!("s3.{region}.amazonaws.com")),
        Some(endpoint) => {
            let wrong =
                || unusable(url, format!("the endpoint {endpoint} is not http://host or https://host"));
            let (scheme, host) = endpoint.split_once("://").ok_or_else(wrong)?;
            if !matches!(scheme, "http" | "https") || host.is_empty() || host.contains('@') {
                return Err(wrong());
            }
            (scheme, host.trim_end_matches('/').to_owned())
        }
    };
    // The client puts the bucket into the path itself, but not into the name of an endpoint.
    let (place, bucket) = if is_virtual {
        let place = format!("{scheme}://{}.{host}", url.bucket());
        (place.clone(), place)
    } else {
        (format!("{scheme}://{host}"), format!("{scheme}://{host}/{}", url.bucket()))
    };
    builder = builder.with_allow_http(scheme == "http").with_endpoint(place);
    builder = encrypted(builder, url, options)?;
    let plain = ClientOptions::new().with_allow_http(scheme == "http");
    // Others may read over what they do not know, as Garage does.
    let decides = host.split([':', '/']).next().is_some_and(|host| host.ends_with(".amazonaws.com"));
    Ok(Connected {
        decides,
        store: Arc::new(builder.build().map_err(|e| unusable(url, e))?),
        owner: Some((Owner::S3 { url: bucket, region, credentials }, connector, plain)),
    })
}

fn encrypted(
    builder: AmazonS3Builder,
    url: &StoreUrl,
    options: &StoreOptions,
) -> Result<AmazonS3Builder, CloudError> {
    let (kind, key) = match &options.encryption {
        None => return Ok(builder),
        Some(Encryption::S3Managed) => ("AES256", None),
        Some(Encryption::Kms { key }) => ("aws:kms", key.as_deref()),
        Some(_) => return Err(unusable(url, "S3 has no such encryption")),
    };
    let name = "aws_server_side_encryption".parse().map_err(|e: object_store::Error| unusable(url, e))?;
    let builder = builder.with_config(name, kind);
    match key {
        None => Ok(builder),
        Some(key) => {
            let name = "aws_sse_kms_key_id".parse().map_err(|e: object_store::Error| unusable(url, e))?;
            Ok(builder.with_config(name, key))
        }
    }
}

fn endpoint(
    environment: &Environment,
    profiles: &Profiles,
    profile: &Profile,
    service: &str,
) -> Option<String> {
    let own = environment.get(&format!("AWS_ENDPOINT_URL_{service}"));
    let own = own.or_else(|| environment.get("AWS_ENDPOINT_URL")).map(str::to_owned);
    own.or_else(|| profiles.endpoint(profile, &service.to_lowercase()))
}

/// Where requests go, and as whom as far as that is written down. Buckets of one name are one bucket at Amazon, but not at stores that
/// have them per tenant.
pub(super) fn whence(options: &StoreOptions, environment: &Environment) -> [Option<String>; 3] {
    let profiles = Profiles::read(environment, options.profile.as_deref()).ok();
    let profile = profiles.as_ref().and_then(|profiles| profiles.current().ok()).unwrap_or_default();
    let endpoint = options.endpoint.clone().or_else(|| match &profiles {
        Some(profiles) => endpoint(environment, profiles, &profile, "S3"),
        None => None,
    });
    let key = environment.get("AWS_ACCESS_KEY_ID").or_else(|| profile.get("aws_access_key_id"));
    let name = profiles.filter(|profiles| profiles.is_named).map(|profiles| profiles.name);
    [endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_owned()), name, key.map(str::to_owned)]
}

fn endpoint_of_roles(
    environment: &Environment,
    profiles: &Profiles,
    profile: &Profile,
    region: &str,
) -> String {
    endpoint(environment, profiles, profile, "STS")
        .unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com"))
}
