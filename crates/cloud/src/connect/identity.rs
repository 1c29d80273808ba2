//! Which place in which store is meant, known without a request.

use sha2::{Digest as _, Sha256};

use super::{aws, azure, google};
use crate::{Environment, Provider, StoreOptions, StoreUrl};

/// Variables that decide where a store is or who asks it begin with one of these.
const VARIABLES: [&str; 8] = [
    "AWS_",
    "AZURE_",
    "CLOUDSDK_",
    "GOOGLE_",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "MSI_",
    "STORAGE_EMULATOR_HOST",
];

/// Which place a URL means together with options and environment: one bucket's name is another bucket at another endpoint, and at some
/// stores with another account's keys.
///
/// ```
/// use tapster_cloud::{Environment, StoreIdentity, StoreOptions};
/// let of = |url: &str, endpoint: &str| {
///     let mut options = StoreOptions::default();
///     options.endpoint = Some(endpoint.to_owned());
///     Ok::<_, tapster_cloud::UrlError>(StoreIdentity::of(&url.parse()?, &options, &Environment::default()))
/// };
/// assert_eq!(of("s3://b/p", "http://one:9000")?, of("s3://b/p/", "http://one:9000/")?);
/// assert_ne!(of("s3://b/p", "http://one:9000")?, of("s3://b/p", "http://two:9000")?);
/// # Ok::<(), tapster_cloud::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreIdentity {
    place: String,
    access: String,
}

impl StoreIdentity {
    /// Of what [`Store::open`](crate::Store::open) opens with the same arguments. Makes no request; of S3, it reads the shared
    /// configuration files.
    pub fn of(url: &StoreUrl, options: &StoreOptions, environment: &Environment) -> Self {
        let whence = match url.provider() {
            Provider::S3 => aws::whence(options, environment),
            Provider::Azure => azure::whence(url, options, environment),
            Provider::Google => google::whence(environment),
        };
        let place = [url.provider().as_str(), url.bucket(), url.prefix()].into_iter().map(Some);
        let place = digest(place.chain(whence.iter().map(Option::as_deref)));
        let is_of_clouds = |name: &str| VARIABLES.iter().any(|start| name.starts_with(start));
        let variables = environment.variables().filter(|(name, _)| is_of_clouds(name));
        let access = digest(variables.flat_map(|(name, value)| [Some(name), Some(value)]));
        Self { place, access }
    }

    /// A name for provider, endpoint, account, bucket and prefix: 32 hexadecimal digits that tell no secret.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A name for the variables that are about object stores, credentials among them.
    pub fn access(&self) -> &str {
        &self.access
    }
}

fn digest<'a>(parts: impl Iterator<Item = Option<&'a str>>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // Nothing is not the same as an empty text.
        hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
        hash.update(part.unwrap_or_default());
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str, endpoint: Option<&str>, variables: &[(&str, &str)]) -> String {
        let options = StoreOptions { endpoint: endpoint.map(str::to_owned), ..StoreOptions::default() };
        let environment: Environment = variables.iter().copied().collect();
        StoreIdentity::of(&url.parse().unwrap(), &options, &environment).place
    }

    #[test]
    fn a_place_is_where_requests_go() {
        let one = "http://one:9000";
        let at_one = place("s3://b/p", Some(one), &[]);
        assert_eq!(at_one, place("s3://b/p/", Some("http://one:9000/"), &[]));
        for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
            assert_eq!(at_one, place("s3://b/p", None, &[(name, one)]));
        }
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config");
        #[allow(clippy::disallowed_methods)]
        std::fs::write(&config, "[default]\nendpoint_url = http://one:9000\n").unwrap();
        assert_eq!(at_one, place("s3://b/p", None, &[("AWS_CONFIG_FILE", config.to_str().unwrap())]));
        for other in [
            place("s3://b/p", None, &[]),
            place("s3://b/p", Some("http://two:9000"), &[]),
            place("s3://b/p", Some(one), &[("AWS_ACCESS_KEY_ID", "another tenant")]),
            place("s3://b/q", Some(one), &[]),
            place("s3://c/p", Some(one), &[]),
            place("gs://b/p", None, &[]),
        ] {
            assert_ne!(at_one, other);
        }
        let azure = "https://acct.blob.core.windows.net/b/p";
        let string = |text| [("AZURE_STORAGE_CONNECTION_STRING", text)];
        assert_eq!(place(azure, None, &[]), place(&format!("{azure}/"), None, &string("AccountName=acct")));
        assert_ne!(place(azure, None, &[]), place(azure, None, &string("AccountName=other")));
        assert_ne!(place(azure, None, &[]), place(azure, None, &string("BlobEndpoint=http://here/acct")));
        assert_ne!(
            place("gs://b/p", None, &[]),
            place("gs://b/p", None, &[("STORAGE_EMULATOR_HOST", "here:4443")])
        );
    }

    #[test]
    fn access_is_what_the_environment_says_of_clouds() {
        let access = |variables: &[(&str, &str)]| {
            let environment: Environment = variables.iter().copied().collect();
            StoreIdentity::of(&"s3://b".parse().unwrap(), &StoreOptions::default(), &environment).access
        };
        assert_eq!(access(&[]), access(&[("PGDATA", "/data")]));
        assert_ne!(access(&[]), access(&[("AWS_SECRET_ACCESS_KEY", "new")]));
        assert_ne!(access(&[("AWS_SESSION_TOKEN", "a")]), access(&[("AWS_SESSION_TOKEN", "b")]));
    }
}
