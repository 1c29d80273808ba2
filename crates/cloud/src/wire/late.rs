//! A body of which something must come within a time, again and again.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpResponseBody};
use tokio::time::{Instant, Sleep};

use super::service::Broken;

pub(super) struct Late {
    body: HttpResponseBody,
    time: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Late {
    pub(super) fn new(body: HttpResponseBody, time: Duration) -> Self {
        Self { body, time, sleep: Box::pin(tokio::time::sleep(time)) }
    }
}

impl Body for Late {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let time = self.time;
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.sleep.as_mut().reset(Instant::now() + time);
            return Poll::Ready(frame);
        }
        ready!(self.sleep.as_mut().poll(context));
        Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Timeout, Broken::Late(time)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
