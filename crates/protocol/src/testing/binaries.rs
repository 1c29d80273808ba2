//! Where the servers are.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs of one major version.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The `bin` directory.
    pub directory: PathBuf,
    /// The major version.
    pub major: u32,
}

impl Binaries {
    /// The path of one of the programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn at(directory: &Path) -> Option<Self> {
        let output = Command::new(directory.join("postgres")).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().nth(2)?;
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        Some(Self { directory: directory.to_owned(), major: digits.parse().ok()? })
    }
}

/// The servers on this machine, newest first; empty when tests are to be skipped.
///
/// # Panics
/// When there is none and the environment demands one.
pub fn servers() -> Vec<Binaries> {
    let setting = std::env::var("TAPSTER_TEST_PG").unwrap_or_default();
    let directories: Vec<PathBuf> = if setting.is_empty() || setting == "require" {
        let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        installed.flatten().map(|entry| entry.path().join("bin")).collect()
    } else {
        setting.split(':').filter(|part| !part.is_empty()).map(PathBuf::from).collect()
    };
    let mut found: Vec<Binaries> = directories.iter().filter_map(|path| Binaries::at(path)).collect();
    found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
    if found.is_empty() {
        let required = !setting.is_empty() || std::env::var_os("CI").is_some();
        assert!(!required, "no PostgreSQL server found in {directories:?}");
        eprintln!("skipped: no PostgreSQL server found");
    }
    found
}
