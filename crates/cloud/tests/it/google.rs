//! Every call of Google's client against a store that speaks the interface it uses.

use std::io::{Read as _, Write as _};
use std::sync::LazyLock;

use tapster_cloud::testing::Google;
use tapster_cloud::{CloudError, Store, WriteOptions};

use crate::noise;

pub static GOOGLE: LazyLock<Option<Google>> = LazyLock::new(Google::start);

/// One server for all tests here, a prefix for each.
fn store(prefix: &str) -> Option<Store> {
    GOOGLE.as_ref().map(|google| google.store(prefix))
}

fn all(store: &Store, key: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.get(key, None).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn every_call_is_understood() {
    let Some(store) = store("calls") else { return };
    assert!(store.bucket_exists().unwrap());
    let bytes = noise(21_000_017);
    store.put("main/wals/small", bytes[..100_003].to_vec(), &WriteOptions::default()).unwrap();
    let mut upload = store.upload("main/base/large", WriteOptions::default()).unwrap();
    upload.write_all(&bytes).unwrap();
    assert!(matches!(store.head("main/base/large"), Err(CloudError::NotFound { .. })));
    assert_eq!(store.list("main/base").count(), 0, "listed before it is whole");
    assert_eq!(upload.finish().unwrap(), bytes.len() as u64);
    let info = store.head("main/base/large").unwrap();
    let listed = store.list("main/base").next().unwrap().unwrap();
    assert_eq!((&listed.etag, listed.size), (&info.etag, info.size));
    assert!(all(&store, "main/base/large") == bytes && all(&store, "main/wals/small") == bytes[..100_003]);
    let mut part = Vec::new();
    store.get("main/base/large", Some(9_000_000..19_000_000)).unwrap().read_to_end(&mut part).unwrap();
    assert!(part == bytes[9_000_000..19_000_000]);
    let keys: Vec<String> = store.list("main").map(|object| object.unwrap().key).collect();
    assert_eq!(keys, ["main/base/large", "main/wals/small"]);
    assert_eq!(store.list_dirs("main").unwrap(), ["base", "wals"]);
    let mut upload = store.upload("main/base/given-up", WriteOptions::default()).unwrap();
    upload.write_all(&bytes).unwrap();
    drop(upload);
    assert!(matches!(store.head("main/base/given-up"), Err(CloudError::NotFound { .. })));
    let removed = ["main/base/large", "main/wals/small", "main/never"].map(str::to_owned);
    store.delete(&removed).unwrap();
    for error in [store.head("main/base/large").unwrap_err(), store.get("main/never", None).unwrap_err()] {
        assert!(matches!(error, CloudError::NotFound { .. }), "{error}");
    }
    assert_eq!(store.list("main").count(), 0);
}

#[test]
fn what_either_interface_writes_the_other_has() {
    let Some(google) = GOOGLE.as_ref() else { return };
    let store = google.store("both");
    store.put("a b/c+d", &b"first"[..], &WriteOptions::default()).unwrap();
    store.put("gone", &b"x"[..], &WriteOptions::default()).unwrap();
    let program = "\
from google.cloud import storage
bucket = storage.Client().bucket('bucket')
assert bucket.blob('both/a b/c+d').download_as_bytes() == b'first'
bucket.blob('both/a b/c+d').upload_from_string(b'second')
bucket.blob('both/new').upload_from_string(b'third')
bucket.blob('both/gone').delete()
";
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/barman/bin/python");
    let mut command = std::process::Command::new(python);
    command.args(["-c", program]).envs(google.variables_of_json());
    let output = google.with_json(|| command.output().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let keys: Vec<String> = store.list("").map(|object| object.unwrap().key).collect();
    assert_eq!(keys, ["a b/c+d", "new"]);
    assert_eq!((all(&store, "a b/c+d"), all(&store, "new")), (b"second".to_vec(), b"third".to_vec()));
}
