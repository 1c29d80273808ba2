//! PostgreSQL's programs of one major release.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::VerifyRestoreError;

/// Where the programs of the wanted release are.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    directory: PathBuf,
    /// Places to look for programs that are not there, such as `psql`, whose release matters less.
    elsewhere: Vec<PathBuf>,
    /// What `postgres --version` says.
    pub(super) version: String,
}

impl Binaries {
    /// Looks in `bindir` alone when it is given; else where Debian and Red Hat put each release, then in `path`.
    pub(super) fn find(
        major: u16,
        bindir: Option<&Path>,
        path: &[PathBuf],
    ) -> Result<Self, VerifyRestoreError> {
        let mut places: Vec<PathBuf> = bindir.into_iter().map(Path::to_owned).collect();
        if places.is_empty() {
            places.push(format!("/usr/lib/postgresql/{major}/bin").into());
            places.push(format!("/usr/pgsql-{major}/bin").into());
            places.extend_from_slice(path);
        }
        let mut others = Vec::new();
        for directory in &places {
            match version(directory) {
                Some((found, version)) if found == major => {
                    let elsewhere = path.to_vec();
                    return Ok(Self { directory: directory.clone(), elsewhere, version });
                }
                Some((_, version)) => others.push(format!("{} has {version}", directory.display())),
                None => {}
            }
        }
        Err(VerifyRestoreError::NoServer { major, others })
    }

    /// The server.
    pub(super) fn postgres(&self) -> PathBuf {
        self.directory.join("postgres")
    }

    /// A client program.
    pub(super) fn client(&self, name: &str) -> Option<PathBuf> {
        std::iter::once(&self.directory)
            .chain(&self.elsewhere)
            .map(|directory| directory.join(name))
            .find(|path| path.is_file())
    }
}

fn version(directory: &Path) -> Option<(u16, String)> {
    let output = Command::new(directory.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let digits: String = text.split_whitespace().nth(2)?.chars().take_while(char::is_ascii_digit).collect();
    Some((digits.parse().ok()?, text))
}
