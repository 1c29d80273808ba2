//! Objects that come in pieces, short or not at all.

use std::io::Read as _;
use std::time::Duration;

use tapster_cloud::{CloudError, DownloadOptions};

use super::{Reply, Request, Server, announcing, answer, assert_presentable, errors};
use crate::noise;

const SIZE: u32 = 1_000_000;

/// The object from the byte that the request asks for, of which at most so many bytes come.
fn part(request: &Request, etag: &str, most: usize) -> Reply {
    let bytes = noise(SIZE);
    let etag = format!("ETag: \"{etag}\"");
    match request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) {
        None => announcing(200, &[&etag], bytes.len(), &bytes[..most.min(bytes.len())]),
        Some((from, to)) => {
            let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
            let range = format!("Content-Range: bytes {from}-{to}/{SIZE}");
            let piece = &bytes[from..=to];
            announcing(206, &[&etag, &range], piece.len(), &piece[..most.min(piece.len())])
        }
    }
}

/// Some send the name of the content without the quotes that their listings have, or the other way round.
#[test]
fn a_range_of_the_content_that_was_listed_is_known_with_and_without_quotes() {
    for sent in ["a", "\"a\""] {
        let server = Server::start(move |_| {
            let etag = format!("ETag: {sent}");
            announcing(206, &[&etag, &format!("Content-Range: bytes 0-9/{SIZE}")], 10, &noise(10))
        });
        for (listed, is_same) in [("a", true), ("\"a\"", true), ("\"b\"", false)] {
            let read = server.store().begin_range("key", 0..10, Some(listed), Vec::new()).unwrap();
            let (bytes, done) = read.wait(Duration::from_secs(60)).unwrap();
            assert_eq!(done.is_ok(), is_same, "{listed} {sent}: {done:?}");
            assert!(!is_same || bytes == noise(10));
        }
    }
}

/// A ranged or long read that is cut is a part of the object, and must not be taken for all of it.
#[test]
fn l_c14_a_cut_answer_goes_on_where_it_broke() {
    let server = Server::start(|request| part(request, "a", 90_000));
    let mut bytes = Vec::new();
    server.store().get("key", None).unwrap().read_to_end(&mut bytes).unwrap();
    assert!(bytes == noise(SIZE));
    let requests = server.requests();
    assert!(requests.len() >= 12, "{} requests", requests.len());
    assert!(requests.iter().skip(1).all(|request| request.header("range").is_some()));
    let mut bytes = Vec::new();
    server.store().get("key", Some(10..500_000)).unwrap().read_to_end(&mut bytes).unwrap();
    assert!(bytes == noise(SIZE)[10..500_000]);
}

#[test]
fn a_cut_answer_that_cannot_go_on_is_an_error_and_never_the_end() {
    type Script = fn(&Request) -> Reply;
    let scripts: [(&str, Script); 5] = [
        ("no name for the content", |_| announcing(200, &[], 1000, &noise(400))),
        ("nothing more ever", |request| match request.header("range") {
            None => part(request, "a", 90_000),
            Some(_) => part(request, "a", 0),
        }),
        ("another object meanwhile", |request| {
            part(request, if request.number == 0 { "a" } else { "b" }, 90_000)
        }),
        ("all of it instead of the rest", |request| match request.number {
            0 => part(request, "a", 90_000),
            _ => answer(200, &["ETag: \"a\""], noise(SIZE)),
        }),
        ("gone", |request| match request.number {
            0 => part(request, "a", 90_000),
            _ => super::error(404, "NoSuchKey", "gone"),
        }),
    ];
    for (what, script) in scripts {
        let server = Server::start(script);
        let mut bytes = Vec::new();
        let error = server.store().get("key", None).unwrap().read_to_end(&mut bytes).unwrap_err();
        let error: &CloudError = error.get_ref().unwrap().downcast_ref().unwrap();
        assert!(!error.is_not_found(), "{what}: {error}");
        assert_presentable(error);
        assert!(bytes.len() < SIZE as usize && noise(SIZE).starts_with(&bytes), "{what}");
        assert!(server.store().read("key", 1 << 30).is_err() || what != "no name for the content");
    }
}

#[test]
fn l_e1_an_answer_that_stops_is_not_waited_for_for_ever() {
    let server = Server::deaf();
    let store = server.open(server.impatient());
    for error in errors(&store) {
        assert!(error.is_unreachable(), "{error}");
        assert!(assert_presentable(&error).contains("could not reach s3://bucket/p"));
    }
    // In the middle of an object, too.
    let server =
        Server::start(|request| part(request, "a", if request.number == 0 { 100 } else { 0 }).then_silence());
    let error = server.open(server.impatient()).read("key", 1 << 30).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    // Nobody listens.
    let address = server.address;
    let store = server.open(server.impatient());
    drop(server);
    drop(std::net::TcpListener::bind(address));
    let error = store.head("key").unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("refused"), "{error}");
}

fn page(keys: &[&str], next: Option<&str>) -> String {
    let keys: String = keys
        .iter()
        .map(|key| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-21T14:00:00.000Z</LastModified>\
                 <ETag>\"a\"</ETag><Size>1</Size></Contents>"
            )
        })
        .collect();
    let next = next.map_or_else(
        || "<IsTruncated>false</IsTruncated>".to_owned(),
        |token| {
            format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")
        },
    );
    format!("<ListBucketResult><Name>bucket</Name><Prefix>p/</Prefix>{next}{keys}</ListBucketResult>")
}

