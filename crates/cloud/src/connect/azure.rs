//! Azure Blob Storage.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::azure::MicrosoftAzureBuilder;

use super::{connector, retry_config, unusable};
use crate::{AzureCredential, CloudError, Environment, StoreOptions, StoreUrl};

pub(super) fn connect(
    url: &StoreUrl,
    options: &StoreOptions,
    environment: &Environment,
) -> Result<Arc<dyn ObjectStore>, CloudError> {
    let mut builder = MicrosoftAzureBuilder::new()
        .with_container_name(url.bucket())
        .with_account(url.account().unwrap_or_default())
        .with_retry(retry_config(&options.retries))
        .with_http_connector(connector(options, environment, None).map_err(|e| unusable(url, e))?);
    if let Some(endpoint) = url.endpoint() {
        builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint.to_owned());
    }
    if let Some(key) = environment.get("AZURE_STORAGE_KEY") {
        builder = builder.with_access_key(key);
    }
    if options.azure_credential == AzureCredential::Cli {
        builder = builder.with_use_azure_cli(true);
    }
    Ok(Arc::new(builder.build().map_err(|e| unusable(url, e))?))
}
