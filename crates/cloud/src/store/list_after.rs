//! Part of a listing.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::ObjectMeta;

use super::{ObjectInfo, Store};
use crate::CloudError;

impl Store {
    /// As [`list`](Self::list), but only the objects whose key is greater than `after` (a key too, of an object that need not be
    /// there). S3 and Google begin there; for Azure the client skips what comes before. Keys that do not grow end it with
    /// [`CloudError::Invalid`]: it is not known then what was left out, nor whether there is an end.
    pub fn list_after(
        &self,
        prefix: &str,
        after: &str,
    ) -> impl Iterator<Item = Result<ObjectInfo, CloudError>> + use<> {
        let (store, prefix) = (self.clone(), prefix.to_owned());
        let paths = self.path(&prefix).and_then(|path| Ok((path, self.path(after)?)));
        let mut begun: Option<Result<BoxStream<'static, object_store::Result<ObjectMeta>>, CloudError>> =
            Some(
                paths.map(|(path, after)| {
                    Arc::clone(&self.shared.inner).list_with_offset(Some(&path), &after)
                }),
            );
        let mut last: Option<String> = None;
        std::iter::from_fn(move || {
            let mut listing = match begun.take()? {
                Ok(listing) => listing,
                Err(error) => return Some(Err(error)),
            };
            let next = store.call("listing", &prefix, async move {
                let item = listing.next().await.transpose()?;
                Ok((item, listing))
            });
            match next {
                Ok((Some(meta), listing)) => {
                    let info = match store.info(meta) {
                        Ok(info) => info,
                        Err(error) => return Some(Err(error)),
                    };
                    if last.as_ref().is_some_and(|last| *last >= info.key) {
                        let reason = format!(
                            "its listing has {} again or out of order, and may have no end",
                            info.key
                        );
                        let (store, key) = (store.url().to_string(), prefix.clone());
                        return Some(Err(CloudError::Invalid { store, key, reason }));
                    }
                    last = Some(info.key.clone());
                    begun = Some(Ok(listing));
                    Some(Ok(info))
                }
                Ok((None, _)) => None,
                Err(error) => Some(Err(error)),
            }
        })
    }
}
