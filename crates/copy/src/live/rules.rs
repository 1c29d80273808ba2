//! What of a cluster goes into a backup.
//!
//! The sum of what `pg_basebackup` and Barman leave out (`excludeDirContents` and `excludeFiles` of `basebackup.c`, 18; the
//! exclusions of Barman 3.19): a server that starts from the backup makes all of it anew, or is harmed by it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Directories whose contents are left out, wherever they are in the tree.
pub(crate) const EMPTY_ANYWHERE: [&str; 7] =
    ["pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_stat_tmp", "pg_snapshots", "pg_subtrans"];
/// Directories of the data directory whose contents are left out: WAL comes from the archive, logs stay where they are.
pub(crate) const EMPTY_AT_ROOT: [&str; 4] = ["pg_log", "log", "pg_xlog", "pg_wal"];
/// Names left out wherever they are.
pub(crate) const NEVER: [&str; 7] = [
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
    "postmaster.pid",
    "postmaster.opts",
    "recovery.conf",
    "recovery.signal",
    "standby.signal",
];
/// Names left out of the data directory's root: those of another backup, which this server was once restored from.
pub(crate) const NEVER_AT_ROOT: [&str; 3] = ["backup_label", "tablespace_map", "backup_manifest"];
/// Beginnings of names left out wherever they are.
pub(crate) const NEVER_PREFIX: [&str; 2] = ["pgsql_tmp", "pg_internal.init"];
/// Copied last, alone.
pub(crate) const CONTROL: &str = "global/pg_control";

/// Which files of a tree are taken.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Rules {
    /// A data directory, without what lies at `elsewhere` (relative paths: tablespaces inside the data directory, which come
    /// by a tree of their own). Links in `pg_tblspc` are left out.
    Data {
        /// What is left out.
        elsewhere: BTreeSet<PathBuf>,
    },
    /// A tablespace: only the directories of this major version, `PG_<major>_*`.
    Tablespace {
        /// Such as 15.
        major: u32,
    },
    /// A backup that is stored, or another tree that nobody writes to: all of it.
    Stored {
        /// What is left out (relative paths).
        elsewhere: BTreeSet<PathBuf>,
    },
}

impl Rules {
    /// Whether the entry at `path`, relative to the tree's root, is left out.
    pub fn leaves_out(&self, path: &Path) -> bool {
        if let Self::Stored { elsewhere } = self {
            return elsewhere.contains(path);
        }
        let name = path.file_name().unwrap_or_default().as_bytes();
        let is = |names: &[&str]| names.iter().any(|other| other.as_bytes() == name);
        if is(&NEVER) || NEVER_PREFIX.iter().any(|prefix| name.starts_with(prefix.as_bytes())) {
            return true;
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        let above = parent.file_name().map(OsStr::as_bytes);
        let in_one = |names: &[&str]| names.iter().any(|other| Some(other.as_bytes()) == above);
        if in_one(&EMPTY_ANYWHERE) || (is_database(parent) && is_temporary(name)) {
            return true;
        }
        let at_root = parent.as_os_str().is_empty();
        match self {
            Self::Data { elsewhere } => {
                (at_root && is(&NEVER_AT_ROOT))
                    || (parent.parent().is_some_and(|root| root.as_os_str().is_empty())
                        && in_one(&EMPTY_AT_ROOT))
                    || path == Path::new(CONTROL)
                    || elsewhere.contains(path)
            }
            Self::Tablespace { major } => at_root && !name.starts_with(format!("PG_{major}_").as_bytes()),
            Self::Stored { .. } => false,
        }
    }

    /// Whether a symbolic link at `path` is left out; all others are followed, as rsync's `--copy-links` does.
    pub fn leaves_out_link(&self, path: &Path) -> bool {
        matches!(self, Self::Data { .. }) && path.parent() == Some(Path::new("pg_tblspc"))
    }

    /// The segment number if `path` is a file with pages.
    pub fn segment(&self, path: &Path) -> Option<u32> {
        match self {
            Self::Data { .. } => crate::pages::relation_segment(path),
            Self::Tablespace { .. } => crate::pages::tablespace_segment(path),
            Self::Stored { .. } => None,
        }
    }
}

/// `base/5`, `PG_15_202209061/5`, and the like: named by a number, below something.
pub(super) fn is_database(directory: &Path) -> bool {
    let numbered = |name: &OsStr| name.as_bytes().iter().all(u8::is_ascii_digit);
    directory.components().count() > 1 && directory.file_name().is_some_and(numbered)
}

/// `t3_16384` and `t3_16384_fsm.1`: relations of a session that does not outlive the server.
fn is_temporary(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b"t") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest.get(digits) == Some(&b'_') && rest.get(digits + 1).is_some_and(u8::is_ascii_digit)
}

