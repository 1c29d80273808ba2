//! Where base backups and WAL are: in directories of this host, or in an object store.

use std::fmt;
use std::path::{Path, PathBuf};

/// Whose interface an object store has.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BucketProvider {
    /// Amazon S3, and every store that speaks like it.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

impl BucketProvider {
    /// Barman's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "aws-s3",
            Self::Google => "google-cloud-storage",
            Self::Azure => "azure-blob-storage",
        }
    }
}

/// Barman's name of it, as its messages have it.
impl fmt::Display for BucketProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The address of a place in an object store: `s3://bucket/prefix`, `gs://…`, or an `https` address of Google's console or of
/// Azure. The rules are those of Barman 3.19 (`barman/cloud_providers`).
///
/// ```
/// use tapster_manager::config::{BucketAddress, BucketProvider};
/// let address = BucketAddress::parse("s3://backups/production").unwrap();
/// assert_eq!((address.provider(), address.as_str()), (BucketProvider::S3, "s3://backups/production"));
/// assert_eq!(BucketAddress::parse("ftp://backups"), None);
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct BucketAddress {
    text: String,
    provider: BucketProvider,
}

impl BucketAddress {
    /// `None` for what is no address of an object store that is known.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let scheme = scheme.to_lowercase();
        let provider = match scheme.as_str() {
            "s3" if !host.is_empty() => BucketProvider::S3,
            "gs" if !host.is_empty() => BucketProvider::Google,
            "http" | "https" if host == "console.cloud.google.com" => path
                .strip_prefix("storage/browser/")
                .filter(|bucket| !bucket.is_empty())
                .map(|_| BucketProvider::Google)?,
            "http" | "https" if host.ends_with("blob.core.windows.net") && !path.is_empty() => {
                BucketProvider::Azure
            }
            _ => return None,
        };
        Some(Self { text: format!("{scheme}://{rest}"), provider })
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whose interface it has.
    pub const fn provider(&self) -> BucketProvider {
        self.provider
    }
}

impl fmt::Display for BucketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// The value of `basebackups_directory` or `wals_directory`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StoragePlace {
    /// A directory of this host.
    Directory(PathBuf),
    /// A bucket, and a prefix in it.
    Bucket(BucketAddress),
}

impl StoragePlace {
    /// What a key of the configuration says.
    pub(super) fn of(text: &str) -> Self {
        BucketAddress::parse(text).map_or_else(|| Self::Directory(PathBuf::from(text)), Self::Bucket)
    }

    /// The directory, where it is one.
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Bucket(_) => None,
        }
    }

    /// The address, where it is one.
    pub const fn bucket(&self) -> Option<&BucketAddress> {
        match self {
            Self::Directory(_) => None,
            Self::Bucket(address) => Some(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_barman_takes() {
        for (text, provider) in [
            ("s3://bkt", BucketProvider::S3),
            ("s3://bkt/a/b/", BucketProvider::S3),
            ("S3://bkt/a", BucketProvider::S3),
            ("gs://bkt/a", BucketProvider::Google),
            ("https://console.cloud.google.com/storage/browser/bkt/a", BucketProvider::Google),
            ("https://acct.blob.core.windows.net/container/a", BucketProvider::Azure),
        ] {
            let place = StoragePlace::of(text);
            let address = place.bucket().unwrap_or_else(|| panic!("{text}"));
            assert_eq!(address.provider(), provider, "{text}");
            assert_eq!(place.directory(), None);
        }
        assert_eq!(BucketAddress::parse("S3://Bkt/A").unwrap().as_str(), "s3://Bkt/A");
        for text in ["", "/srv/base", "s3:/bkt", "s3://", "s3:///a", "ftp://bkt", "https://example.com/a"] {
            assert_eq!(BucketAddress::parse(text), None, "{text}");
        }
        assert_eq!(StoragePlace::of("/srv/base").directory(), Some(Path::new("/srv/base")));
    }
}
