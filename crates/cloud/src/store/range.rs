//! A range of an object as it comes into a buffer.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use object_store::{GetOptions, GetRange};

use super::{Store, etag, failure};
use crate::CloudError;
use crate::store::runtime::{Begun, Ended};
use crate::wire::Call;

/// A range of an object on its way ([`Store::begin_range`]). Dropping it gives it up.
#[derive(Debug)]
pub struct RangeRead {
    store: Store,
    key: String,
    call: Arc<Call>,
    deadline: Duration,
    result: Begun<(Vec<u8>, Got)>,
}

type Got = Result<object_store::Result<Result<(), &'static str>>, tokio::time::error::Elapsed>;

impl Store {
    /// Begins to read the bytes `range` of an object into `buffer`, whose content goes, and returns at once: several may be under
    /// way, and buffers be used again. With `etag`, they must be of the content of that name.
    ///
    /// # Errors
    /// When the key cannot be one.
    pub fn begin_range(
        &self,
        key: &str,
        range: Range<u64>,
        etag: Option<&str>,
        mut buffer: Vec<u8>,
    ) -> Result<RangeRead, CloudError> {
        let (path, inner) = (self.path(key)?, Arc::clone(&self.shared.inner));
        let size = range.end.saturating_sub(range.start);
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        let etag = etag.map(str::to_owned);
        buffer.clear();
        let read = async move {
            let options =
                GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
            let got = match inner.get_opts(&path, options).await {
                Ok(got) => got,
                Err(error) => return (buffer, Err(error)),
            };
            if got.range != range {
                return (buffer, Ok(Err("it has become shorter")));
            }
            if etag.zip(got.meta.e_tag.as_ref()).is_some_and(|(listed, found)| !etag::is_same(&listed, found))
            {
                return (buffer, Ok(Err("it was replaced since it was listed")));
            }
            buffer.reserve_exact(length);
            let mut stream = got.into_stream();
            while let Some(chunk) = stream.next().await {
                match chunk {
                    Ok(chunk) if chunk.len() > length - buffer.len() => {
                        return (buffer, Ok(Err("it is longer than announced")));
                    }
                    Ok(chunk) => buffer.extend_from_slice(&chunk),
                    Err(error) => return (buffer, Err(error)),
                }
            }
            let is_whole = buffer.len() == length;
            (buffer, Ok(if is_whole { Ok(()) } else { Err("it ends early") }))
        };
        let deadline = self.deadline(size);
        let call = Arc::<Call>::default();
        let read = Arc::clone(&call).run(read);
        let result = self.shared.runtime.begin(async move {
            match tokio::time::timeout(deadline, read).await {
                Ok((buffer, got)) => (buffer, Ok(got)),
                Err(elapsed) => (Vec::new(), Err(elapsed)),
            }
        });
        Ok(RangeRead { store: self.clone(), key: key.to_owned(), call, deadline, result })
    }
}

impl RangeRead {
    /// Waits so long for its end; `None` when it has not come. Gives the buffer back, with the bytes if there is no error (and maybe
    /// an empty one with an error).
    pub fn wait(&self, patience: Duration) -> Option<(Vec<u8>, Result<(), CloudError>)> {
        let (buffer, got) = match self.result.wait_for(patience)? {
            Some((buffer, got)) => (buffer, Some(got)),
            None => (Vec::new(), None),
        };
        let ended = match got {
            Some(Ok(Ok(result))) => {
                self.store.shared.has_answered.store(true, Ordering::Relaxed);
                return Some((buffer, result.map_err(|reason| self.wrong(reason))));
            }
            Some(Ok(Err(error))) => Ended::Failed(error),
            Some(Err(_)) => Ended::TimedOut(self.deadline),
            None => Ended::Lost,
        };
        let error = failure::classify(self.store.url(), "reading", &self.key, ended, &self.call);
        Some((buffer, Err(error)))
    }

    fn wrong(&self, reason: &str) -> CloudError {
        let store = self.store.url().to_string();
        CloudError::Invalid { store, key: self.key.clone(), reason: reason.to_owned() }
    }
}
