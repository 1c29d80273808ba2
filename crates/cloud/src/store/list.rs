//! What is there.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::ObjectMeta;

use super::{ObjectInfo, Store};
use crate::CloudError;

impl Store {
    /// Every object whose key begins with the directory `prefix`, in the order of their keys. Asks for a page at a time.
    pub fn list(&self, prefix: &str) -> impl Iterator<Item = Result<ObjectInfo, CloudError>> + use<> {
        let path = self.path(prefix);
        let (store, prefix) = (self.clone(), prefix.to_owned());
        let mut stream: Option<BoxStream<'static, object_store::Result<ObjectMeta>>> = None;
        let mut ended = false;
        let mut first: Option<String> = None;
        std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let path = match &path {
                Ok(path) => path.clone(),
                Err(error) => {
                    ended = true;
                    let reason = error.to_string();
                    return Some(Err(CloudError::Options { store: store.url().to_string(), reason }));
                }
            };
            let listing = stream.take().unwrap_or_else(|| store.shared.inner.list(Some(&path)));
            let next = store.call("listing", &prefix, async move {
                let mut listing = listing;
                let item = listing.next().await.transpose()?;
                Ok((item, listing))
            });
            match next {
                Ok((Some(meta), listing)) => {
                    stream = Some(listing);
                    let info = store.info(meta);
                    if let Ok(info) = &info {
                        if first.as_ref() == Some(&info.key) {
                            ended = true;
                            let reason = "its listing begins anew and again, and has no end".to_owned();
                            let (store, key) = (store.url().to_string(), prefix.clone());
                            return Some(Err(CloudError::Invalid { store, key, reason }));
                        }
                        first.get_or_insert_with(|| info.key.clone());
                    }
                    Some(info)
                }
                Ok((None, _)) => {
                    ended = true;
                    None
                }
                Err(error) => {
                    ended = true;
                    Some(Err(error))
                }
            }
        })
    }

    /// The names of the directories in the directory `prefix`, sorted.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn list_dirs(&self, prefix: &str) -> Result<Vec<String>, CloudError> {
        let (path, inner) = (self.path(prefix)?, Arc::clone(&self.shared.inner));
        let found =
            self.call("listing", prefix, async move { inner.list_with_delimiter(Some(&path)).await })?;
        let mut names: Vec<String> =
            found.common_prefixes.iter().filter_map(|path| path.filename()).map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The objects right below `prefix`, not those in the directories there, in the order of their keys.
    ///
    /// # Errors
    /// When the store does not give the whole listing.
    pub fn list_files(&self, prefix: &str) -> Result<Vec<ObjectInfo>, CloudError> {
        let (path, inner) = (self.path(prefix)?, Arc::clone(&self.shared.inner));
        let found =
            self.call("listing", prefix, async move { inner.list_with_delimiter(Some(&path)).await })?;
        let mut files: Vec<ObjectInfo> =
            found.objects.into_iter().map(|meta| self.info(meta)).collect::<Result<_, _>>()?;
        files.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(files)
    }
}
