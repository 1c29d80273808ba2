//! Azure Blob Storage.

use std::sync::Arc;

use http::HeaderValue;
use object_store::azure::{
    AzureConfigKey, AzureCredential as Credential, MicrosoftAzure, MicrosoftAzureBuilder,
};
use object_store::{ClientOptions, CredentialProvider};
use tokio::sync::OnceCell;

use super::bucket::Owner;
use super::{Connected, connector, retry_config, unusable};
use crate::wire::{Connector, Extra};
use crate::{AzureCredential, CloudError, Encryption, Environment, StoreOptions, StoreUrl};

type Provider = Arc<dyn CredentialProvider<Credential = Credential>>;

pub(super) fn connect(
    url: &StoreUrl,
    options: &StoreOptions,
    environment: &Environment,
) -> Result<Connected, CloudError> {
    let wrong = |reason: String| unusable(url, reason);
    let plain = connector(options, environment, None).map_err(wrong)?;
    let string = connection_string(url, options, environment);
    let (account, endpoint) = (string.account(url), string.endpoint(url));
    let may_be_plain = endpoint.starts_with("http://");
    let new = |connector: Connector| {
        MicrosoftAzureBuilder::new()
            .with_container_name(url.bucket())
            .with_account(&account)
            .with_endpoint(endpoint.clone())
            .with_allow_http(may_be_plain)
            .with_retry(retry_config(&options.retries))
            .with_http_connector(connector)
    };
    let key = string.key.as_deref().or_else(|| environment.get("AZURE_STORAGE_KEY"));
    let sas = string.sas.as_deref().or_else(|| environment.get("AZURE_STORAGE_SAS_TOKEN"));
    let builder = new(plain.clone());
    let provider = match (options.azure_credential, sas, key) {
        (AzureCredential::Cli, ..) => of(builder.with_use_azure_cli(true)),
        (AzureCredential::ManagedIdentity, ..) => of(machine(builder, environment)),
        // What the connection string says is before what the environment does.
        (_, _, Some(key)) if string.key.is_some() => of(builder.with_access_key(key)),
        (_, Some(sas), _) => of(builder.with_config(AzureConfigKey::SasKey, sas.trim_start_matches('?'))),
        (_, None, Some(key)) => of(builder.with_access_key(key)),
        (_, None, None) => default(builder, || new(plain.clone()), environment),
    };
    let provider = provider.map_err(|e| wrong(e.to_string()))?;
    let scope = match &options.encryption {
        None => None,
        Some(Encryption::Scope(scope)) => Some(
            HeaderValue::from_str(scope)
                .map_err(|_| wrong("the encryption scope has odd signs".to_owned()))?,
        ),
        Some(_) => return Err(wrong("Azure has no such encryption".to_owned())),
    };
    let extra = Extra::Azure { scope, account: account.clone(), credentials: Arc::clone(&provider) };
    let connector = Connector { extra, ..plain };
    let plain_options = ClientOptions::new().with_allow_http(may_be_plain);
    let store = new(connector.clone()).with_credentials(Arc::clone(&provider));
    let container = format!("{}/{}", endpoint.trim_end_matches('/'), url.bucket());
    Ok(Connected {
        decides: true,
        store: Arc::new(store.build().map_err(|e| wrong(e.to_string()))?),
        owner: Some((
            Owner::Azure { url: container, account, credentials: provider },
            connector,
            plain_options,
        )),
    })
}

/// Where requests go.
pub(super) fn whence(
    url: &StoreUrl,
    options: &StoreOptions,
    environment: &Environment,
) -> [Option<String>; 3] {
    let string = connection_string(url, options, environment);
    [Some(string.endpoint(url)), Some(string.account(url)), None]
}

fn connection_string(url: &StoreUrl, options: &StoreOptions, environment: &Environment) -> ConnectionString {
    let string = match options.azure_credential {
        AzureCredential::Default => environment.get("AZURE_STORAGE_CONNECTION_STRING"),
        _ => None,
    };
    ConnectionString::new(string.unwrap_or_default(), url)
}

fn of(builder: MicrosoftAzureBuilder) -> object_store::Result<Provider> {
    builder.build().map(|store: MicrosoftAzure| Arc::clone(store.credentials()))
}

