//! How to get to a store.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What the caller found in its environment (`AWS_ACCESS_KEY_ID`, `AZURE_STORAGE_KEY`, `HOME`, …). Libraries do not look there
/// themselves. Its values are secrets and are never printed.
///
/// ```
/// use tapster_cloud::Environment;
/// let environment: Environment = [("AWS_REGION", "eu-west-3"), ("AWS_SECRET_ACCESS_KEY", "s3cr3t")].into_iter().collect();
/// assert_eq!(environment.get("AWS_REGION"), Some("eu-west-3"));
/// assert!(!format!("{environment:?}").contains("s3cr3t"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Sets a variable.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// All that are set and not empty, by name.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.0.iter().filter(|(_, value)| !value.is_empty());
        variables.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Where the bucket's name goes in requests to S3 (`--addressing-style`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Addressing {
    /// Into the host name at Amazon, into the path at an `--endpoint-url`.
    #[default]
    Auto,
    /// `https://bucket.host/key`.
    Virtual,
    /// `https://host/bucket/key`.
    Path,
}

/// Where credentials for Azure come from (`--azure-credential`), when the environment holds neither connection string, key nor SAS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AzureCredential {
    /// Environment, workload identity, managed identity, then the `az` program.
    #[default]
    Default,
    /// The `az` program.
    Cli,
    /// The identity of the virtual machine.
    ManagedIdentity,
}

/// How the store encrypts what is written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encryption {
    /// S3: `AES256`.
    S3Managed,
    /// S3: `aws:kms`, with the default key or the one given.
    Kms {
        /// `--sse-kms-key-id`.
        key: Option<String>,
    },
    /// Azure: `--encryption-scope`.
    Scope(String),
    /// Google: `--kms-key-name`.
    GoogleKms(String),
}

/// How long and how often a call is tried.
///
/// A call is tried again after a broken connection, silence, a status of 408, 429 or 5xx, and a success that carries such an error;
/// the time between two tries grows, with chance in it, from a tenth of a second to fifteen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retries {
    /// So many tries after the first.
    pub count: usize,
    /// No try begins later than this after the first.
    pub patience: Duration,
    /// An answer, or the next bytes of one, must come within this (`--read-timeout`).
    pub read_timeout: Duration,
    /// A connection must stand within this.
    pub connect_timeout: Duration,
    /// What is sent may take so much longer than `read_timeout` as it takes at this many bytes a second.
    pub slowest: u64,
}

impl Default for Retries {
    /// Those of the Python clients: five tries, 60 seconds for an answer.
    fn default() -> Self {
        Self {
            count: 4,
            patience: Duration::from_secs(180),
            read_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(20),
            slowest: 64 << 10,
        }
    }
}

/// Everything about a store but where it is.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StoreOptions {
    /// S3: where a store other than Amazon's listens (`--endpoint-url`).
    pub endpoint: Option<String>,
    /// S3: the section of the shared configuration files (`--aws-profile`).
    pub profile: Option<String>,
    /// S3: where the bucket's name goes.
    pub addressing: Addressing,
    /// Azure: where credentials come from.
    pub azure_credential: AzureCredential,
    /// How the store encrypts what is written; its own default when `None`.
    pub encryption: Option<Encryption>,
    /// S3: the storage class of what is written, as S3 names it: `STANDARD_IA`.
    pub storage_class: Option<String>,
    /// How long and how often a call is tried.
    pub retries: Retries,
    /// Bytes of memory that one [`Upload`](crate::Upload) or download may hold; 0 for the default of 64 MiB.
    pub memory: usize,
    /// Requests of one upload or download at once; 0 for the default of 4.
    pub concurrency: usize,
}

impl StoreOptions {
    /// How many requests [`concurrency`](Self::concurrency) stands for.
    pub const fn connections(&self) -> usize {
        match self.concurrency {
            0 => 4,
            count => count,
        }
    }
}