/// The relation `16384` of `16384_init`, whose other forks are made anew from it: the relation is not logged.
pub(super) fn unlogged(name: &OsStr) -> Option<u32> {
    std::str::from_utf8(name.as_bytes().strip_suffix(b"_init")?).ok()?.parse().ok()
}

/// The relation a file of another fork than the initial one belongs to.
pub(super) fn logged_fork(name: &OsStr) -> Option<u32> {
    let name = name.as_bytes();
    let digits = name.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = name.get(digits..)?;
    let forks = [b"".as_slice(), b"_fsm", b"_vm"];
    let is_fork = forks
        .iter()
        .any(|fork| rest == *fork || rest.strip_prefix(*fork).is_some_and(|r| r.starts_with(b".")));
    if !is_fork {
        return None;
    }
    std::str::from_utf8(name.get(..digits)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backup_leaves_out() {
        let data = Rules::Data { elsewhere: [PathBuf::from("ts/one")].into() };
        for path in [
            "postmaster.pid",
            "postmaster.opts",
            "standby.signal",
            "recovery.signal",
            "backup_label",
            "tablespace_map",
            "backup_manifest",
            "postgresql.auto.conf.tmp",
            "current_logfiles.tmp",
            "global/pg_internal.init",
            "base/5/pg_internal.init.1234",
            "base/pgsql_tmp",
            "base/5/t3_16384",
            "base/5/t3_16384_vm.1",
            "pg_tblspc/16385/PG_15_202209061/5/t12_99",
            "pg_wal/000000010000000000000001",
            "pg_wal/archive_status",
            "log/postgresql.log",
            "pg_replslot/one",
            "pg_stat_tmp/global.stat",
            "pg_subtrans/0000",
            "global/pg_control",
            "ts/one",
        ] {
            assert!(data.leaves_out(Path::new(path)), "{path}");
        }
        for path in [
            "base/5/16384",
            "base/5/test",
            "base/5/t3_",
            "base/5/t_16384",
            "t3_16384",
            "pg_wal",
            "log",
            "pg_replslot",
            "etc/log/x",
            "etc/backup_label",
            "pg_xact/0000",
            "global/pg_filenode.map",
            "postgresql.auto.conf",
            "backup_label.old",
            "ts",
        ] {
            assert!(!data.leaves_out(Path::new(path)), "{path}");
        }
        let space = Rules::Tablespace { major: 15 };
        assert!(space.leaves_out(Path::new("PG_14_202107181")) && space.leaves_out(Path::new("lost+found")));
        assert!(!space.leaves_out(Path::new("PG_15_202209061")));
        assert!(!space.leaves_out(Path::new("PG_15_202209061/5/16384")));
        assert!(space.leaves_out(Path::new("PG_15_202209061/5/t3_1")));
        assert!(
            data.leaves_out_link(Path::new("pg_tblspc/16385")) && !data.leaves_out_link(Path::new("pg_wal"))
        );
    }

    #[test]
    fn forks_of_unlogged_relations() {
        assert_eq!(unlogged(OsStr::new("16384_init")), Some(16384));
        assert_eq!(unlogged(OsStr::new("16384")), None);
        for (name, relation) in [
            ("16384", Some(16384)),
            ("16384.2", Some(16384)),
            ("16384_vm", Some(16384)),
            ("16384_fsm.1", Some(16384)),
            ("16384_init", None),
            ("16384x", None),
            ("PG_VERSION", None),
        ] {
            assert_eq!(logged_fork(OsStr::new(name)), relation, "{name}");
        }
    }
}
