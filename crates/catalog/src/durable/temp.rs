//! Names of temporary files: `.<final name>.tapster-<pid>-<token>-<n>.tmp`.
//!
//! Barman ignores them (hidden, ending `.tmp`), and nothing else looks like them: a name that merely contains
//! `.tmp` is never touched.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Disk, DurableError, Owner, Step, parent, remove_file_unsynced, sync_dir};

/// This process, as the owner of temporary files.
pub(super) fn this_process() -> Owner {
    static OWNER: OnceLock<Owner> = OnceLock::new();
    *OWNER.get_or_init(|| Owner { pid: std::process::id(), token: random_token() })
}

/// A number that no other process has; from the seed that the standard library draws for its hash tables.
pub(super) fn random_token() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

pub(super) fn name_for(disk: &dyn Disk, target: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Owner { pid, token } = disk.owner();
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".tapster-{pid}-{token:016x}-{}.tmp", NEXT.fetch_add(1, Ordering::Relaxed)));
    parent(target).join(name)
}

/// Whether this is the name of a temporary file made by [`Publish`](super::Publish).
pub fn is_temp_name(name: &OsStr) -> bool {
    owner_of(name).is_some()
}

fn owner_of(name: &OsStr) -> Option<Owner> {
    let stem = name.to_str()?.strip_prefix('.')?.strip_suffix(".tmp")?;
    let (target, tail) = stem.rsplit_once(".tapster-")?;
    let mut parts = tail.split('-');
    let pid = parts.next()?.parse().ok()?;
    let token = parts.next().filter(|token| token.len() == 16)?;
    let token = u64::from_str_radix(token, 16).ok()?;
    parts.next()?.parse::<u64>().ok()?;
    (parts.next().is_none() && !target.is_empty()).then_some(Owner { pid, token })
}

/// Removes the temporary files that crashed runs left in `dir`, and returns their names. Files of living
/// processes stay. Call it under the lock that guards the writers of `dir`. A missing directory holds none.
///
/// # Errors
/// When the directory cannot be read, or a file not removed.
pub fn remove_stale(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>, DurableError> {
    let mut removed = Vec::new();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(removed),
        Err(e) => return Err(DurableError::io(Step::Read, dir, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| DurableError::io(Step::Read, dir, e))?;
        if owner_of(&entry.file_name()).is_some_and(|owner| is_dead(owner, disk.owner())) {
            let path = entry.path();
            if remove_file_unsynced(disk, &path)? {
                removed.push(path);
            }
        }
    }
    if !removed.is_empty() {
        sync_dir(disk, dir)?;
    }
    Ok(removed)
}

fn is_dead(owner: Owner, us: Owner) -> bool {
    if owner.pid == us.pid {
        return owner.token != us.token;
    }
    let pid = i32::try_from(owner.pid).ok().and_then(rustix::process::Pid::from_raw);
    // EPERM means that it lives and belongs to somebody else.
    pid.is_none_or(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::RealDisk;

    #[test]
    fn only_our_own_names_are_temporary() {
        let own = name_for(&RealDisk, Path::new("/x/000000010000000000000001"));
        assert!(is_temp_name(own.file_name().unwrap()), "{own:?}");
        for name in [
            "a.tmp",
            ".tmp",
            ".a.tmp",
            "a.tapster-1-0123456789abcdef-0.tmp",
            ".a.tapster-1-0123456789abcdef-0.tmp.keep",
            ".a.tapster-1-0123456789abcdef-0-1.tmp",
            ".a.tapster-1-0123456789abcde-0.tmp",
            "..tapster-1-.tmp",
            ".a.tapster-x-0123456789abcdef-0.tmp",
            "000000010000000000000001.tmp",
        ] {
            assert!(!is_temp_name(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn the_living_keep_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let us = this_process();
        let make = |pid: u32, token: u64| {
            let path = dir.path().join(format!(".a.tapster-{pid}-{token:016x}-0.tmp"));
            std::fs::File::create(&path).unwrap();
            path
        };
        let ours = make(us.pid, us.token);
        let parent_process = make(std::os::unix::process::parent_id(), 1);
        // The same process id in an earlier life, and one beyond the kernel's highest.
        let mut dead = vec![make(us.pid, us.token ^ 1), make(0x7FFF_FFF0, 2)];
        let mut removed = remove_stale(&RealDisk, dir.path()).unwrap();
        removed.sort();
        dead.sort();
        assert_eq!(removed, dead);
        assert!(ours.exists() && parent_process.exists());
    }
}
