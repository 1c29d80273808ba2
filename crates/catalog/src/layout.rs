//! Where everything of one server lies (Barman 3.19's tree).

use std::path::{Path, PathBuf};

use walfile::WalName;

use crate::locks::LockName;
use crate::{BackupId, ServerName};

/// The directories of one server. [`ServerLayout::standard`] gives Barman's defaults; each can be set to what the
/// configuration says (`backup_directory`, `basebackups_directory`, `wals_directory` and so on).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerLayout {
    /// The server.
    pub server: ServerName,
    /// `backup_directory`: `<barman_home>/<server>`.
    pub root: PathBuf,
    /// Backup records, annotations and markers.
    pub meta: PathBuf,
    /// `basebackups_directory`: one directory per backup.
    pub base: PathBuf,
    /// `wals_directory`: the archive.
    pub wals: PathBuf,
    /// `incoming_wals_directory`: where `archive_command` puts WAL files.
    pub incoming: PathBuf,
    /// `streaming_wals_directory`: where the receiver writes.
    pub streaming: PathBuf,
    /// `errors_directory`: what the archiver refused.
    pub errors: PathBuf,
    /// `xlogdb_directory`: the directory of the index; that of the archive by default.
    pub xlogdb_dir: PathBuf,
    /// `barman_lock_directory`: `<barman_home>` by default.
    pub lock_dir: PathBuf,
}

impl ServerLayout {
    /// The layout below `barman_home` when the configuration names no directory.
    pub fn standard(barman_home: &Path, server: ServerName) -> Self {
        let root = barman_home.join(server.as_str());
        Self {
            server,
            meta: root.join("meta"),
            base: root.join("base"),
            wals: root.join("wals"),
            incoming: root.join("incoming"),
            streaming: root.join("streaming"),
            errors: root.join("errors"),
            xlogdb_dir: root.join("wals"),
            lock_dir: barman_home.to_owned(),
            root,
        }
    }

    /// All directories that a server needs, the outer ones first. The lock directory is not among them.
    pub fn directories(&self) -> [&Path; 8] {
        [
            &self.root,
            &self.base,
            &self.wals,
            &self.meta,
            &self.incoming,
            &self.streaming,
            &self.errors,
            &self.xlogdb_dir,
        ]
    }

    /// `meta/<id>-backup.info`, where records are written.
    pub fn record(&self, id: &BackupId) -> PathBuf {
        self.meta.join(format!("{id}-backup.info"))
    }

    /// `base/<id>/backup.info`, where versions before 3.13.2 wrote them.
    pub fn old_record(&self, id: &BackupId) -> PathBuf {
        self.backup_dir(id).join("backup.info")
    }

    /// `meta/<id>-<key>`: an annotation such as `keep`, or a marker such as `delete_this`.
    pub fn annotation(&self, id: &BackupId, key: &str) -> PathBuf {
        self.meta.join(format!("{id}-{key}"))
    }

    /// `base/<id>/annotations/<key>`, where versions up to 3.13.2 wrote annotations.
    pub fn old_annotation(&self, id: &BackupId, key: &str) -> PathBuf {
        self.backup_dir(id).join("annotations").join(key)
    }

    /// `base/<id>`.
    pub fn backup_dir(&self, id: &BackupId) -> PathBuf {
        self.base.join(id.as_str())
    }

    /// `base/<id>/data`, or `base/<id>/pgdata` when that is what a version before 1.2 left.
    pub fn data_dir(&self, id: &BackupId) -> PathBuf {
        let dir = self.backup_dir(id);
        let old = dir.join("pgdata");
        if old.is_dir() { old } else { dir.join("data") }
    }

    /// `base/<id>/<oid>`: the files of a tablespace.
    pub fn tablespace_dir(&self, id: &BackupId, oid: u32) -> PathBuf {
        self.backup_dir(id).join(oid.to_string())
    }

    /// Whether `wals/<name>` is a directory of segments: sixteen digits of timeline and log. (`00000002.history`, which lies
    /// beside them, is as long.)
    pub fn is_hash_dir(name: &str) -> bool {
        name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    }

    /// `identity.json`.
    pub fn identity(&self) -> PathBuf {
        self.root.join("identity.json")
    }

    /// `<server>-xlog.db`: the index of the archive.
    pub fn xlogdb(&self) -> PathBuf {
        self.xlogdb_dir.join(format!("{}-xlog.db", self.server))
    }

    /// `wals/xlog.db`: the index as versions before 3.13.0 named it.
    pub fn old_xlogdb(&self) -> PathBuf {
        self.wals.join("xlog.db")
    }

    /// `meta/wal-index`: what the archived segments hold ([`wal_index`](crate::wal_index)).
    pub fn wal_index_dir(&self) -> PathBuf {
        self.meta.join("wal-index")
    }

    /// Where a file lies in the archive.
    pub fn wal(&self, name: WalName) -> PathBuf {
        match name.hash_dir() {
            Some(dir) => self.wals.join(dir).join(name.to_string()),
            None => self.wals.join(name.to_string()),
        }
    }

    /// The lock file of that purpose.
    pub fn lock(&self, name: &LockName) -> PathBuf {
        self.lock_dir.join(name.file_name(&self.server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archived_files_lie_in_hash_directories() {
        let layout = ServerLayout::standard(Path::new("/b"), ServerName::new("main").unwrap());
        for (name, path) in [
            ("0000000A0000001600000005", "/b/main/wals/0000000A00000016/0000000A0000001600000005"),
            (
                "000000010000000000000020.partial",
                "/b/main/wals/0000000100000000/000000010000000000000020.partial",
            ),
            ("0000000A.history", "/b/main/wals/0000000A.history"),
        ] {
            assert_eq!(layout.wal(name.parse().unwrap()), Path::new(path));
        }
        assert_eq!(layout.xlogdb(), Path::new("/b/main/wals/main-xlog.db"));
        assert_eq!(layout.lock(&LockName::Xlogdb), Path::new("/b/.main-xlogdb.lock"));
    }
}
