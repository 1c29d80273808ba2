//! Catalogs without a server: records, files and WAL as the two programs leave them, and both programs on equal copies.

use std::path::{Path, PathBuf};
use std::process::Command;

use tapster_catalog::{
    BackupId, BackupMode, BackupRecord, BackupStatus, Catalog, ServerLayout, ServerName, UtcOffset,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use crate::lab::user;
use crate::program::{Run, original, run_as};

/// A catalog of the one server `main`.
pub struct Shelf {
    home: TempDir,
}

/// A segment of timeline 1.
pub fn segment(number: u32) -> String {
    format!("0000000100000000{number:08X}")
}

impl Shelf {
    pub fn new(extra: &str) -> Self {
        let shelf = Self { home: tempfile::tempdir().unwrap() };
        shelf.configure(extra);
        for dir in shelf.catalog().layout().directories() {
            std::fs::create_dir_all(dir).unwrap();
        }
        std::fs::write(shelf.wals().join("main-xlog.db"), "").unwrap();
        shelf
    }

    pub fn configure(&self, extra: &str) {
        let text = format!(
            "[barman]\nbarman_home = {home}/home\nbarman_user = {user}\nlog_file = {home}/log\n[main]\nconninfo = host=/none\n\
             streaming_conninfo = host=/none\nbackup_method = postgres\nstreaming_archiver = on\nslot_name = x\n{extra}",
            home = self.home.path().display(),
            user = user(),
        );
        std::fs::write(self.path("conf"), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.path("home")
    }

    pub fn server_dir(&self) -> PathBuf {
        self.path("home/main")
    }

    pub fn wals(&self) -> PathBuf {
        self.path("home/main/wals")
    }

    pub fn catalog(&self) -> Catalog {
        let layout = ServerLayout::standard(&self.root(), ServerName::new("main").unwrap());
        Catalog::open(layout, UtcOffset::UTC)
    }

    /// A backup of this many days ago with some files, which needs one segment.
    pub fn add(&self, days: i64, wal: u32) -> BackupRecord {
        let end = OffsetDateTime::now_utc() - Duration::days(days);
        let id = format!("{}{:02}{:02}T020000", end.year(), u8::from(end.month()), end.day());
        let mut record = BackupRecord::new(id.parse().unwrap());
        record.status = BackupStatus::Done;
        record.mode = Some(BackupMode::Postgres);
        record.server_name = Some("main".to_owned());
        record.begin_time = Some(end - Duration::minutes(5));
        record.end_time = Some(end);
        record.begin_wal = Some(segment(wal).parse().unwrap());
        record.end_wal = record.begin_wal;
        record.begin_xlog = Some(format!("0/{:X}", (u64::from(wal) << 24) + 40).parse().unwrap());
        record.end_xlog = Some(format!("0/{:X}", (u64::from(wal) << 24) + 312).parse().unwrap());
        (record.begin_offset, record.end_offset) = (Some(40), Some(312));
        record.timeline = record.begin_wal.map(|wal: walfile::SegmentName| wal.timeline());
        (record.size, record.deduplicated_size) = (Some(4), Some(4));
        record.version = Some(150_020);
        record.systemid = Some("7710408692298386193".to_owned());
        record.pgdata = Some("/srv/pg".into());
        self.catalog().save(&record).unwrap();
        let data = self.catalog().layout().backup_dir(&record.id).join("data");
        std::fs::create_dir_all(data.join("base/1")).unwrap();
        std::fs::create_dir_all(data.join("pg_wal/archive_status")).unwrap();
        for file in ["PG_VERSION", "base/1/1259", "base/1/2", "backup_label"] {
            std::fs::write(data.join(file), "x").unwrap();
        }
        record
    }

    pub fn save(&self, record: &BackupRecord) {
        self.catalog().save(record).unwrap();
    }

    /// Archives files of these names, in this order, behind what is there.
    pub fn archive(&self, names: &[String]) {
        use std::io::Write as _;
        let mut index =
            std::fs::OpenOptions::new().append(true).open(self.wals().join("main-xlog.db")).unwrap();
        for name in names {
            let path = self.catalog().layout().wal(name.parse().unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "wal").unwrap();
            writeln!(index, "{name}\t3\t1795219542.4817226\tNone\tNone").unwrap();
        }
    }

    pub fn run(&self, args: &[&str]) -> Run {
        run_as("barman", &[&["-c", self.path("conf").to_str().unwrap()], args].concat())
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?}: {run:?}");
        run.stdout
    }

    /// Runs both programs, each on the catalog as it is now, holds that they leave the same on disk, and hands out what they
    /// said, ours first. The catalog is then as we left it. `None` where Barman is not installed.
    pub fn both(&self, args: &[&str]) -> Option<(Run, Run)> {
        self.each(args, true)
    }

    /// The same whatever they leave on disk.
    pub fn both_said(&self, args: &[&str]) -> Option<(Run, Run)> {
        self.each(args, false)
    }

    fn each(&self, args: &[&str], compare: bool) -> Option<(Run, Run)> {
        let conf = self.path("conf");
        let aside = self.path("aside");
        copy(&self.root(), &aside);
        let theirs = original("barman", &[&["-c", conf.to_str().unwrap()], args].concat());
        let by_them = self.path("by-them");
        std::fs::rename(self.root(), &by_them).unwrap();
        std::fs::rename(&aside, self.root()).unwrap();
        let ours = self.run(args);
        if compare && theirs.is_some() {
            assert_eq!(tree(&self.root()), tree(&by_them), "{args:?}: {ours:?} {theirs:?}");
        }
        std::fs::remove_dir_all(by_them).unwrap();
        Some((ours, theirs?))
    }
}

pub fn id(record: &BackupRecord) -> String {
    let id: BackupId = record.id;
    id.to_string()
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Every file below `root` with its content; the locks aside, and what only we keep there.
fn tree(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if name.contains(".lock") || name.contains("wal-index") {
                continue;
            }
            if path.is_symlink() {
                found.push((name, format!("-> {}", std::fs::read_link(&path).unwrap().display())));
            } else if path.is_dir() {
                found.push((name, "directory".to_owned()));
                dirs.push(path);
            } else {
                found.push((name, String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()));
            }
        }
    }
    found.sort();
    found
}
