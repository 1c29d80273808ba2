//! The surroundings a connection string is completed from, as data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Debian's default; other builds of libpq use `/tmp`.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];
/// Where Debian's libpq looks for `pg_service.conf` when `PGSYSCONFDIR` is not set.
const SYSTEM_CONFIGURATION: &str = "/etc/postgresql-common";

/// What libpq would read from the process: `PG*` variables, the home directory and the user's name.
///
/// An embedder (and a test) can build one by hand; then nothing outside it is looked at except the files that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// `PG*` variables by name. A variable that is set to nothing counts as set, as in libpq.
    pub variables: BTreeMap<String, String>,
    /// Where `.pgpass`, `.pg_service.conf` and `.postgresql/` are.
    pub home: Option<PathBuf>,
    /// The name of the effective user, the default of `user`.
    pub os_user: Option<String>,
    /// The directory of the server's Unix socket when no host is given.
    pub socket_directory: PathBuf,
    /// The directory of the system's `pg_service.conf` (`PGSYSCONFDIR` wins).
    pub system_configuration: PathBuf,
}

impl Default for Environment {
    /// No variables, no home, no user; the directories of a Debian system.
    fn default() -> Self {
        Self {
            variables: BTreeMap::new(),
            home: None,
            os_user: None,
            socket_directory: PathBuf::from(SOCKET_DIRECTORIES[0]),
            system_configuration: PathBuf::from(SYSTEM_CONFIGURATION),
        }
    }
}

impl Environment {
    /// Reads the process: the only place in this crate that does.
    ///
    /// Variables whose value is not UTF-8 are left out.
    #[expect(clippy::disallowed_methods, reason = "the one place where libpq's variables are read")]
    pub fn from_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("PG"))
            .collect();
        let account = Account::current();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let socket_directory = SOCKET_DIRECTORIES
            .iter()
            .map(PathBuf::from)
            .find(|directory| directory.is_dir())
            .unwrap_or_else(|| PathBuf::from(SOCKET_DIRECTORIES[0]));
        Self {
            variables,
            home: variable("HOME").map(PathBuf::from).or_else(|| account.as_ref().map(|a| a.home.clone())),
            // Directory services are not in /etc/passwd; there the login's variables are the best guess.
            os_user: account.map(|a| a.name).or_else(|| variable("LOGNAME")).or_else(|| variable("USER")),
            socket_directory,
            ..Self::default()
        }
    }

    /// The value of a `PG*` variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A file below the home directory.
    pub(crate) fn home_file(&self, name: &str) -> Option<PathBuf> {
        self.home.as_deref().map(|home: &Path| home.join(name))
    }
}

struct Account {
    name: String,
    home: PathBuf,
}

impl Account {
    fn current() -> Option<Self> {
        let uid = rustix::process::geteuid().as_raw();
        Self::find(&std::fs::read_to_string("/etc/passwd").ok()?, uid)
    }

    fn find(passwd: &str, uid: u32) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let found: u32 = fields.nth(1)?.parse().ok()?;
            let home = fields.nth(2)?;
            (found == uid).then(|| Self { name: name.to_owned(), home: PathBuf::from(home) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn account_by_user_id() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n+::::::\nbarman:x:107:113:Barman,,,:/var/lib/barman:/bin/bash\n";
        let account = Account::find(passwd, 107).unwrap();
        assert_eq!((account.name.as_str(), account.home.to_str().unwrap()), ("barman", "/var/lib/barman"));
        assert!(Account::find(passwd, 7).is_none());
    }
}
