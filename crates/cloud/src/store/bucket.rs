//! The bucket itself.

use std::sync::Arc;

use object_store::client::HttpConnector as _;

use super::Store;
use crate::CloudError;
use crate::wire::{Call, Last};

impl Store {
    /// Whether the bucket (Azure: the container) is there.
    ///
    /// # Errors
    /// When that is not known, or it is not one's own.
    pub fn bucket_exists(&self) -> Result<bool, CloudError> {
        match self.list("").next() {
            None | Some(Ok(_)) => Ok(true),
            Some(Err(CloudError::NoBucket { .. })) => Ok(false),
            Some(Err(error)) => Err(error),
        }
    }

    /// Makes the bucket, in the region of the store's options. One that is one's own already is as good as made.
    ///
    /// # Errors
    /// When it is somebody else's, or the store does not make it.
    pub fn create_bucket(&self) -> Result<(), CloudError> {
        let bucket = self.url().bucket().to_owned();
        let Some((owner, connector, options)) = self.shared.owner.clone() else {
            let reason = "this client cannot make buckets".to_owned();
            return Err(CloudError::Options { store: self.url().to_string(), reason });
        };
        let call = Arc::new(Call::default());
        let create = async move { owner.create(&connector.connect(&options)?).await };
        match self.call_of(&call, "making the bucket", &bucket, 0, create) {
            Ok(()) => Ok(()),
            Err(error) => match call.last() {
                Last::Refused(answer) => match answer.code.as_deref() {
                    Some("BucketAlreadyOwnedByYou" | "ContainerAlreadyExists") => Ok(()),
                    Some("BucketAlreadyExists") => Err(CloudError::Denied {
                        store: self.url().to_string(),
                        action: "making the bucket",
                        key: bucket,
                        reason: "the name is taken, by somebody else".to_owned(),
                    }),
                    // Google says it so.
                    None if answer.status == 409 && answer.message.contains("already own") => Ok(()),
                    _ => Err(error),
                },
                _ => Err(error),
            },
        }
    }
}
