//! Writing and removing, when the store takes only some of it.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Reply, Request, Server, answer, assert_presentable, error};
use crate::noise;
use tapster_cloud::{CloudError, PutMode, StoreOptions, WriteOptions};

/// A multipart upload, whose end is answered by `end`.
fn multipart(request: &Request, end: impl Fn() -> Reply) -> Reply {
    match (request.method.as_str(), request.target.as_str()) {
        ("POST", target) if target.contains("uploads") => answer(
            200,
            &[],
            "<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>",
        ),
        ("PUT", _) => answer(200, &["ETag: \"p\""], ""),
        ("DELETE", _) => answer(204, &[], ""),
        ("POST", _) => end(),
        _ => error(404, "NoSuchKey", "none"),
    }
}

const DONE: &str = "<CompleteMultipartUploadResult><ETag>\"p-2\"</ETag></CompleteMultipartUploadResult>";

fn send(server: &Server) -> Result<u64, CloudError> {
    send_with(server, server.options())
}

fn send_with(server: &Server, options: StoreOptions) -> Result<u64, CloudError> {
    let mut upload = server.open(options).upload("key", WriteOptions::default()).unwrap();
    upload.write_all(&noise(9 << 20)).unwrap();
    upload.finish()
}

#[test]
fn l_b11_a_success_that_carries_an_error_is_none() {
    let server = Server::start(|request| {
        multipart(request, || {
            answer(200, &[], "<Error><Code>InternalError</Code><Message>Try again</Message></Error>")
        })
    });
    let failed = send(&server).unwrap_err();
    assert!(failed.is_unreachable(), "{failed}");
    assert!(assert_presentable(&failed).contains("InternalError: Try again"));
    let ends =
        server.requests().iter().filter(|r| r.method == "POST" && r.target.contains("uploadId")).count();
    assert_eq!(ends, 3, "it is tried again");
    assert!(server.requests().iter().any(|r| r.method == "DELETE"), "its parts are removed");

    for (code, denied) in [("AccessDenied", true), ("InvalidPart", false), ("EntityTooSmall", false)] {
        let server = Server::start(move |request| {
            let body =
                format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>no</Message></Error>");
            multipart(request, || answer(200, &[], &body))
        });
        let failed = send(&server).unwrap_err();
        assert_eq!(matches!(failed, CloudError::Denied { .. }), denied, "{failed}");
        assert!(!failed.is_not_found() && assert_presentable(&failed).contains(code));
    }
    // The first end gets lost; the object is there.
    let server = Server::start(|request| {
        let number = request.number;
        if request.method == "HEAD" {
            return super::announcing(200, &["ETag: \"p-2\""], 9 << 20, b"");
        }
        multipart(request, || {
            if number < 4 { error(500, "InternalError", "") } else { error(404, "NoSuchUpload", "gone") }
        })
    });
    assert_eq!(send(&server).unwrap(), 9 << 20);
    let server = Server::start(|request| {
        let number = request.number;
        multipart(request, || if number < 4 { error(503, "SlowDown", "") } else { answer(200, &[], DONE) })
    });
    assert_eq!(send(&server).unwrap(), 9 << 20);
}

#[test]
fn a_part_that_is_not_taken_fails_the_whole() {
    let server = Server::start(|request| {
        if request.method == "PUT" && request.target.contains("partNumber=1") {
            return error(400, "BadDigest", "The checksum you specified did not match");
        }
        multipart(request, || answer(200, &[], DONE))
    });
    let mut options = server.options();
    options.retries.patience = Duration::from_secs(1);
    let failed = send_with(&server, options).unwrap_err();
    assert_presentable(&failed);
    let requests = server.requests();
    assert!(!requests.iter().any(|r| r.method == "POST" && r.target.contains("uploadId")), "it was ended");
    assert!(requests.iter().any(|r| r.method == "DELETE"));
}