fn machine(builder: MicrosoftAzureBuilder, environment: &Environment) -> MicrosoftAzureBuilder {
    let builder = match environment.get("AZURE_CLIENT_ID") {
        Some(id) => builder.with_client_id(id),
        None => builder,
    };
    match environment.get("IDENTITY_ENDPOINT").or_else(|| environment.get("MSI_ENDPOINT")) {
        Some(endpoint) => builder.with_msi_endpoint(endpoint),
        None => builder,
    }
}

/// A service's secret or a workload's token when the environment has one, and else the machine's identity, or who is signed in with
/// the `az` program.
fn default(
    builder: MicrosoftAzureBuilder,
    new: impl Fn() -> MicrosoftAzureBuilder,
    environment: &Environment,
) -> object_store::Result<Provider> {
    let authority = environment.get("AZURE_AUTHORITY_HOST");
    let with_authority = |builder: MicrosoftAzureBuilder| match authority {
        Some(host) => builder.with_authority_host(host),
        None => builder,
    };
    if let (Some(client), Some(tenant)) =
        (environment.get("AZURE_CLIENT_ID"), environment.get("AZURE_TENANT_ID"))
    {
        let builder = with_authority(builder.clone()).with_client_id(client).with_tenant_id(tenant);
        if let Some(secret) = environment.get("AZURE_CLIENT_SECRET") {
            return of(builder.with_client_secret(secret));
        }
        if let Some(file) = environment.get("AZURE_FEDERATED_TOKEN_FILE") {
            return of(builder.with_federated_token_file(file));
        }
    }
    let providers = [of(machine(builder, environment))?, of(new().with_use_azure_cli(true))?];
    Ok(Arc::new(FirstOf { providers, chosen: OnceCell::new() }))
}

/// The first that gives credentials, from then on.
#[derive(Debug)]
struct FirstOf {
    providers: [Provider; 2],
    chosen: OnceCell<Provider>,
}

#[async_trait::async_trait]
impl CredentialProvider for FirstOf {
    type Credential = Credential;

    async fn get_credential(&self) -> object_store::Result<Arc<Credential>> {
        let choose = || async {
            let [first, second] = &self.providers;
            let Err(machine) = first.get_credential().await else { return Ok(Arc::clone(first)) };
            match second.get_credential().await {
                Ok(_) => Ok(Arc::clone(second)),
                Err(az) => Err(object_store::Error::Generic {
                    store: "MicrosoftAzure",
                    source: format!(
                        "no credentials: none in the environment, this machine has no identity ({}), and the az program has none ({})",
                        crate::wire::deepest(&machine),
                        crate::wire::deepest(&az)
                    )
                    .into(),
                }),
            }
        };
        self.chosen.get_or_try_init(choose).await?.get_credential().await
    }
}

#[derive(Default)]
struct ConnectionString {
    account: Option<String>,
    key: Option<String>,
    sas: Option<String>,
    endpoint: Option<String>,
}

impl ConnectionString {
    fn account(&self, url: &StoreUrl) -> String {
        self.account.clone().or_else(|| url.account().map(str::to_owned)).unwrap_or_default()
    }

    fn endpoint(&self, url: &StoreUrl) -> String {
        let endpoint = self.endpoint.clone().or_else(|| url.endpoint().map(str::to_owned));
        endpoint.unwrap_or_else(|| format!("https://{}.blob.core.windows.net", self.account(url)))
    }

    fn new(text: &str, url: &StoreUrl) -> Self {
        let mut found = Self::default();
        let (mut scheme, mut suffix) = ("https", None);
        for part in text.split(';') {
            let Some((name, value)) = part.split_once('=') else { continue };
            let value = value.trim();
            match name.trim().to_lowercase().as_str() {
                "accountname" => found.account = Some(value.to_owned()),
                "accountkey" => found.key = Some(value.to_owned()),
                "sharedaccesssignature" => found.sas = Some(value.to_owned()),
                "blobendpoint" => found.endpoint = Some(value.trim_end_matches('/').to_owned()),
                "defaultendpointsprotocol" if value == "http" => scheme = "http",
                "endpointsuffix" => suffix = Some(value),
                _ => {}
            }
        }
        if let (None, Some(account), Some(suffix)) = (&found.endpoint, &found.account, suffix) {
            found.endpoint = Some(format!("{scheme}://{account}.blob.{suffix}"));
        }
        // An emulator listens where the URL says.
        if url.endpoint().is_some() {
            found.endpoint = url.endpoint().map(str::to_owned);
        }
        found
    }
}
