//! The threads behind a store's connections.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::wire::Call;

/// Why a call has no result of its own.
#[derive(Debug)]
pub(crate) enum Ended<E> {
    /// With this error.
    Failed(E),
    /// Not before its deadline.
    TimedOut(Duration),
    /// Its task was dropped or panicked.
    Lost,
}

/// A small runtime. It is waited for through a channel, so that a caller may itself be a task of another one.
#[derive(Debug)]
pub(crate) struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    pub(crate) fn start() -> io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).max_blocking_threads(4).thread_name("tapster-cloud").enable_all();
        Ok(Self(Some(builder.build()?)))
    }

    /// Runs the future to its end, or for `deadline`.
    pub(crate) fn wait<T: Send + 'static, E: Send + 'static>(
        &self,
        deadline: Duration,
        call: &Arc<Call>,
        future: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, Ended<E>> {
        let Some(runtime) = &self.0 else { return Err(Ended::Lost) };
        let (sender, receiver) = mpsc::sync_channel(1);
        let future = Arc::clone(call).run(future);
        runtime.spawn(async move {
            let result = match tokio::time::timeout(deadline, future).await {
                Ok(result) => result.map_err(Ended::Failed),
                Err(_) => Err(Ended::TimedOut(deadline)),
            };
            // Nobody waits any more when the caller's thread is gone.
            let _ = sender.send(result);
        });
        receiver.recv().unwrap_or(Err(Ended::Lost))
    }

    /// Begins a future whose end is waited for with the returned handle. Dropping that ends it.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Begun<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let task = self.0.as_ref().map(|runtime| {
            runtime.spawn(async move {
                let _ = sender.send(future.await);
            })
        });
        Begun { receiver, task: task.map(|task| task.abort_handle()) }
    }
}

/// A future under way.
#[derive(Debug)]
pub(crate) struct Begun<T> {
    receiver: mpsc::Receiver<T>,
    task: Option<tokio::task::AbortHandle>,
}

impl<T> Begun<T> {
    /// Its end; `None` when it panicked.
    pub(crate) fn wait(self) -> Option<T> {
        self.receiver.recv().ok()
    }

    /// Its end within that time: `None` when it has not come, `Some(None)` when it panicked.
    pub(crate) fn wait_for(&self, patience: Duration) -> Option<Option<T>> {
        match self.receiver.recv_timeout(patience) {
            Ok(end) => Some(Some(end)),
            Err(mpsc::RecvTimeoutError::Disconnected) => Some(None),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
        }
    }
}

impl<T> Drop for Begun<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Waiting here would panic in a task of another runtime. What is under way was waited for, or is not wanted.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