#[test]
fn what_was_not_removed_is_told() {
    let removal = |body: &'static str| {
        Server::start(move |_| {
            answer(200, &[], format!("<?xml version=\"1.0\"?>\n<DeleteResult>{body}</DeleteResult>"))
        })
    };
    let keys = ["a".to_owned(), "b".to_owned()];
    let server = removal(
        "<Deleted><Key>p/a</Key></Deleted><Error><Key>p/b</Key><Code>AccessDenied</Code><Message>locked</Message></Error>",
    );
    let failed = server.store().delete(&keys).unwrap_err();
    assert!(matches!(failed, CloudError::Denied { .. }), "{failed}");
    assert!(assert_presentable(&failed).contains("AccessDenied for p/b: locked"));

    let server = removal(
        "<Error><Key>p/b</Key><Code>InternalError</Code><Message>We encountered an error</Message></Error>",
    );
    let failed = server.store().delete(&keys).unwrap_err();
    assert!(failed.is_unreachable(), "{failed}");
    assert_eq!(server.requests().len(), 3, "it is tried again");

    // About something that nobody asked for.
    let server = removal("<Error><Key>other</Key><Code>AccessDenied</Code><Message>no</Message></Error>");
    assert!(server.store().delete(&keys).is_err());

    for gone in ["<Error><Key>p/b</Key><Code>NoSuchKey</Code><Message>none</Message></Error>", ""] {
        removal(gone).store().delete(&keys).unwrap();
    }
    for garbage in ["<html>", "", "<DeleteResult><Deleted>"] {
        let server = Server::start(move |_| answer(200, &[], garbage));
        assert!(server.store().delete(&keys).is_err(), "{garbage:?}");
    }
}

/// That the upload is gone says that it became the object, or that somebody has removed it. What is there then may be another's.
#[test]
fn an_object_of_the_same_size_need_not_be_ours() {
    // Of two parts of one byte, `a` and `b`, as the store calls them.
    let parts = ["0cc175b9c0f1b6a831c399e269772661", "92eb5ffee6ae2fec3ad71c777531578f"];
    let (ours, other) = ("96e024ba2074fe77e8e965ba43a704be-2", "0cc175b9c0f1b6a831c399e269772661-2");
    let kms = "x-amz-server-side-encryption: aws:kms";
    for (etag, more, mode, is_done) in [
        (ours, "x-none: 1", PutMode::Replace, true),
        (other, "x-none: 1", PutMode::Replace, false),
        (other, kms, PutMode::Replace, true),
        (ours, "x-none: 1", PutMode::Create, false),
    ] {
        let ended = AtomicUsize::new(0);
        let server = Server::start(move |request| {
            if request.method == "HEAD" {
                return match ended.load(Ordering::SeqCst) {
                    0 => super::refusing::as_s3(request, 404, "NoSuchKey", "none"),
                    _ => super::announcing(200, &[&format!("ETag: \"{etag}\""), more], 9 << 20, b""),
                };
            }
            if request.method == "GET" {
                return super::refusing::as_s3(request, 404, "NoSuchKey", "none");
            }
            if request.method == "PUT" {
                let part = parts[usize::from(request.target.contains("partNumber=2"))];
                return answer(200, &[&format!("ETag: \"{part}\"")], "");
            }
            multipart(request, || match ended.fetch_add(1, Ordering::SeqCst) {
                0 => error(500, "InternalError", ""),
                _ => error(404, "NoSuchUpload", "gone"),
            })
        });
        let mut options = WriteOptions::default();
        options.mode = mode;
        let mut upload = server.store().upload("key", options).unwrap();
        upload.write_all(&noise(9 << 20)).unwrap();
        let result = upload.finish();
        assert_eq!(result.is_ok(), is_done, "{etag} {more} {mode:?}: {result:?}");
        assert_eq!(matches!(result, Err(CloudError::Exists { .. })), mode == PutMode::Create, "{result:?}");
    }
}

/// A part is tried again by itself: what was sent before it is not lost by a store that is away for a while.
#[test]
fn a_part_outlasts_a_store_that_is_away() {
    let refused = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        if request.target.contains("partNumber=1") && refused.fetch_add(1, Ordering::SeqCst) < 4 {
            return error(503, "ServiceUnavailable", "restarting");
        }
        multipart(request, || answer(200, &[], DONE))
    });
    assert_eq!(send(&server).unwrap(), 9 << 20);
    let count = |part| server.requests().iter().filter(|r| r.target.contains(part)).count();
    assert_eq!((count("partNumber=1"), count("partNumber=2")), (5, 1));
}

