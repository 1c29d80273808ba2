//! Google Cloud Storage, of two emulators.
//!
//! It has two interfaces to the same objects: Barman's Python client speaks the JSON one, we the XML one, which is what S3 has but
//! for headers. Of the emulators that registries have, PyPI's `gcp-storage-emulator` knows the first and `moto` the second; so
//! objects are carried from one to the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::http::exchange;
use super::moto::{BUCKET, Moto};
use super::server::Server;
use crate::{Environment, Store, StoreOptions, StoreUrl, WriteOptions};

const PROJECT: &str = "project";
/// The program itself does not say which port it was given.
const PROGRAM: &str = "\
import time
from gcp_storage_emulator.server import create_server
server = create_server('127.0.0.1', 0, in_memory=True)
server.start()
print('Running on http://127.0.0.1:%d' % server._api._httpd.server_address[1], flush=True)
while True:
    time.sleep(3600)
";

/// A store that speaks like Google Cloud Storage, empty but for one bucket. It takes any credentials. Stopped when dropped.
#[derive(Debug)]
pub struct Google {
    xml: Moto,
    json: Server,
    /// What is with both: the key, and what the XML interface calls its content.
    carried: Mutex<BTreeMap<String, String>>,
}

impl Google {
    /// Starts one. `None` when the test is to be skipped.
    ///
    /// # Panics
    /// When it does not start, or is missing in CI.
    pub fn start() -> Option<Self> {
        let bin = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/barman/bin"));
        if !bin.join("gcp-storage-emulator").is_file() {
            assert!(std::env::var_os("CI").is_none(), "no gcp-storage-emulator in {}", bin.display());
            eprintln!("skipped: no gcp-storage-emulator in {} (scripts/setup cloud)", bin.display());
            return None;
        }
        let xml = Moto::start()?;
        let json = Server::start(&bin.join("python"), &["-c", PROGRAM].map(OsStr::new), "Running on ");
        let google = Self { xml, json, carried: Mutex::default() };
        let body = format!("{{\"name\": \"{BUCKET}\"}}");
        let target = format!("/storage/v1/b?project={PROJECT}");
        google.ask("POST", &target, "application/json", body.as_bytes());
        Some(google)
    }

    /// Where the XML interface is.
    pub const fn address(&self) -> SocketAddr {
        self.xml.address()
    }

    /// The URL of that prefix in the bucket.
    ///
    /// # Panics
    /// When it is not one.
    #[allow(clippy::unused_self, reason = "only there when the store is")]
    pub fn url(&self, prefix: &str) -> StoreUrl {
        format!("gs://{BUCKET}/{prefix}").parse().expect("a URL")
    }

    /// Variables as names and values for who speaks the XML interface.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        Self::variables_at(self.address())
    }

    /// The same for who speaks the JSON interface, such as Barman's tools: within [`with_json`](Self::with_json).
    pub fn variables_of_json(&self) -> Vec<(&'static str, String)> {
        Self::variables_at(self.json.address())
    }

    fn variables_at(address: SocketAddr) -> Vec<(&'static str, String)> {
        let host = format!("http://{address}");
        vec![("STORAGE_EMULATOR_HOST", host), ("GOOGLE_CLOUD_PROJECT", PROJECT.to_owned())]
    }

    /// Those of [`variables`](Self::variables) for [`Store::open`].
    pub fn environment(&self) -> Environment {
        self.variables().into_iter().collect()
    }

    /// The store below that prefix.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn store(&self, prefix: &str) -> Store {
        Store::open(&self.url(prefix), StoreOptions::default(), &self.environment()).expect("open a store")
    }

    /// Does `work` that uses the JSON interface: what there is is there too, and what it changes is here too afterwards.
    ///
    /// # Panics
    /// When an object cannot be carried.
    pub fn with_json<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        let store = self.store("");
        let mut here: BTreeMap<String, String> = BTreeMap::new();
        for object in store.list("") {
            let object = object.expect("list the bucket");
            here.insert(object.key, object.etag.unwrap_or_default());
        }
        for key in carried.keys().filter(|key| !here.contains_key(*key)) {
            self.ask("DELETE", &object(key), "", b"");
        }
        let is_there = |key: &str, etag: &String| carried.get(key).is_some_and(|known| known == etag);
        for (key, _) in here.iter().filter(|(key, etag)| !is_there(key, etag)) {
            let bytes = store.read(key, u64::MAX).expect("read an object");
            let target = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={}", encoded(key));
            self.ask("POST", &target, "application/octet-stream", &bytes);
        }
        let before = self.json();
        let done = work();
        let after = self.json();
        let gone: BTreeSet<&String> = before.keys().filter(|key| !after.contains_key(*key)).collect();
        for key in &gone {
            store.delete(&[(*key).clone()]).expect("remove an object");
        }
        for (key, _) in after.iter().filter(|(key, sum)| before.get(*key) != Some(*sum)) {
            let target = format!("/download{}?alt=media", object(key));
            let bytes = self.ask("GET", &target, "", b"");
            store.put(key, bytes, &WriteOptions::default()).expect("write an object");
        }
        carried.clear();
        for key in after.into_keys() {
            // What was removed meanwhile is looked for the next time.
            let etag = store.head(&key).ok().and_then(|info| info.etag).unwrap_or_default();
            carried.insert(key, etag);
        }
        done
    }

    /// What the JSON interface lists, with the sums of the contents.
    fn json(&self) -> BTreeMap<String, String> {
        let answer = self.ask("GET", &format!("/storage/v1/b/{BUCKET}/o"), "", b"");
        let answer: Value = serde_json::from_slice(&answer).expect("a listing");
        let items = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |item: &Value, name: &str| {
            item.get(name).and_then(Value::as_str).map(str::to_owned).unwrap_or_default()
        };
        items.iter().map(|item| (text(item, "name"), text(item, "md5Hash"))).collect()
    }

    fn ask(&self, method: &str, target: &str, kind: &str, body: &[u8]) -> Vec<u8> {
        let headers = [("Content-Type", kind)];
        let headers = if kind.is_empty() { &[][..] } else { &headers[..] };
        let (status, answer) = exchange(self.json.address(), method, target, headers, body);
        assert!((200..300).contains(&status), "{method} {target}: {status}");
        answer
    }
}

fn object(key: &str) -> String {
    format!("/storage/v1/b/{BUCKET}/o/{}", encoded(key))
}

fn encoded(key: &str) -> String {
    let mut text = String::new();
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
