//! From options and environment to a client of the provider.

mod aws;
mod azure;
mod google;

use std::sync::Arc;

use object_store::{BackoffConfig, ObjectStore, RetryConfig};

use crate::wire::Connector;
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

fn unusable(url: &StoreUrl, reason: impl ToString) -> CloudError {
    CloudError::Options { store: url.to_string(), reason: reason.to_string() }
}

fn connector(options: &StoreOptions) -> Connector {
    Connector { retries: options.retries, ..Connector::default() }
}
