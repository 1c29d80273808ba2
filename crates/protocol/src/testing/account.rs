//! Whom the server runs as: itself refuses to be root.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Another user, when we are root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None`: stay who we are.
    pub(super) fn for_server() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let accounts = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
        let find = |name: &str| {
            accounts.lines().find_map(|line| {
                let mut fields = line.split(':');
                if fields.next() != Some(name) {
                    return None;
                }
                let uid = fields.nth(1)?.parse().ok()?;
                let gid = fields.next()?.parse().ok()?;
                Some(Self { uid, gid })
            })
        };
        Some(find("postgres").or_else(|| find("nobody")).expect("a user 'postgres' or 'nobody'"))
    }

    pub(super) fn command(account: Option<Self>, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        if let Some(account) = account {
            command.uid(account.uid).gid(account.gid).current_dir("/").env("HOME", "/tmp");
        }
        command.env("LC_ALL", "C").env_remove("PGDATA");
        command
    }

    pub(super) fn own(account: Option<Self>, path: &Path) {
        if let Some(account) = account {
            std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
                .expect("chown for the server");
        }
    }
}
