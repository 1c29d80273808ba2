//! Every call against Microsoft's emulator of Azure Blob Storage.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::LazyLock;

use tapster_cloud::testing::Azurite;
use tapster_cloud::{CloudError, DownloadOptions, Environment, PutMode, Store, StoreOptions, WriteOptions};

use crate::noise;

pub static AZURITE: LazyLock<Option<Azurite>> = LazyLock::new(Azurite::start);

/// One server for all tests here, a prefix for each.
fn store(prefix: &str) -> Option<Store> {
    AZURITE.as_ref().map(|azurite| azurite.store(prefix))
}

fn all(store: &Store, key: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.get(key, None).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn creating() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.mode = PutMode::Create;
    options
}

#[test]
fn every_call_is_understood() {
    let Some(store) = store("calls") else { return };
    assert!(store.bucket_exists().unwrap());
    let bytes = noise(21_000_017);
    let mut tagged = WriteOptions::default();
    tagged.tags = vec![("team".to_owned(), "a b".to_owned())];
    store.put("main/wals/small", bytes[..100_003].to_vec(), &tagged).unwrap();
    let mut upload = store.upload("main/base/large", tagged).unwrap();
    upload.write_all(&bytes).unwrap();
    assert!(matches!(store.head("main/base/large"), Err(CloudError::NotFound { .. })));
    assert_eq!(store.list("main/base").count(), 0, "listed before it is whole");
    assert_eq!(upload.finish().unwrap(), bytes.len() as u64);
    assert!(all(&store, "main/base/large") == bytes && all(&store, "main/wals/small") == bytes[..100_003]);
    let info = store.head("main/base/large").unwrap();
    assert_eq!((info.size, info.etag.is_some()), (bytes.len() as u64, true));
    // A restore asks for the content that it has listed.
    let listed = store.list("main/base").next().unwrap().unwrap();
    assert_eq!((&listed.etag, listed.size), (&info.etag, info.size));
    assert_eq!(&store.get("main/base/large", Some(0..1)).unwrap().info().etag, &info.etag);
    let mut part = Vec::new();
    store.get("main/base/large", Some(9_000_000..19_000_000)).unwrap().read_to_end(&mut part).unwrap();
    assert!(part == bytes[9_000_000..19_000_000]);
    let keys: Vec<String> = store.list("main").map(|object| object.unwrap().key).collect();
    assert_eq!(keys, ["main/base/large", "main/wals/small"]);
    assert_eq!(store.list_dirs("main").unwrap(), ["base", "wals"]);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let file = File::create(&path).unwrap();
    store.download("main/base/large", &file, &path, DownloadOptions::default()).unwrap();
    assert!(std::fs::read(&path).unwrap() == bytes);

    store.put("main/empty", Vec::new(), &WriteOptions::default()).unwrap();
    assert_eq!(all(&store, "main/empty"), b"");
    let removed = ["main/base/large", "main/wals/small", "main/never"].map(str::to_owned);
    store.delete(&removed).unwrap();
    for error in [store.head("main/base/large").unwrap_err(), store.get("main/never", None).unwrap_err()] {
        assert!(matches!(error, CloudError::NotFound { .. }), "{error}");
    }
    assert_eq!(store.list("main").count(), 1);
}

#[test]
fn what_is_there_stays_when_it_may_not_be_replaced() {
    let Some(store) = store("create") else { return };
    store.put("a", &b"first"[..], &creating()).unwrap();
    assert!(matches!(store.put("a", &b"second"[..], &creating()), Err(CloudError::Exists { .. })));
    let mut upload = store.upload("a", creating()).unwrap();
    upload.write_all(&noise(20 << 20)).unwrap();
    assert!(matches!(upload.finish(), Err(CloudError::Exists { .. })));
    assert_eq!(all(&store, "a"), b"first");
    store.put("a", &b"third"[..], &WriteOptions::default()).unwrap();
    assert_eq!(all(&store, "a"), b"third");
}

/// The other is whole before the last part of this one: the store itself decides, at the end.
#[test]
fn of_two_uploads_that_may_not_replace_the_second_to_end_hears_it() {
    let Some(store) = store("two") else { return };
    let bytes = noise(18 << 20);
    let mut uploads = [(); 2].map(|()| store.upload("a", creating()).unwrap());
    for upload in &mut uploads {
        upload.write_all(&bytes).unwrap();
    }
    let [first, second] = uploads;
    first.finish().unwrap();
    assert!(matches!(second.finish(), Err(CloudError::Exists { .. })));
    assert!(all(&store, "a") == bytes);
}

/// What was begun and given up is neither there nor in the way of who writes it again.
#[test]
fn an_upload_that_was_given_up_is_nowhere() {
    let Some(store) = store("given-up") else { return };
    let bytes = noise(18 << 20);
    let mut upload = store.upload("a", WriteOptions::default()).unwrap();
    upload.write_all(&bytes).unwrap();
    drop(upload);
    assert!(matches!(store.head("a"), Err(CloudError::NotFound { .. })));
    assert_eq!(store.list("").count(), 0);
    let mut upload = store.upload("a", creating()).unwrap();
    upload.write_all(&bytes[1..]).unwrap();
    upload.finish().unwrap();
    assert!(all(&store, "a") == bytes[1..]);
}

