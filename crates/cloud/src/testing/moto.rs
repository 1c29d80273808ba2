//! `moto_server`.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::http::request;
use super::server::Server;
use crate::{Environment, Store, StoreOptions, StoreUrl};

/// The name of the bucket that is there from the beginning.
pub(super) const BUCKET: &str = "bucket";

/// Without one, only what is public can be read. Nobody checks it.
const SOME_SIGNATURE: &str =
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// A store that speaks like S3, empty but for one bucket. It is stopped when this is dropped, or when the test's process ends, so
/// that it can also be a `static`.
///
/// It takes any credentials, and signatures are not checked.
#[derive(Debug)]
pub struct Moto {
    server: Server,
    is_tls: bool,
}

impl Moto {
    /// Starts one. `None` when the test is to be skipped.
    ///
    /// # Panics
    /// When it does not start, or is missing in CI.
    pub fn start() -> Option<Self> {
        let moto = Self::start_with(&[])?;
        moto.create_bucket(BUCKET);
        Some(moto)
    }

    /// Starts one that speaks TLS, with a certificate and its key in PEM. It has no bucket.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_tls(certificate: &Path, key: &Path) -> Option<Self> {
        Self::start_with(&["-c".as_ref(), certificate.as_os_str(), "-k".as_ref(), key.as_os_str()])
    }

    fn start_with(arguments: &[&OsStr]) -> Option<Self> {
        let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/barman/bin/moto_server");
        let program =
            std::env::var_os("TAPSTER_TEST_MOTO").map_or_else(|| PathBuf::from(installed), PathBuf::from);
        if !program.is_file() {
            assert!(std::env::var_os("CI").is_none(), "no moto_server at {}", program.display());
            eprintln!("skipped: no moto_server at {} (scripts/setup cloud)", program.display());
            return None;
        }
        let mut all: Vec<&OsStr> = ["-H", "127.0.0.1", "-p", "0"].map(OsStr::new).to_vec();
        all.extend(arguments);
        let server = Server::start(&program, &all, "Running on ");
        Some(Self { server, is_tls: !arguments.is_empty() })
    }

    /// `http://127.0.0.1:PORT` or `https://`, what `--endpoint-url` takes.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.address())
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The name of the bucket that is there.
    #[allow(clippy::unused_self, reason = "only there when the store is")]
    pub const fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// The URL of that prefix in the bucket. Tests that share a store take a prefix each.
    ///
    /// # Panics
    /// When it is not one.
    pub fn url(&self, prefix: &str) -> StoreUrl {
        format!("s3://{BUCKET}/{prefix}").parse().expect("a URL")
    }

    /// Options that lead to it.
    pub fn options(&self) -> StoreOptions {
        StoreOptions { endpoint: Some(self.endpoint()), ..StoreOptions::default() }
    }

    /// Variables as names and values, for programs too: some credentials and a region.
    #[allow(clippy::unused_self, reason = "only there when the store is")]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
        ]
    }

    /// The same for [`Store::open`].
    pub fn environment(&self) -> Environment {
        self.variables().into_iter().collect()
    }

    /// The store below that prefix.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn store(&self, prefix: &str) -> Store {
        Store::open(&self.url(prefix), self.options(), &self.environment()).expect("open a store")
    }

    /// Makes another bucket.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn create_bucket(&self, name: &str) {
        self.request("PUT", &format!("/{name}"), &[]);
    }

    /// Makes a bucket whose objects can be locked.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn create_locking_bucket(&self, name: &str) {
        self.request("PUT", &format!("/{name}"), &[("x-amz-bucket-object-lock-enabled", "true")]);
    }

    /// Any request without a body: `GET /bucket?uploads`. Returns the whole answer.
    ///
    /// # Panics
    /// When the answer is not a success.
    pub fn request(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
        self.send(method, target, headers, b"")
    }

    /// Any request. Returns the whole answer.
    ///
    /// # Panics
    /// When the answer is not a success.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
        let mut headers = headers.to_vec();
        headers.push(("Authorization", SOME_SIGNATURE));
        let (status, answer) = request(self.address(), method, target, &headers, body);
        assert!((200..300).contains(&status), "{method} {target}: {answer}");
        answer
    }
}
