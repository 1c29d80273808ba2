//! From options and environment to a client of the provider.

mod aws;
mod azure;
mod google;

use std::sync::Arc;

use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::{CloudError, Environment, Provider, Retries, StoreOptions, StoreUrl};

pub(crate) fn connect(
    url: &StoreUrl,
    options: &StoreOptions,
    environment: &Environment,
) -> Result<Arc<dyn ObjectStore>, CloudError> {
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

/// An answer may be long, so the time of the whole of it is not bounded, but each read is.
fn client_options(retries: &Retries) -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_read_timeout(retries.read_timeout)
        .with_connect_timeout(retries.connect_timeout)
}

fn unusable(url: &StoreUrl, reason: impl ToString) -> CloudError {
    CloudError::Options { store: url.to_string(), reason: reason.to_string() }
}