/// A request removes at most 256 objects there, and a page lists at most 5,000.
#[test]
fn l_d8_more_than_a_thousand_objects_are_listed_and_removed() {
    let Some(store) = store("many") else { return };
    let keys: Vec<String> = (0..1_203).map(|n| format!("main/wals/0000000100000000/{n:06}")).collect();
    std::thread::scope(|scope| {
        for keys in keys.chunks(151) {
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
    store.put("main/wals2/x", &b"x"[..], &WriteOptions::default()).unwrap();
    store.delete(&keys).unwrap();
    let listed: Vec<String> = store.list("main").map(|object| object.unwrap().key).collect();
    assert_eq!(listed, ["main/wals2/x"]);
}

#[test]
fn a_missing_container_and_a_wrong_key_are_told_apart_and_a_container_is_made() {
    let Some(azurite) = AZURITE.as_ref() else { return };
    let open = |container: &str, variables: Vec<(&'static str, String)>| {
        let environment: Environment = variables.into_iter().collect();
        Store::open(&azurite.url_of(container, "p"), StoreOptions::default(), &environment).unwrap()
    };
    let store = open("missing", azurite.variables());
    assert!(!store.bucket_exists().unwrap());
    for error in [
        store.head("a").unwrap_err(),
        store.get("a", None).unwrap_err(),
        store.put("a", &b"x"[..], &WriteOptions::default()).unwrap_err(),
        store.list("").next().unwrap().unwrap_err(),
    ] {
        assert!(matches!(error, CloudError::NoBucket { .. }), "{error}");
    }
    let wrong = open("missing", azurite.variables_with("d3Jvbmc="));
    for error in [
        wrong.head("a").unwrap_err(),
        wrong.get("a", None).unwrap_err(),
        wrong.put("a", &b"x"[..], &WriteOptions::default()).unwrap_err(),
        wrong.list("").next().unwrap().unwrap_err(),
        wrong.bucket_exists().unwrap_err(),
        wrong.create_bucket().unwrap_err(),
        wrong.delete(&["a".to_owned()]).unwrap_err(),
    ] {
        assert!(matches!(error, CloudError::Denied { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("AuthorizationFailure") && !text.contains('\n'), "{text}");
    }
    store.create_bucket().unwrap();
    assert!(store.bucket_exists().unwrap());
    store.create_bucket().unwrap();
    store.put("a", &b"x"[..], &WriteOptions::default()).unwrap();
    assert_eq!(all(&store, "a"), b"x");
}

/// As Microsoft's own client signs it: for one container, for a time, and for what it says.
#[test]
fn a_key_or_a_shared_access_signature_will_do() {
    const SIGN: &str = "\
import datetime, sys
from azure.storage.blob import generate_container_sas
end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
account, key, what = sys.argv[1:]
print(generate_container_sas(account, 'bucket', account_key=key, permission=what, expiry=end))
";
    let Some(azurite) = AZURITE.as_ref() else { return };
    let string = &azurite.variables()[0].1;
    let part = |name: &str| {
        let part = string.split(';').find_map(|part| part.strip_prefix(name)).unwrap();
        part.to_owned()
    };
    let (account, key) = (part("AccountName="), part("AccountKey="));
    let signature = |what: &str| {
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/barman/bin/python");
        let output = std::process::Command::new(python).args(["-c", SIGN, &account, &key, what]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let open = |name: &str, value: String| {
        let environment: Environment = [(name, value)].into_iter().collect();
        Store::open(&azurite.url("signed"), StoreOptions::default(), &environment).unwrap()
    };
    let bytes = noise(9 << 20);
    for (key, store) in [
        ("key", open("AZURE_STORAGE_KEY", key.clone())),
        ("signature", open("AZURE_STORAGE_SAS_TOKEN", signature("racwdl"))),
        ("question mark", open("AZURE_STORAGE_SAS_TOKEN", format!("?{}", signature("racwdl")))),
    ] {
        let mut upload = store.upload(key, creating()).unwrap();
        upload.write_all(&bytes).unwrap();
        upload.finish().unwrap();
        assert!(all(&store, key) == bytes);
        assert!(matches!(store.put(key, &b"x"[..], &creating()), Err(CloudError::Exists { .. })));
        assert_eq!(store.list("").count(), 1);
        store.put("second", &b"x"[..], &WriteOptions::default()).unwrap();
        store.delete(&[key.to_owned(), "second".to_owned(), "never".to_owned()]).unwrap();
        assert_eq!(store.list("").count(), 0);
    }
    let reader = open("AZURE_STORAGE_SAS_TOKEN", signature("rl"));
    azurite.store("signed").put("a", &b"x"[..], &WriteOptions::default()).unwrap();
    assert_eq!(all(&reader, "a"), b"x");
    for error in [
        reader.put("a", &b"y"[..], &WriteOptions::default()).unwrap_err(),
        reader.delete(&["a".to_owned()]).unwrap_err(),
    ] {
        assert!(matches!(error, CloudError::Denied { .. }), "{error}");
        assert!(!error.to_string().contains("sig="), "{error}");
    }
    assert_eq!(all(&reader, "a"), b"x");
}
