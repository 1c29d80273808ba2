//! Answers that are errors.

use super::{Reply, Server, answer, assert_presentable, error, errors};
use tapster_cloud::{CloudError, WriteOptions};

/// As S3 does, no body to `HEAD`.
pub(super) fn as_s3(request: &super::Request, status: u16, code: &str, message: &str) -> Reply {
    if request.method == "HEAD" {
        return answer(status, &["x-amz-request-id: 1"], "");
    }
    error(status, code, message)
}

#[test]
fn a_storm_passes_or_the_store_is_unreachable() {
    let server = Server::start(|request| match request.number {
        0 | 1 => error(503, "SlowDown", "Please reduce your request rate."),
        _ => answer(200, &["ETag: \"a\""], "x"),
    });
    server.store().put("key", &b"x"[..], &WriteOptions::default()).unwrap();
    assert_eq!(server.requests().len(), 3);

    std::thread::scope(|scope| {
        for (status, code) in [
            (503, "SlowDown"),
            (500, "InternalError"),
            (429, "TooManyRequests"),
            (408, "RequestTimeout"),
            (504, ""),
        ] {
            scope.spawn(move || {
                let server = Server::start(move |request| as_s3(request, status, code, "Please slow down."));
                for error in errors(&server.store()) {
                    assert!(error.is_unreachable(), "{error}");
                    assert_presentable(&error);
                }
                assert_eq!(server.requests().len(), 3 * 6);
            });
        }
    });
}

#[test]
fn a_refusal_says_what_to_do() {
    for (code, words) in [
        ("SignatureDoesNotMatch", "secret key is wrong"),
        ("RequestTimeTooSkewed", "clock of this machine is wrong"),
        ("RequestTimeTooSkewed", "Sat, 21 Nov 2026 15:00:00 GMT"),
        ("InvalidAccessKeyId", "does not know the access key"),
        ("AccessDenied", "AccessDenied: Not for you"),
    ] {
        let server = Server::start(move |request| as_s3(request, 403, code, "Not for\nyou"));
        for error in errors(&server.store()) {
            assert!(matches!(error, CloudError::Denied { .. }), "{error}");
            assert!(assert_presentable(&error).contains(words), "{error}");
        }
    }
    // Temporary credentials that have ended are a 400.
    let server =
        Server::start(|request| as_s3(request, 400, "ExpiredToken", "The provided token has expired."));
    for error in errors(&server.store()) {
        assert!(matches!(error, CloudError::Denied { .. }), "{error}");
    }
}

#[test]
fn what_is_missing_is_the_object_or_the_bucket() {
    let server = Server::start(|request| as_s3(request, 404, "NoSuchBucket", "No bucket"));
    for error in errors(&server.store()) {
        assert!(matches!(error, CloudError::NoBucket { .. }), "{error}");
        assert_presentable(&error);
    }
    let server = Server::start(|request| as_s3(request, 404, "NoSuchKey", "No key"));
    let store = server.store();
    for error in [store.head("key").unwrap_err(), store.get("key", None).unwrap_err()] {
        assert!(matches!(error, CloudError::NotFound { .. }), "{error}");
    }
}

/// A recovery ends where WAL is not found: a proxy or a wrong endpoint must not end it.
#[test]
fn nothing_but_the_store_can_say_that_an_object_is_not_there() {
    for body in ["<html><head><title>404 Not Found</title></head>nginx</html>", "", "404 page not found"] {
        let server = Server::start(move |request| {
            answer(404, &["Server: nginx"], if request.method == "HEAD" { "" } else { body })
        });
        for error in errors(&server.store()) {
            assert!(!error.is_not_found(), "{error}");
            assert!(matches!(error, CloudError::Failed { .. }), "{error}");
            assert_presentable(&error);
        }
    }
}

#[test]
fn a_redirect_is_named_and_not_followed() {
    let other = Server::start(|_| answer(200, &["ETag: \"a\""], "stolen"));
    let location = format!("Location: http://user:s3cr3t@{}/x?X-Amz-Signature=s3cr3t", other.address);
    let host = other.address.to_string();
    let server = Server::start(move |_| answer(307, &[&location], ""));
    for error in errors(&server.store()) {
        let text = assert_presentable(&error);
        assert!(matches!(error, CloudError::Failed { .. }) && text.contains(&host), "{text}");
    }
    assert!(other.requests().is_empty());

    let server =
        Server::start(|_| answer(301, &["x-amz-bucket-region: ap-south-1", "x-amz-request-id: 1"], ""));
    for error in errors(&server.store()) {
        assert!(assert_presentable(&error).contains("region ap-south-1"), "{error}");
    }
}
