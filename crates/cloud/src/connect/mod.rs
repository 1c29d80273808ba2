//! From options and environment to a client of the provider.

mod aws;
mod azure;
mod bucket;
mod google;
mod identity;

use std::sync::Arc;

use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

pub(crate) use bucket::Owner;
pub use identity::StoreIdentity;

use crate::wire::{Connector, Proxies};
use crate::{CloudError, Environment, Provider, Retries, StoreOptions, StoreUrl};

/// A bucket, and what can make it.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// How it is made, and with which client.
    pub(crate) owner: Option<(Owner, Connector, ClientOptions)>,
    /// Whether it is known to refuse in one step to replace an object.
    pub(crate) decides: bool,
}

pub(crate) fn connect(
    url: &StoreUrl,
    options: &StoreOptions,
    environment: &Environment,
) -> Result<Connected, CloudError> {
    match url.provider() {
        Provider::S3 => aws::connect(url, options, environment),
        Provider::Azure => azure::connect(url, options, environment),
        Provider::Google => google::connect(url, options, environment),
    }
}

fn retry_config(retries: &Retries) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: retries.count,
        retry_timeout: retries.patience,
    }
}

fn unusable(url: &StoreUrl, reason: impl ToString) -> CloudError {
    CloudError::Options { store: url.to_string(), reason: reason.to_string() }
}

/// The HTTP client, with the proxies and certificates that the environment names. `authorities` is a file of certificates.
fn connector(
    options: &StoreOptions,
    environment: &Environment,
    authorities: Option<&str>,
) -> Result<Connector, String> {
    let named = environment.get("AWS_CA_BUNDLE").or(authorities);
    let named = named.or_else(|| environment.get("REQUESTS_CA_BUNDLE"));
    let authorities = match named {
        None => None,
        Some(path) => {
            Some(std::fs::read(path).map_err(|e| format!("cannot read the certificates in {path}: {e}"))?)
        }
    };
    let either = |upper: &str, lower: &str| {
        environment.get(lower).or_else(|| environment.get(upper)).map(str::to_owned)
    };
    let proxies = Proxies {
        // Not in capitals: a server that runs programs for web pages would let the client choose it.
        http: environment.get("http_proxy").map(str::to_owned),
        https: either("HTTPS_PROXY", "https_proxy"),
        except: either("NO_PROXY", "no_proxy"),
    };
    Ok(Connector { retries: options.retries, authorities, proxies, ..Connector::default() })
}
