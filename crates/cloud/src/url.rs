//! Where a store is: the URLs that Barman's cloud tools take.

use std::fmt;
use std::str::FromStr;

use crate::UrlError;

/// Whose interface a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Provider {
    /// Amazon S3, and every store that speaks like it. Barman's name: `aws-s3`.
    #[default]
    S3,
    /// Azure Blob Storage. Barman's name: `azure-blob-storage`.
    Azure,
    /// Google Cloud Storage. Barman's name: `google-cloud-storage`.
    Google,
}

impl Provider {
    /// All of them, as `--cloud-provider` names them.
    pub const NAMES: [(&'static str, Self); 3] =
        [("aws-s3", Self::S3), ("azure-blob-storage", Self::Azure), ("google-cloud-storage", Self::Google)];

    /// The name that `--cloud-provider` takes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "aws-s3",
            Self::Azure => "azure-blob-storage",
            Self::Google => "google-cloud-storage",
        }
    }
}

/// A bucket (Azure: a container), and the prefix of all keys in it.
///
/// `s3://bucket/prefix`, `gs://bucket/prefix`, `https://console.cloud.google.com/storage/browser/bucket/prefix`,
/// `https://account.blob.core.windows.net/container/prefix`. An `http` URL of an emulator names the account in the path:
/// `http://127.0.0.1:10000/account/container/prefix`.
///
/// ```
/// use tapster_cloud::{Provider, StoreUrl};
/// let url: StoreUrl = "https://acme.blob.core.windows.net/backups/eu/".parse()?;
/// assert_eq!((url.provider(), url.account(), url.bucket(), url.prefix()), (Provider::Azure, Some("acme"), "backups", "eu"));
/// assert!("s3://".parse::<StoreUrl>().is_err());
/// # Ok::<(), tapster_cloud::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    text: String,
    provider: Provider,
    endpoint: Option<String>,
    account: Option<String>,
    bucket: String,
    prefix: String,
}

const GOOGLE_CONSOLE: &str = "console.cloud.google.com/storage/browser/";
const LONGEST: usize = 4096;

impl StoreUrl {
    /// Whose interface the URL is of.
    pub const fn provider(&self) -> Provider {
        self.provider
    }

    /// The bucket, or the container.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What all keys begin with, without a slash at either end; may be empty.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The storage account of Azure.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Where an emulator of Azure listens, up to and with the account's name.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for StoreUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let invalid = |reason| UrlError { url: without_secrets(text).chars().take(200).collect(), reason };
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(invalid("it is too long, or has control characters"));
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| invalid("it has no scheme such as s3://"))?;
        let foreign = "it has a query, a fragment or a user's name, and credentials are not taken from there";
        if text.contains(['?', '#']) || rest.split('/').next().is_some_and(|host| host.contains('@')) {
            return Err(invalid(foreign));
        }
        let (provider, endpoint, account, path) = match scheme {
            "s3" => (Provider::S3, None, None, rest),
            "gs" => (Provider::Google, None, None, rest),
            "https" if rest.starts_with(GOOGLE_CONSOLE) => {
                (Provider::Google, None, None, rest.strip_prefix(GOOGLE_CONSOLE).unwrap_or_default())
            }
            "http" | "https" => {
                let (host, path) = rest.split_once('/').ok_or_else(|| invalid("it names no container"))?;
                match host.split_once(".blob.") {
                    Some((account, _)) => (Provider::Azure, None, Some(account.to_owned()), path),
                    None => {
                        let (account, path) = path
                            .split_once('/')
                            .ok_or_else(|| invalid("it names no account and container"))?;
                        let endpoint = format!("{scheme}://{host}/{account}");
                        (Provider::Azure, Some(endpoint), Some(account.to_owned()), path)
                    }
                }
            }
            _ => return Err(invalid("its scheme is none of s3, gs and https")),
        };
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if bucket.is_empty() {
            return Err(invalid("it names no bucket"));
        }
        // No account or bucket has an at sign: the password before it has a slash.
        if bucket.contains('@') || account.as_ref().is_some_and(|account| account.contains('@')) {
            return Err(invalid(foreign));
        }
        let prefix = prefix.trim_matches('/');
        if prefix
            .split('/')
            .any(|part| part == "." || part == ".." || (part.is_empty() && !prefix.is_empty()))
        {
            return Err(invalid("a part of its path is empty, . or .."));
        }
        Ok(Self {
            text: text.to_owned(),
            provider,
            endpoint,
            account,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

/// What of a text may be shown: in what follows a question mark there may be a token, and before an at sign a password.
fn without_secrets(text: &str) -> String {
    let shown = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match shown.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), shown),
    };
    if text.get(shown.len()..).is_some_and(|hidden| hidden.contains('@')) {
        // A password with a question mark, or a token with an at sign.
        return format!("{scheme}...");
    }
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{scheme}...@{rest}"),
        None => format!("{scheme}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_the_documentation_are_read() {
        for (text, provider, account, bucket, prefix) in [
            ("s3://b", Provider::S3, None, "b", ""),
            ("s3://b/a/c/", Provider::S3, None, "b", "a/c"),
            ("gs://b/a", Provider::Google, None, "b", "a"),
            ("https://console.cloud.google.com/storage/browser/b/a", Provider::Google, None, "b", "a"),
            ("https://acct.blob.core.windows.net/c/a/b", Provider::Azure, Some("acct"), "c", "a/b"),
            ("http://127.0.0.1:10000/devstore/c/a", Provider::Azure, Some("devstore"), "c", "a"),
        ] {
            let url: StoreUrl = text.parse().unwrap();
            assert_eq!(
                (url.provider(), url.account(), url.bucket(), url.prefix()),
                (provider, account, bucket, prefix)
            );
            assert_eq!(url.to_string(), text);
        }
    }

    #[test]
    fn others_are_refused_with_a_reason() {
        for text in [
            "",
            "b/a",
            "ftp://b/a",
            "s3://",
            "s3:///a",
            "s3://b/../a",
            "s3://b/a//c",
            "https://host",
            "s3://b/\n",
        ] {
            assert!(text.parse::<StoreUrl>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn secrets_are_neither_taken_for_a_place_nor_shown() {
        for (text, shown) in [
            (
                "https://acct.blob.core.windows.net/c?sv=2024&sig=s3cr3t",
                "https://acct.blob.core.windows.net/c",
            ),
            ("https://acct.blob.core.windows.net/c/p/?sig=s3cr3t", "https://acct.blob.core.windows.net/c/p/"),
            ("https://acct.blob.core.windows.net?sig=s3cr3t", "https://acct.blob.core.windows.net"),
            ("https://acct.blob.core.windows.net/c?a@b&sig=s3cr3t", "https://..."),
            ("s3://b/p#s3cr3t", "s3://b/p"),
            ("s3://AKID:s3cr3t@b/p", "s3://...@b/p"),
            ("http://user:s3cr3t@127.0.0.1:10000/devstore/c", "http://...@127.0.0.1:10000/devstore/c"),
            ("http://user:s3c/s3cr3t@127.0.0.1/devstore/c", "http://...@127.0.0.1/devstore/c"),
            ("http://user:s3cr3t?x@127.0.0.1/devstore/c", "http://..."),
            ("user:s3cr3t@b", "...@b"),
        ] {
            let error = text.parse::<StoreUrl>().unwrap_err();
            assert_eq!(error.url, shown);
            assert!(!format!("{error:?} {error}").contains("s3cr3t"), "{error}");
        }
        assert_eq!("s3://b/a@b".parse::<StoreUrl>().unwrap().prefix(), "a@b");
    }
}
