//! Part of a listing.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::ObjectMeta;

use super::{ObjectInfo, Store};
use crate::CloudError;

impl Store {
    /// As [`list`](Self::list), but only the objects whose key is greater than `after` (a key too, of an object that need not be
    /// there). S3 and Google begin there; for Azure the client skips what comes before.
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
                    begun = Some(Ok(listing));
                    Some(store.info(meta))
                }
                Ok((None, _)) => None,
                Err(error) => Some(Err(error)),
            }
        })
    }
}
