//! Every call against a server that speaks S3.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tapster_cloud::testing::Moto;
use tapster_cloud::{CloudError, DownloadOptions, LockMode, PutMode, Store, WriteOptions};

use crate::noise;

pub static MOTO: LazyLock<Option<Moto>> = LazyLock::new(Moto::start);

/// One server for all tests here, a prefix for each.
fn store(prefix: &str) -> Option<Store> {
    MOTO.as_ref().map(|moto| moto.store(prefix))
}

fn all(store: &Store, key: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.get(key, None).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn small_objects_are_written_looked_at_read_and_removed() {
    let Some(store) = store("small") else { return };
    let bytes = noise(100_003);
    store.put("main/wals/a", bytes.clone(), &WriteOptions::default()).unwrap();
    let info = store.head("main/wals/a").unwrap();
    assert_eq!((info.key.as_str(), info.size), ("main/wals/a", 100_003));
    assert!(info.etag.is_some());
    assert_eq!(all(&store, "main/wals/a"), bytes);
    assert_eq!(store.read("main/wals/a", 100_003).unwrap(), bytes);
    assert!(matches!(store.read("main/wals/a", 100_002), Err(CloudError::Invalid { .. })));
    for range in [0..1, 5..70_000, 100_000..100_003] {
        let mut part = Vec::new();
        store.get("main/wals/a", Some(range.clone())).unwrap().read_to_end(&mut part).unwrap();
        assert_eq!(part, bytes[range.start as usize..range.end as usize]);
    }
    store.delete(&["main/wals/a".to_owned(), "main/wals/never".to_owned()]).unwrap();
    for error in [store.head("main/wals/a").unwrap_err(), store.get("main/wals/a", None).unwrap_err()] {
        assert!(matches!(error, CloudError::NotFound { .. }), "{error}");
    }
    store.put("main/empty", Vec::new(), &WriteOptions::default()).unwrap();
    assert_eq!(all(&store, "main/empty"), b"");
}

#[test]
fn what_is_there_stays_when_it_may_not_be_replaced() {
    let Some(store) = store("create") else { return };
    let mut create = WriteOptions::default();
    create.mode = PutMode::Create;
    store.put("a", &b"first"[..], &create).unwrap();
    assert!(matches!(store.put("a", &b"second"[..], &create), Err(CloudError::Exists { .. })));
    let mut upload = store.upload("a", create).unwrap();
    upload.write_all(&noise(20 << 20)).unwrap();
    assert!(matches!(upload.finish(), Err(CloudError::Exists { .. })));
    assert_eq!(all(&store, "a"), b"first");
}

#[test]
fn an_upload_in_parts_is_nowhere_before_its_end_and_leaves_nothing_when_given_up() {
    let Some(store) = store("parts") else { return };
    let bytes = noise(21_000_017);
    let mut upload = store.upload("base/data.tar", WriteOptions::default()).unwrap();
    upload.write_all(&bytes).unwrap();
    assert!(matches!(store.head("base/data.tar"), Err(CloudError::NotFound { .. })));
    assert_eq!(store.list("base").count(), 0);
    assert_eq!(upload.finish().unwrap(), bytes.len() as u64);
    assert!(all(&store, "base/data.tar") == bytes);

    let mut upload = store.upload("base/given-up", WriteOptions::default()).unwrap();
    upload.write_all(&bytes).unwrap();
    drop(upload);
    let moto = MOTO.as_ref().unwrap();
    let left = moto.request("GET", "/bucket?uploads", &[]);
    assert!(!left.contains("parts/base/given-up"), "{left}");
    assert!(matches!(store.head("base/given-up"), Err(CloudError::NotFound { .. })));
}

/// A last part must not be forgotten, whether it is whole, or of one byte.
#[test]
fn l_b15_an_object_that_ends_about_the_end_of_a_part_is_whole() {
    let Some(store) = store("ends") else { return };
    let part = store.upload("x", WriteOptions::default()).unwrap().part_size();
    let bytes = noise(2 * part as u32 + 1);
    for size in [0, 1, part - 1, part, part + 1, 2 * part, 2 * part + 1] {
        let mut upload = store.upload("x", WriteOptions::default()).unwrap();
        for piece in bytes[..size].chunks(part / 3) {
            upload.write_all(piece).unwrap();
        }
        assert_eq!(upload.finish().unwrap(), size as u64);
        assert!(all(&store, "x") == bytes[..size], "{size}");
    }
}

/// A listing and a deletion of S3 are of at most 1,000 objects a request.
#[test]
fn l_d8_more_than_a_thousand_objects_are_listed_and_removed() {
    let Some(store) = store("many") else { return };
    let keys: Vec<String> = (0..1_203).map(|n| format!("main/wals/0000000100000000/{n:06}")).collect();
    std::thread::scope(|scope| {
        for keys in keys.chunks(200) {
            let store = &store;
            scope.spawn(move || {
                for key in keys {
                    store.put(key, key.clone().into_bytes(), &WriteOptions::default()).unwrap();
                }
            });
        }
    });
    let listed: Vec<String> = store.list("main/wals").map(|object| object.unwrap().key).collect();
    assert_eq!(listed, keys);
    assert_eq!(store.list_dirs("main/wals").unwrap(), ["0000000100000000"]);
    store.put("main/wals2/x", &b"x"[..], &WriteOptions::default()).unwrap();
    store.delete(&keys).unwrap();
    let listed: Vec<String> = store.list("main").map(|object| object.unwrap().key).collect();
    assert_eq!(listed, ["main/wals2/x"]);
}

#[test]
fn tags_are_on_objects_of_one_request_and_of_many() {
    let Some(store) = store("tags") else { return };
    let mut options = WriteOptions::default();
    options.tags = vec![("team".to_owned(), "a b/c+d".to_owned()), ("kind".to_owned(), "wal".to_owned())];
    store.put("one", &b"x"[..], &options).unwrap();
    let mut upload = store.upload("many", options).unwrap();
    upload.write_all(&noise(9 << 20)).unwrap();
    upload.finish().unwrap();
    for key in ["one", "many"] {
        let tags = MOTO.as_ref().unwrap().request("GET", &format!("/bucket/tags/{key}?tagging"), &[]);
        let tags: String = tags.split('\n').map(str::trim).collect();
        assert!(tags.contains("<Key>team</Key><Value>a b/c+d</Value>"), "{tags}");
    }
}

#[test]
fn a_missing_bucket_is_seen_and_made() {
    let Some(moto) = MOTO.as_ref() else { return };
    for (name, region) in [("made-here", "us-east-1"), ("made-there", "eu-west-3")] {
        let environment = [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", region),
        ];
        let url = format!("s3://{name}/p").parse().unwrap();
        let store = Store::open(&url, moto.options(), &environment.into_iter().collect()).unwrap();
        assert!(!store.bucket_exists().unwrap());
        for error in [store.head("a").unwrap_err(), store.get("a", None).unwrap_err()] {
            assert!(matches!(error, CloudError::NoBucket { .. }), "{error}");
        }
        let put = store.put("a", &b"x"[..], &WriteOptions::default());
        assert!(matches!(put, Err(CloudError::NoBucket { .. })));
        store.create_bucket().unwrap();
        assert!(store.bucket_exists().unwrap());
        store.create_bucket().unwrap();
        store.put("a", &b"x"[..], &WriteOptions::default()).unwrap();
        assert_eq!(all(&store, "a"), b"x");
        let place = moto.request("GET", &format!("/{name}?location"), &[]);
        assert_eq!(place.contains("eu-west-3"), region == "eu-west-3", "{place}");
    }
}

#[test]
fn locks_of_objects_are_seen() {
    let Some(moto) = MOTO.as_ref() else { return };
    moto.create_locking_bucket("locking");
    let url = "s3://locking/p".parse().unwrap();
    let store = Store::open(&url, moto.options(), &moto.environment()).unwrap();
    for key in ["free", "governed", "complied", "held"] {
        store.put(key, &b"x"[..], &WriteOptions::default()).unwrap();
    }
    for (key, mode) in [("governed", "GOVERNANCE"), ("complied", "COMPLIANCE")] {
        let body = format!(
            "<Retention><Mode>{mode}</Mode><RetainUntilDate>2090-02-03T04:05:06Z</RetainUntilDate></Retention>"
        );
        moto.send("PUT", &format!("/locking/p/{key}?retention"), &[], body.as_bytes());
    }
    moto.send("PUT", "/locking/p/held?legal-hold", &[], b"<LegalHold><Status>ON</Status></LegalHold>");
    assert_eq!(store.lock_of("free").unwrap(), None);
    let until = time::macros::datetime!(2090-02-03 04:05:06 UTC);
    for (key, mode) in [("governed", LockMode::Governance), ("complied", LockMode::Compliance)] {
        let lock = store.lock_of(key).unwrap().unwrap();
        assert_eq!((lock.mode, lock.until, lock.legal_hold), (Some(mode), Some(until), false));
        assert!(lock.holds_at(until - time::Duration::SECOND) && !lock.holds_at(until));
    }
    let lock = store.lock_of("held").unwrap().unwrap();
    assert!(lock.legal_hold && lock.mode.is_none() && lock.holds_at(until));
    assert!(matches!(store.lock_of("never"), Err(CloudError::NotFound { .. })));
}

#[test]
fn an_object_becomes_a_file_in_pieces_until_somebody_stops_it() {
    let Some(store) = store("download") else { return };
    let bytes = noise((40 << 20) + 17);
    let mut upload = store.upload("large", WriteOptions::default()).unwrap();
    upload.write_all(&bytes).unwrap();
    upload.finish().unwrap();
    store.put("empty", Vec::new(), &WriteOptions::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, noise(50 << 20)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let told = AtomicU64::new(0);
    let progress = |count| {
        told.fetch_add(count, Ordering::Relaxed);
    };
    let mut options = DownloadOptions::default();
    options.progress = Some(&progress);
    let info = store.download("large", &file, &path, options).unwrap();
    assert_eq!((info.size, told.load(Ordering::Relaxed)), (bytes.len() as u64, bytes.len() as u64));
    assert!(std::fs::read(&path).unwrap() == bytes);
    store.download("empty", &file, &path, DownloadOptions::default()).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 0);
    let stop = AtomicBool::new(false);
    let progress = |_| stop.store(true, Ordering::Relaxed);
    let mut options = DownloadOptions::default();
    options.stop = Some(&stop);
    options.progress = Some(&progress);
    let stopped = store.download("large", &file, &path, options);
    assert!(matches!(stopped, Err(CloudError::Stopped)));
    let never = store.download("never", &file, &path, DownloadOptions::default());
    assert!(matches!(never, Err(CloudError::NotFound { .. })));
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert!(matches!(store.download("large", &full, &path, options), Err(CloudError::Local { .. })));
}

#[test]
fn a_certificate_is_checked_against_the_authorities_that_one_names() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(file("own"), own.cert.pem()).unwrap();
    std::fs::write(file("other"), other.cert.pem()).unwrap();
    std::fs::write(file("none"), "no certificate").unwrap();
    std::fs::write(file("key"), own.signing_key.serialize_pem()).unwrap();
    let Some(moto) = Moto::start_tls(&file("own"), &file("key")) else { return };
    let open = |authorities: Option<&str>| {
        let authorities = authorities.map(|name| file(name).to_str().unwrap().to_owned());
        let named = authorities.map(|path| ("AWS_CA_BUNDLE", path));
        let mut options = moto.options();
        options.retries.count = 0;
        Store::open(&moto.url("p"), options, &moto.variables().into_iter().chain(named).collect())
    };
    let store = open(Some("own")).unwrap();
    store.create_bucket().unwrap();
    store.put("a", &b"x"[..], &WriteOptions::default()).unwrap();
    assert_eq!(all(&store, "a"), b"x");
    for untrusted in [None, Some("other")] {
        let error = open(untrusted).unwrap().head("a").unwrap_err();
        assert!(error.is_unreachable() && error.to_string().contains("certificate"), "{error}");
    }
    assert!(matches!(open(Some("none")), Err(CloudError::Options { .. })));
}
