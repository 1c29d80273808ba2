//! One request.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::header::IF_NONE_MATCH;
use http::{Method, StatusCode};
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};

use super::late::Late;
use super::{Answer, Call, Extra, Last, deepest, listing, time_for};
use crate::Retries;

/// A page of a listing has at most 5,000 objects, and a key at most 1,024 bytes.
const LONGEST_PAGE: u64 = 64 << 20;
/// More of an error is not read.
const LONGEST_ERROR: u64 = 256 << 10;

/// One client for all requests, so that they share connections.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) client: reqwest::Client,
    pub(super) retries: Retries,
    pub(super) extra: Extra,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("an answer of more than {0} bytes")]
    Long(u64),
    #[error("there are no credentials, neither configured nor of this machine ({0})")]
    NoIdentity(String),
    #[error("it is no listing of objects")]
    NoListing,
}

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let call = Call::current();
        let is_identity = request.uri().path().starts_with("/latest/");
        let again = match &self.extra {
            Extra::Region(region) if region.found.get().is_none() => Some((region, request.clone())),
            _ => None,
        };
        let mut result = self.answer(request, call.as_deref()).await;
        if let (Ok((_, Some(answer))), Some((region, again))) = (&result, again)
            && region.learn(answer)
        {
            result = self.answer(again, call.as_deref()).await;
        }
        let result = result.map_err(|error| match is_identity {
            true => HttpError::new(error.kind(), Broken::NoIdentity(deepest(&error))),
            false => error,
        });
        if let Some(call) = call {
            call.count();
            match &result {
                Ok((response, None)) => call.note(Last::Success(response.headers().clone())),
                Ok((_, Some(answer))) => call.note(Last::Refused(answer.clone())),
                Err(error) => call.note(Last::Broken(deepest(error))),
            }
        }
        Ok(result?.0)
    }
}

impl Service {
    async fn answer(
        &self,
        mut request: HttpRequest,
        call: Option<&Call>,
    ) -> Result<(HttpResponse, Option<Answer>), HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let is_listing = query.contains("list-type=") || query.contains("comp=list");
        let is_end_of_upload = request.method() == Method::POST && query.contains("uploadId=");
        let is_removal = request.method() == Method::POST
            && (query == "delete" || query.starts_with("delete&") || query.starts_with("delete="));
        let is_batch = request.method() == Method::POST && query.contains("comp=batch");
        self.extra.add(&mut request, call.is_some_and(|call| call.creates)).await?;
        let is_object = request.method() == Method::GET && !is_listing;
        if is_object || request.method() == Method::HEAD {
            // The time is that of each piece of the answer.
            let time = self.retries.read_timeout;
            let response = within(time, self.client.call(request)).await?;
            if !response.status().is_success() {
                return within(time, refused(response)).await;
            }
            let (parts, body) = response.into_parts();
            let body = HttpResponseBody::new(Late::new(body, time));
            return Ok((HttpResponse::from_parts(parts, body), None));
        }
        // And here of the whole request, and grows with what is sent.
        let time = time_for(&self.retries, request.body().content_length() as u64);
        let exchange = async {
            let mut again = is_end_of_upload.then(|| request.clone());
            let mut response = self.client.call(request).await?;
            if response.status() == StatusCode::NOT_IMPLEMENTED
                && let Some(mut again) = again.take()
                && again.headers_mut().remove(IF_NONE_MATCH).is_some()
            {
                // It cannot decide that there is no such object. There was none just now.
                response = self.client.call(again).await?;
            }
            if !response.status().is_success() {
                return refused(response).await;
            }
            let (mut parts, body) = response.into_parts();
            let mut body = collect(body, LONGEST_PAGE).await?;
            if is_listing {
                if !listing::is_whole(&body) {
                    return Err(HttpError::new(HttpErrorKind::Decode, Broken::NoListing));
                }
                body = listing::without_foreign(body);
            }
            if is_end_of_upload || is_removal || is_batch {
                let text = String::from_utf8_lossy(&body);
                let within = if is_batch { Answer::within_batch } else { Answer::within };
                if let Some(answer) = within(&parts.headers, &text) {
                    parts.status =
                        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    return Ok((HttpResponse::from_parts(parts, body.into()), Some(answer)));
                }
                if is_removal && !text.contains("<Deleted>") && text.contains("<DeleteResult") {
                    // The provider's client takes no empty result.
                    body = Bytes::from_static(
                        b"<DeleteResult><Deleted><Key>none</Key></Deleted></DeleteResult>",
                    );
                }
            }
            Ok((HttpResponse::from_parts(parts, body.into()), None))
        };
        within(time, exchange).await
    }
}

async fn within<T>(
    time: Duration,
    future: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    match tokio::time::timeout(time, future).await {
        Ok(result) => result,
        Err(_) => Err(HttpError::new(HttpErrorKind::Timeout, Broken::Late(time))),
    }
}

/// An answer that is no success, with its text read.
async fn refused(response: HttpResponse) -> Result<(HttpResponse, Option<Answer>), HttpError> {
    let (mut parts, body) = response.into_parts();
    let body = collect(body, LONGEST_ERROR).await?;
    let answer = Answer::of(parts.status, &parts.headers, &String::from_utf8_lossy(&body));
    if answer.is_of_the_way() {
        // The provider's client tries again what is the store's fault, and nothing else.
        parts.status = StatusCode::SERVICE_UNAVAILABLE;
    }
    // The provider's client refuses text that is not UTF-8 with an error of its own.
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok((HttpResponse::from_parts(parts, body.into()), Some(answer)))
}

async fn collect(body: HttpResponseBody, limit: u64) -> Result<Bytes, HttpError> {
    let mut stream = body.bytes_stream();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(HttpError::new(HttpErrorKind::Decode, Broken::Long(limit)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
