//! Azurite, Microsoft's emulator of Azure Blob Storage.

use std::ffi::OsStr;
use std::net::SocketAddr;

use super::place;
use super::server::Server;
use crate::{Environment, Store, StoreOptions, StoreUrl};

/// The container that is there from the beginning.
const CONTAINER: &str = "bucket";
/// The account that every emulator has, with its key, which is public.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A store that speaks like Azure Blob Storage, checks signatures, and keeps everything in memory. Stopped when dropped.
#[derive(Debug)]
pub struct Azurite {
    server: Server,
}

impl Azurite {
    /// Starts one, with a container. `None`, with a reason on standard error, when there is no program: it is looked for in
    /// `TAPSTER_TEST_AZURITE`, `target/azurite` and the `PATH`.
    ///
    /// # Panics
    /// When it does not start, or the program that was named is not there.
    pub fn start() -> Option<Self> {
        let Some(program) = place::azurite() else {
            eprintln!("skipped: no program azurite-blob (scripts/setup azurite)");
            return None;
        };
        // Newer clients than it knows are told what it does know.
        let arguments = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"];
        let listen = ["--blobHost", "127.0.0.1", "--blobPort", "0"];
        let arguments: Vec<&OsStr> = arguments.iter().chain(&listen).map(OsStr::new).collect();
        let server = Server::start(&program, &arguments, "successfully listens on ");
        let azurite = Self { server };
        azurite.store("").create_bucket().expect("make a container");
        Some(azurite)
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The URL of that prefix in the container. Tests that share a store take a prefix each.
    ///
    /// # Panics
    /// When it is not one.
    pub fn url(&self, prefix: &str) -> StoreUrl {
        self.url_of(CONTAINER, prefix)
    }

    /// The same of another container.
    ///
    /// # Panics
    /// When it is not one.
    pub fn url_of(&self, container: &str, prefix: &str) -> StoreUrl {
        let url = format!("http://{}/{ACCOUNT}/{container}/{prefix}", self.address());
        url.trim_end_matches('/').parse().expect("a URL")
    }

    /// Variables as names and values, for programs too: those that Barman's tools want for an emulator.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        self.variables_with(KEY)
    }

    /// The same with another key of the account, in base64.
    pub fn variables_with(&self, key: &str) -> Vec<(&'static str, String)> {
        let address = self.address();
        let string = format!(
            "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};\
             BlobEndpoint=http://{address}/{ACCOUNT};"
        );
        vec![("AZURE_STORAGE_CONNECTION_STRING", string)]
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
        Store::open(&self.url(prefix), StoreOptions::default(), &self.environment()).expect("open a store")
    }
}
