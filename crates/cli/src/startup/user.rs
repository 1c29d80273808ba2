//! Becoming the user the configuration names (`barman_user`), so that root may run every command.
//!
//! The program starts itself again under the other user: nothing of root's environment or open state is left then,
//! and what is started later finds the right `HOME`.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::failure::Failure;

/// A line of the system's user database.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Account {
    uid: u32,
    gid: u32,
    home: String,
}

/// Returns when this process already runs as `name`; otherwise starts the program again as that user.
///
/// # Errors
/// The user does not exist, or only root could become it.
pub(super) fn become_user(name: &str, config: &Path) -> Result<(), Failure> {
    let account = account(name)
        .ok_or_else(|| Failure::user(format!("the configured user '{name}' does not exists")))?;
    let current = rustix::process::geteuid();
    if current.as_raw() == account.uid {
        return Ok(());
    }
    if !current.is_root() {
        return Err(Failure::user(format!("please run barman as '{name}' user")));
    }
    Err(start_again(name, &account, config))
}

/// Comes back only when it failed. No thread was started yet, so this thread's identity is the process's.
fn start_again(name: &str, account: &Account, config: &Path) -> Failure {
    let failed = |error: std::io::Error| Failure::user(format!("cannot run as user '{name}': {error}"));
    let groups: Vec<Gid> = groups(name, account.gid).into_iter().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    let changed = set_thread_groups(&groups)
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid));
    if let Err(error) = changed {
        return failed(error.into());
    }
    let mut words = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    if let Some(own_name) = words.next() {
        command.arg0(own_name);
    }
    command
        .args(words)
        .env("HOME", &account.home)
        .env("USER", name)
        .env("LOGNAME", name)
        // The other user's home may hold another configuration; `-c` still wins.
        .env("BARMAN_CONFIG_FILE", std::path::absolute(config).unwrap_or_else(|_| config.to_owned()));
    failed(command.exec())
}

fn account(name: &str) -> Option<Account> {
    let local = std::fs::read_to_string("/etc/passwd").ok().and_then(|text| find_account(&text, name));
    // Users of directory services are not in the file.
    local.or_else(|| find_account(&output_of("getent", &["passwd", name])?, name))
}

fn find_account(text: &str, name: &str) -> Option<Account> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { uid, gid, home: fields.nth(1)?.to_owned() })
    })
}

fn groups(name: &str, own: u32) -> Vec<u32> {
    let ids = output_of("id", &["-G", "--", name]).unwrap_or_default();
    let groups: Vec<u32> = ids.split_whitespace().filter_map(|id| id.parse().ok()).collect();
    if groups.is_empty() { vec![own] } else { groups }
}

fn output_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8(output.stdout).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let text = "root:x:0:0:root:/root:/bin/bash\nbarman2:x:9:9::/x:\nbarman:x:112:117:Barman,,,:/var/lib/barman:/bin/bash\n";
        let barman = Account { uid: 112, gid: 117, home: "/var/lib/barman".to_owned() };
        assert_eq!(find_account(text, "barman"), Some(barman));
        assert_eq!(find_account(text, "bar"), None);
        assert_eq!(find_account("barman:x:many:1::/:", "barman"), None);
    }
}
