//! Whom PostgreSQL runs as: it refuses to be root.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::{VerifyRestoreError, VerifyRestoreOptions};

/// Another user, when we are root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None`: stay who we are.
    pub(super) fn for_server(name: Option<&str>) -> Result<Option<Self>, VerifyRestoreError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let name = name.unwrap_or("postgres");
        let unknown = || VerifyRestoreError::User { name: name.to_owned() };
        let local = std::fs::read_to_string("/etc/passwd").ok().and_then(|text| find(&text, name));
        // Users of directory services are not in the file.
        let found = local.or_else(|| {
            let output = Command::new("getent").args(["passwd", name]).output().ok()?;
            find(&String::from_utf8(output.stdout).ok()?, name)
        });
        let account = found.ok_or_else(unknown)?;
        if account.uid == 0 { Err(unknown()) } else { Ok(Some(account)) }
    }

    /// A program run as that user. Of this process's environment, in which passwords may be, it gets where programs and their
    /// libraries are and, when it stays the same user, where the home directory is: what `get-wal` decrypts with lies there.
    pub(super) fn command(account: Option<Self>, program: &Path, options: &VerifyRestoreOptions) -> Command {
        let mut command = Command::new(program);
        let path = std::env::join_paths(&options.path).unwrap_or_default();
        let path = if path.is_empty() { "/usr/local/bin:/usr/bin:/bin".into() } else { path };
        command.env_clear().env("PATH", path).env("LC_ALL", "C");
        if let Some(libraries) = &options.library_path {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        match account {
            Some(account) => {
                command.uid(account.uid).gid(account.gid).current_dir("/").env("HOME", "/");
            }
            None => {
                command.env("HOME", options.home.as_deref().unwrap_or(Path::new("/")));
            }
        }
        command
    }

    /// Whether it is the user with this number.
    pub(super) const fn is(self, uid: u32) -> bool {
        self.uid == uid
    }

    /// Lets the user's group read an open file of ours.
    pub(super) fn show(self, file: &std::fs::File) -> std::io::Result<()> {
        // The process's mask may have taken it away.
        file.set_permissions(std::fs::Permissions::from_mode(0o640))?;
        std::os::unix::fs::fchown(file, None, Some(self.gid))
    }

    /// Gives a tree to the user. Links themselves are given, not what they lead to. The top is given last, and nobody else gets
    /// below it before: no name there can become another file's while this goes on.
    pub(super) fn give(self, root: &Path) -> Result<(), VerifyRestoreError> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| VerifyRestoreError::Io { path, source }
        };
        let own =
            |path: &Path| std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid)).map_err(fail(path));
        let closed = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(root, closed).map_err(fail(root))?;
        let mut pending = vec![root.to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in std::fs::read_dir(&directory).map_err(fail(&directory))? {
                let entry = entry.map_err(fail(&directory))?;
                let path = entry.path();
                own(&path)?;
                if entry.file_type().map_err(fail(&path))?.is_dir() {
                    pending.push(path);
                }
            }
        }
        own(root)
    }
}

fn find(text: &str, name: &str) -> Option<Account> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        Some(Account { uid, gid: fields.next()?.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let text = "root:x:0:0::/root:/bin/sh\npostgres2:x:9:9:::\npostgres:x:105:110:x:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(find(text, "postgres"), Some(Account { uid: 105, gid: 110 }));
        assert_eq!(find(text, "post"), None);
    }

    #[test]
    fn a_program_gets_nothing_of_the_environment_that_it_does_not_need() {
        let restore = crate::RestoreOptions::new(crate::restore::BackupChoice::Auto, "/nowhere");
        let mut options = VerifyRestoreOptions::new(restore);
        options.path = vec!["/usr/bin".into(), "/bin".into()];
        options.home = Some("/home/somebody".into());
        let output = Account::command(None, Path::new("env"), &options).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["HOME=/home/somebody", "LC_ALL=C", "PATH=/usr/bin:/bin"]);
        options.library_path = Some("/opt/pg/lib:/opt/icu".into());
        let output = Account::command(None, Path::new("env"), &options).output().unwrap();
        assert!(
            String::from_utf8(output.stdout)
                .unwrap()
                .lines()
                .any(|l| l == "LD_LIBRARY_PATH=/opt/pg/lib:/opt/icu")
        );
    }
}
