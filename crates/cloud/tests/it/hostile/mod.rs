//! Stores, and what stands before them, at their worst.

mod reading;
mod refusing;
mod server;
mod writing;

pub use server::{Reply, Request, Server, announcing, answer, error};

use tapster_cloud::{CloudError, Store, WriteOptions};

/// Errors are shown in one line, without secrets, signatures and queries.
fn assert_presentable(error: &CloudError) -> String {
    let text = error.to_string();
    for secret in ["s3cr3t", "AKIDTEST", "Signature=", "Credential=", "\n", "uploadId="] {
        assert!(!text.contains(secret), "{text:?}");
    }
    assert!(text.chars().count() < 700, "{text}");
    text
}

/// Those of every call, made at once.
fn errors(store: &Store) -> Vec<CloudError> {
    let calls: [fn(&Store) -> CloudError; 6] = [
        |store| store.head("key").unwrap_err(),
        |store| store.get("key", None).unwrap_err(),
        |store| store.put("key", vec![7; 20_000_000], &WriteOptions::default()).unwrap_err(),
        |store| store.list("").next().unwrap().unwrap_err(),
        |store| store.list_dirs("x").unwrap_err(),
        |store| store.delete(&["key".to_owned()]).unwrap_err(),
    ];
    std::thread::scope(|scope| {
        let calls = calls.map(|call| scope.spawn(move || call(store)));
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    })
}
