//! What a call to a store wants of its requests beyond what the provider's client can be told, and what came back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

use super::answer::Answer;

tokio::task_local! {
    static CALL: Arc<Call>;
}

/// One call of a [`Store`](crate::Store): one request, or many.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// Whether the end of an upload in parts is to fail when the object is there.
    pub(crate) creates: bool,
    last: Mutex<Last>,
    requests: AtomicUsize,
}

/// The outcome of the last request.
#[derive(Debug, Clone, Default)]
pub(crate) enum Last {
    /// There was none.
    #[default]
    Nothing,
    /// A success, with these headers.
    Success(HeaderMap),
    /// The store refused it or could not do it.
    Refused(Answer),
    /// No whole answer came.
    Broken(String),
}

impl Call {
    /// One that may not replace.
    pub(crate) fn creating(creates: bool) -> Self {
        Self { creates, ..Self::default() }
    }

    /// Runs a future whose requests belong to this call. They must be made by the future itself, not by tasks it starts.
    pub(crate) async fn run<T>(self: Arc<Self>, future: impl Future<Output = T>) -> T {
        CALL.scope(self, future).await
    }

    /// The call that the running request belongs to.
    pub(super) fn current() -> Option<Arc<Self>> {
        CALL.try_with(Arc::clone).ok()
    }

    pub(super) fn note(&self, last: Last) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    pub(super) fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests have ended.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// How its last request ended.
    pub(crate) fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
