//! Credentials that end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::aws::AwsCredential;
use tokio::sync::Mutex;

/// What was got last, kept for a time.
#[derive(Debug)]
pub(super) struct Fresh {
    time: Duration,
    last: Mutex<Option<(Arc<AwsCredential>, Instant)>>,
}

impl Fresh {
    pub(super) fn new(time: Duration) -> Self {
        Self { time, last: Mutex::new(None) }
    }

    /// The last one, or a new one. Only one caller gets it, the others wait.
    pub(super) async fn get(
        &self,
        get: impl Future<Output = object_store::Result<AwsCredential>> + Send,
    ) -> object_store::Result<Arc<AwsCredential>> {
        let mut last = self.last.lock().await;
        if let Some((credential, since)) = &*last
            && since.elapsed() < self.time
        {
            return Ok(Arc::clone(credential));
        }
        let credential = Arc::new(get.await?);
        *last = Some((Arc::clone(&credential), Instant::now()));
        Ok(credential)
    }
}

/// An error of getting them.
pub(super) fn no_credentials(reason: impl std::fmt::Display) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: format!("no credentials: {reason}").into() }
}