#[test]
fn a_listing_is_whole_or_an_error() {
    // A page whose end is missing is asked for again.
    let server = Server::start(|request| {
        let body = page(&["p/a", "p/b"], None);
        let most = if request.number == 0 { 100 } else { body.len() };
        announcing(200, &[], body.len(), &body.as_bytes()[..most])
    });
    let keys: Vec<String> = server.store().list("").map(|object| object.unwrap().key).collect();
    assert_eq!(keys, ["a", "b"]);

    for (what, body) in [
        ("cut, though its length is right", page(&["p/a"], None)[..150].to_owned()),
        ("a page of a proxy", "<html>Welcome</html>".to_owned()),
        ("nothing", String::new()),
        ("another bucket's", page(&["q/a"], None)),
        ("out of the prefix", page(&["p/../../etc/passwd"], None)),
        ("without end", page(&["p/a"], Some("same"))),
    ] {
        let server = Server::start(move |_| answer(200, &[], &body));
        let last = server.store().list("").take(10).last();
        let error = last.unwrap_or_else(|| panic!("{what}: an empty listing")).expect_err(what);
        assert!(!error.is_not_found(), "{what}: {error}");
        assert_presentable(&error);
    }

    // From a key on, the order is the meaning.
    for (what, body) in [
        ("without end", page(&["p/a", "p/b"], Some("same"))),
        ("an end that is repeated", page(&["p/a", "p/b", "p/b"], None)),
        ("backwards", page(&["p/b", "p/a"], None)),
    ] {
        let server = Server::start(move |_| answer(200, &[], &body));
        let error = server.store().list_after("", "0").take(10).last().unwrap().expect_err(what);
        assert!(matches!(error, CloudError::Invalid { .. }), "{what}: {error}");
        assert_presentable(&error);
    }
}

/// What consoles and other programs leave in a bucket does not keep anybody from what is ours there.
#[test]
fn l_a14_foreign_keys_are_passed_over() {
    let foreign = ["p/", "p//x", "p/a//b", "p/dir/"];
    let with = |ours: &[&'static str]| page(&[&foreign[..], ours].concat(), None);
    let body = with(&["p/dir/k", "p/m"]);
    let server = Server::start(move |_| answer(200, &[], &body));
    let keys = |store: &tapster_cloud::Store| -> Vec<String> {
        store.list("").map(|object| object.unwrap().key).collect()
    };
    assert_eq!(keys(&server.store()), ["dir/k", "m"]);
    let after: Vec<String> = server.store().list_after("", "c").map(|object| object.unwrap().key).collect();
    assert_eq!(after, ["dir/k", "m"]);
    let body = with(&[]);
    let server = Server::start(move |_| answer(200, &[], &body));
    assert!(keys(&server.store()).is_empty());
    let dirs = "<CommonPrefixes><Prefix>p/a/</Prefix></CommonPrefixes>\
                <CommonPrefixes><Prefix>p//</Prefix></CommonPrefixes></ListBucketResult>";
    let body = with(&["p/m"]).replace("</ListBucketResult>", dirs);
    let server = Server::start(move |_| answer(200, &[], &body));
    assert_eq!(server.store().list_dirs("").unwrap(), ["a"]);
}

/// The answer to a request for a piece of an object of so many bytes.
fn piece(request: &Request, bytes: &[u8], etag: &str) -> Reply {
    let etag = format!("ETag: \"{etag}\"");
    if request.method == "HEAD" {
        return announcing(200, &[&etag], bytes.len(), b"");
    }
    let (from, to) =
        request.header("range").unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
    answer(206, &[&etag, &format!("Content-Range: bytes {from}-{to}/{}", bytes.len())], &bytes[from..=to])
}

#[test]
fn a_file_is_never_of_two_objects_nor_of_a_part_of_one() {
    type Script = fn(&Request, &[u8]) -> Reply;
    let scripts: [(&str, Script); 4] = [
        ("replaced, and the store says so", |request, bytes| match request.header("range") {
            Some(range) if !range.starts_with("bytes=0-") => {
                super::error(412, "PreconditionFailed", "another")
            }
            _ => piece(request, bytes, "a"),
        }),
        ("longer now", |request, bytes| match request.header("range") {
            Some("bytes=0-16777215") => {
                let headers = ["ETag: \"a\"", "Content-Range: bytes 0-16777215/50000000"];
                answer(206, &headers, &bytes[..16 << 20])
            }
            _ => piece(request, bytes, "a"),
        }),
        ("gone", |request, bytes| match request.header("range") {
            Some(range) if !range.starts_with("bytes=0-") => super::error(404, "NoSuchKey", "gone"),
            _ => piece(request, bytes, "a"),
        }),
        ("another range", |request, bytes| match request.header("range") {
            Some(range) if !range.starts_with("bytes=0-") => {
                answer(206, &["ETag: \"a\"", "Content-Range: bytes 0-16777215/41943040"], &bytes[..16 << 20])
            }
            _ => piece(request, bytes, "a"),
        }),
    ];
    let directory = tempfile::tempdir().unwrap();
    for (what, script) in scripts {
        let bytes = noise(40 << 20);
        let server = Server::start(move |request| script(request, &bytes));
        let path = directory.path().join("file");
        let file = std::fs::File::create(&path).unwrap();
        let mut options = server.options();
        options.retries.read_timeout = Duration::from_secs(5);
        let error =
            server.open(options).download("key", &file, &path, DownloadOptions::default()).unwrap_err();
        assert!(!error.is_not_found(), "{what}: {error}");
        assert_presentable(&error);
    }
}
