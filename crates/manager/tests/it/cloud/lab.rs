//! A place of one's own in the store that all tests share, segments to archive, and Barman's programs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tapster_cloud::testing::Moto;
use tapster_cloud::{Retries, Store, StoreOptions};
use tapster_manager::cloud::CloudServer;
use tempfile::TempDir;

/// Of the segments made here, so that they are quick to move.
pub const SEGMENT: u64 = 1 << 20;
pub const SYSTEM: u64 = 7_000_000_000_000_000_007;

static MOTO: OnceLock<Option<Moto>> = OnceLock::new();

pub struct Lab {
    pub moto: &'static Moto,
    pub prefix: String,
    pub dir: TempDir,
}

impl Lab {
    /// `None` when the test is to be skipped.
    pub fn new(prefix: &str) -> Option<Self> {
        let moto = MOTO.get_or_init(Moto::start).as_ref()?;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("pg_wal/archive_status")).unwrap();
        Some(Self { moto, prefix: prefix.to_owned(), dir })
    }

    pub fn store(&self) -> Store {
        self.moto.store(&self.prefix)
    }

    /// The same place by another way, which soon gives up.
    pub fn store_at(&self, endpoint: &str) -> Store {
        let mut options = StoreOptions::default();
        options.endpoint = Some(endpoint.to_owned());
        options.retries = Retries::default();
        options.retries.count = 1;
        options.retries.patience = Duration::from_secs(1);
        options.retries.read_timeout = Duration::from_secs(3);
        Store::open(&self.moto.url(&self.prefix), options, &self.moto.environment()).unwrap()
    }

    pub fn server(&self) -> CloudServer {
        CloudServer::new(self.store(), "main")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A segment in `pg_wal`, whose content depends on `seed`.
    pub fn segment(&self, name: &str, seed: u64) -> PathBuf {
        let path = self.path("pg_wal").join(name);
        std::fs::write(&path, segment(name, SYSTEM, seed)).unwrap();
        path
    }

    /// The same, to be archived.
    pub fn ready(&self, name: &str, seed: u64) -> PathBuf {
        std::fs::write(self.path("pg_wal/archive_status").join(format!("{name}.ready")), "").unwrap();
        self.segment(name, seed)
    }

    pub fn keys(&self) -> Vec<String> {
        self.store().list("main").map(|object| object.unwrap().key).collect()
    }

    /// One of Barman's own programs on this place, with arguments after the server's name. Returns its exit code and what it logged.
    pub fn barman(&self, program: &str, options: &[&str], arguments: &[&str]) -> (i32, String) {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/barman/bin/").to_owned() + program;
        let url = format!("s3://{}/{}", self.moto.bucket(), self.prefix);
        let output = Command::new(program)
            .args(["--endpoint-url", &self.moto.endpoint()])
            .args(options)
            .args([&url, "main"])
            .args(arguments)
            .envs(self.moto.variables())
            .output()
            .unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A segment as PostgreSQL 15 begins one; compressible, and different throughout for each seed.
pub fn segment(name: &str, system: u64, seed: u64) -> Vec<u8> {
    let number = |range: std::ops::Range<usize>| u64::from_str_radix(&name[range], 16).unwrap();
    let address = (number(8..16) << 32) | (number(16..24) * SEGMENT);
    let mut bytes = Vec::with_capacity(SEGMENT as usize);
    bytes.extend(0xD110_u16.to_le_bytes());
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend((number(0..8) as u32).to_le_bytes());
    bytes.extend(address.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(system.to_le_bytes());
    bytes.extend((SEGMENT as u32).to_le_bytes());
    bytes.extend(8192_u32.to_le_bytes());
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while bytes.len() < SEGMENT as usize {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend((state >> 33).to_le_bytes());
    }
    bytes.truncate(SEGMENT as usize);
    bytes
}

pub fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
