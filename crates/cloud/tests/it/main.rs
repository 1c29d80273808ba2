//! Object stores: what they are asked and what they answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    unreachable_pub
)]

mod azurite;
mod credentials;
mod credentials_elsewhere;
mod faults;
mod garage;
mod google;
mod hostile;
mod moto;

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use object_store::memory::InMemory;
use tapster_cloud::{CloudError, PutMode, Store, StoreOptions, WriteOptions};

/// Bytes that differ from their neighbours, and from those a power of two away.
fn noise(count: u32) -> Vec<u8> {
    static BLOCK: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        (0..65_537_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    });
    let count = count as usize;
    let mut bytes = Vec::with_capacity(count + BLOCK.len());
    while bytes.len() < count {
        bytes.extend_from_slice(&BLOCK);
    }
    bytes.truncate(count);
    bytes
}

fn store() -> Store {
    let url = "s3://bucket/some/prefix".parse().unwrap();
    Store::new(url, Arc::new(InMemory::new()), StoreOptions::default()).unwrap()
}

#[test]
fn objects_come_out_as_they_went_in() {
    let store = store();
    let bytes = noise(20_000_003);
    let mut upload = store.upload("main/base/large", WriteOptions::default()).unwrap();
    for piece in bytes.chunks(70_001) {
        upload.write_all(piece).unwrap();
    }
    assert!(
        matches!(store.head("main/base/large"), Err(CloudError::NotFound { .. })),
        "listed before it is whole"
    );
    assert_eq!(upload.finish().unwrap(), bytes.len() as u64);
    let mut back = Vec::new();
    store.get("main/base/large", None).unwrap().read_to_end(&mut back).unwrap();
    assert!(back == bytes);
    let range = 5_000_000..9_000_001;
    let mut part = Vec::new();
    store.get("main/base/large", Some(range.clone())).unwrap().read_to_end(&mut part).unwrap();
    assert!(part == bytes[range.start as usize..range.end as usize]);
    assert!(matches!(store.read("main/base/large", 1 << 20), Err(CloudError::Invalid { .. })));
}

#[test]
fn what_is_there_is_replaced_only_when_it_may_be() {
    let store = store();
    let create = {
        let mut options = WriteOptions::default();
        options.mode = PutMode::Create;
        options
    };
    store.put("a", &b"first"[..], &create).unwrap();
    assert!(matches!(store.put("a", &b"second"[..], &create), Err(CloudError::Exists { .. })));
    let mut upload = store.upload("a", create).unwrap();
    upload.write_all(&vec![7; 20 << 20]).unwrap();
    assert!(matches!(upload.finish(), Err(CloudError::Exists { .. })));
    assert_eq!(store.read("a", 100).unwrap(), b"first");
    store.put("a", &b"third"[..], &WriteOptions::default()).unwrap();
    assert_eq!(store.read("a", 100).unwrap(), b"third");
}

#[test]
fn listings_are_of_whole_directories_below_the_prefix() {
    let store = store();
    for key in ["main/base/1/x", "main/base/2/y", "main/base/2/z", "main2/base/3/x"] {
        store.put(key, key.as_bytes().to_vec(), &WriteOptions::default()).unwrap();
    }
    let keys: Vec<String> = store.list("main").map(|object| object.unwrap().key).collect();
    assert_eq!(keys, ["main/base/1/x", "main/base/2/y", "main/base/2/z"]);
    assert_eq!(store.list_dirs("main/base").unwrap(), ["1", "2"]);
    store.delete(&[keys[0].clone(), "main/base/9/gone".to_owned()]).unwrap();
    assert_eq!(store.list_dirs("main/base").unwrap(), ["2"]);
}
