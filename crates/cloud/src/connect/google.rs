//! Google Cloud Storage.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::gcp::GoogleCloudStorageBuilder;

use super::{connector, retry_config, unusable};
use crate::{CloudError, Environment, StoreOptions, StoreUrl};

pub(super) fn connect(
    url: &StoreUrl,
    options: &StoreOptions,
    environment: &Environment,
) -> Result<Arc<dyn ObjectStore>, CloudError> {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(url.bucket())
        .with_retry(retry_config(&options.retries))
        .with_http_connector(connector(options, environment, None).map_err(|e| unusable(url, e))?);
    if let Some(file) = environment.get("GOOGLE_APPLICATION_CREDENTIALS") {
        builder = builder.with_application_credentials(file);
    }
    Ok(Arc::new(builder.build().map_err(|e| unusable(url, e))?))
}