/// Requests at once, of parts of so many bytes, are what an upload holds, besides the part being filled.
#[test]
fn an_upload_holds_no_more_than_its_memory() {
    for (memory, concurrency, part, at_once) in [(40, 4, 8, 4), (16, 4, 5, 2), (12, 1, 6, 1), (1, 8, 5, 1)] {
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
        let server = Server::start(move |request| {
            if request.method == "PUT" {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Nothing is answered before as many are here as will come.
                let start = Instant::now();
                while peak.load(Ordering::SeqCst) < at_once && start.elapsed() < Duration::from_secs(5) {
                    std::thread::yield_now();
                }
                now.fetch_sub(1, Ordering::SeqCst);
            }
            multipart(request, || answer(200, &[], DONE))
        });
        let mut options = server.options();
        options.memory = memory << 20;
        options.concurrency = concurrency;
        let mut upload = server.open(options).upload("key", WriteOptions::default()).unwrap();
        assert_eq!(upload.part_size(), part << 20);
        upload.write_all(&noise(50 << 20)).unwrap();
        upload.finish().unwrap();
        assert_eq!(most.load(Ordering::SeqCst), at_once, "{memory} MiB");
        let requests = server.requests();
        let mut parts: Vec<usize> =
            requests.iter().filter(|r| r.method == "PUT").map(|r| r.body.len()).collect();
        parts.sort_unstable();
        assert!(parts.iter().skip(1).all(|size| *size == part << 20), "all but the last are equal");
        assert_eq!(parts.iter().sum::<usize>(), 50 << 20);
    }
    let server = Server::start(|request| multipart(request, || answer(200, &[], DONE)));
    let mut large = WriteOptions::default();
    large.expected_size = Some(1 << 40);
    let refused = server.store().upload("key", large).unwrap_err();
    assert!(refused.to_string().contains("210 MiB of memory"), "{refused}");
}

/// The store decides in one step; one that cannot is asked twice.
#[test]
fn l_a17_an_upload_that_may_not_replace_says_so_at_its_end() {
    let mut create = WriteOptions::default();
    create.mode = PutMode::Create;
    for (refusal, ends) in [(412, 1), (501, 2)] {
        let server = Server::start(move |request| match request.method.as_str() {
            "HEAD" | "GET" => super::refusing::as_s3(request, 404, "NoSuchKey", "none"),
            _ => multipart(request, || match request.header("if-none-match") {
                Some("*") if refusal == 412 => error(412, "PreconditionFailed", "there"),
                Some("*") => error(501, "NotImplemented", "A header you provided implies functionality"),
                _ => answer(200, &[], DONE),
            }),
        });
        let mut upload = server.store().upload("key", create.clone()).unwrap();
        upload.write_all(&noise(9 << 20)).unwrap();
        let result = upload.finish();
        assert_eq!(matches!(result, Err(CloudError::Exists { .. })), refusal == 412, "{result:?}");
        let requests = server.requests();
        let is_end = |r: &&Request| r.method == "POST" && r.target.contains("uploadId");
        assert!(requests.iter().filter(is_end).count() >= ends);
        assert_eq!(requests.iter().any(|r| r.method == "DELETE"), refusal == 412);
    }
}

/// A small object may not be replaced either where the store does not know how to refuse: it is looked for right before.
#[test]
fn l_a17_a_store_without_conditions_is_looked_at_before_it_is_written_to() {
    let mut create = WriteOptions::default();
    create.mode = PutMode::Create;
    // What a look finds after the store has refused the condition.
    let start = |then: u16, code: &'static str| {
        let has_refused = AtomicBool::new(false);
        Server::start(move |request| match (request.method.as_str(), request.header("if-none-match")) {
            ("HEAD" | "GET", _) => match if has_refused.load(Ordering::SeqCst) { then } else { 404 } {
                200 => answer(200, &["ETag: \"a\""], ""),
                404 => super::refusing::as_s3(request, 404, "NoSuchKey", "none"),
                status => super::refusing::as_s3(request, status, "AccessDenied", "no"),
            },
            ("PUT", Some("*")) => {
                has_refused.store(true, Ordering::SeqCst);
                error(501, code, "A header you provided implies functionality")
            }
            ("PUT", None) => answer(200, &["ETag: \"a\""], ""),
            _ => error(400, "InvalidRequest", "unexpected"),
        })
    };
    let written = |server: &Server| {
        let requests = server.requests();
        requests.iter().filter(|r| r.method == "PUT" && r.header("if-none-match").is_none()).count()
    };
    for code in ["NotImplemented", "Whatever"] {
        let server = start(404, code);
        server.store().put("key", &b"x"[..], &create).unwrap();
        assert_eq!(written(&server), 1);
        // An upload that ends small is one of these.
        let server = start(404, code);
        let mut upload = server.store().upload("key", create.clone()).unwrap();
        upload.write_all(b"x").unwrap();
        upload.finish().unwrap();
        assert_eq!(written(&server), 1);
        // It came between the first look and the second.
        let server = start(200, code);
        let refused = server.store().put("key", &b"x"[..], &create).unwrap_err();
        assert!(matches!(refused, CloudError::Exists { .. }), "{refused}");
        assert_eq!(written(&server), 0);
        // Whether it is there is not known.
        let server = start(403, code);
        let refused = server.store().put("key", &b"x"[..], &create).unwrap_err();
        assert!(matches!(refused, CloudError::Denied { .. }), "{refused}");
        assert_eq!(written(&server), 0);
    }
}
