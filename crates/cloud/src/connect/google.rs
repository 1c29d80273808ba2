//! Google Cloud Storage.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use object_store::ClientOptions;
use object_store::gcp::GoogleCloudStorageBuilder;

use super::bucket::Owner;
use super::{Connected, connector, retry_config, unusable};
use crate::wire::{Connector, Extra};
use crate::{CloudError, Encryption, Environment, StoreOptions, StoreUrl};

pub(super) fn connect(
    url: &StoreUrl,
    options: &StoreOptions,
    environment: &Environment,
) -> Result<Connected, CloudError> {
    let wrong = |reason: String| unusable(url, reason);
    let kms = match &options.encryption {
        None => None,
        Some(Encryption::GoogleKms(key)) => Some(
            HeaderValue::from_str(key).map_err(|_| wrong("the name of the key has odd signs".to_owned()))?,
        ),
        Some(_) => return Err(wrong("Google has no such encryption".to_owned())),
    };
    let connector = connector(options, environment, None).map_err(wrong)?;
    let connector = Connector { extra: Extra::Google { kms }, ..connector };
    let emulator = emulator(environment);
    let may_be_plain = emulator.as_deref().is_some_and(|host| host.starts_with("http://"));
    let client_options = ClientOptions::new().with_allow_http(may_be_plain);
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(url.bucket())
        .with_client_options(client_options.clone())
        .with_retry(retry_config(&options.retries))
        .with_http_connector(connector.clone());
    let mut project = environment.get("GOOGLE_CLOUD_PROJECT").map(str::to_owned);
    match &emulator {
        // It asks nobody who he is.
        Some(base) => {
            builder = builder.with_base_url(base).with_bearer_token("none");
        }
        None => {
            if let Some(path) = credentials_file(environment) {
                let file = CredentialsFile::read(&path).map_err(wrong)?;
                project = project.or(file.project);
                builder = builder.with_application_credentials(path.to_string_lossy());
            }
        }
    }
    let store = builder.build().map_err(|e| wrong(crate::wire::deepest(&e)))?;
    let base = emulator.unwrap_or_else(|| "https://storage.googleapis.com".to_owned());
    let owner = Owner::Google {
        url: format!("{base}/storage/v1/b"),
        bucket: url.bucket().to_owned(),
        project,
        credentials: Arc::clone(store.credentials()),
    };
    Ok(Connected { decides: true, store: Arc::new(store), owner: Some((owner, connector, client_options)) })
}

/// Where requests go: there is one Google.
pub(super) fn whence(environment: &Environment) -> [Option<String>; 3] {
    [emulator(environment), None, None]
}

fn emulator(environment: &Environment) -> Option<String> {
    environment.get("STORAGE_EMULATOR_HOST").map(|host| match host.contains("://") {
        true => host.trim_end_matches('/').to_owned(),
        false => format!("http://{host}"),
    })
}

/// The one that the environment names, or that of the `gcloud` program.
fn credentials_file(environment: &Environment) -> Option<PathBuf> {
    const NAME: &str = "application_default_credentials.json";
    if let Some(path) = environment.get("GOOGLE_APPLICATION_CREDENTIALS") {
        return Some(PathBuf::from(path));
    }
    let directory = match environment.get("CLOUDSDK_CONFIG") {
        Some(directory) => PathBuf::from(directory),
        None => PathBuf::from(environment.get("HOME")?).join(".config/gcloud"),
    };
    Some(directory.join(NAME)).filter(|path| path.is_file())
}

struct CredentialsFile {
    project: Option<String>,
}

impl CredentialsFile {
    fn read(path: &std::path::Path) -> Result<Self, String> {
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(1 << 20).read_to_string(&mut text));
        read.map_err(|e| format!("cannot read the credentials in {}: {e}", path.display()))?;
        let value: serde_json::Value = serde_json::from_str(&text)
            .map_err(|e| format!("the credentials in {} are no JSON: {e}", path.display()))?;
        let text = |name: &str| value.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        match text("type").as_deref() {
            Some("service_account" | "authorized_user") => {}
            kind => {
                return Err(format!(
                    "the credentials in {} are of the type {}, which is not supported: use a service account or \
                     `gcloud auth application-default login`",
                    path.display(),
                    kind.unwrap_or("unknown")
                ));
            }
        }
        Ok(Self { project: text("project_id").or_else(|| text("quota_project_id")) })
    }
}
