//! Real Barman lists and shows what we wrote. Where it is not installed this says so and passes, but not in CI.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use tapster_catalog::record::PyValue;
use tapster_catalog::{BackupMode, BackupRecord, BackupStatus, CopyStats, KeepTarget, TablespaceInfo};

use crate::catalog::{id, open};

struct Barman {
    config: std::path::PathBuf,
}

impl Barman {
    fn new(home: &Path) -> Option<Self> {
        if Command::new("barman").arg("--version").output().is_err() {
            // `scripts/setup` has installed it there; a comparison that is not made must not pass.
            assert!(std::env::var_os("CI").is_none(), "barman is not installed");
            eprintln!("skipped: barman is not installed");
            return None;
        }
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let mut text = format!("[barman]\nbarman_user = {}\nbarman_home = {}\n", user.trim(), home.display());
        write!(text, "log_file = {}\n[main]\ndescription = test\n", home.join("barman.log").display())
            .unwrap();
        text +=
            "conninfo = host=/nonexistent user=nobody\nstreaming_conninfo = host=/nonexistent user=nobody\n";
        text += "backup_method = postgres\nstreaming_archiver = on\nslot_name = barman\n";
        let config = home.join("barman.conf");
        std::fs::write(&config, text).unwrap();
        Some(Self { config })
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("barman").arg("-c").arg(&self.config).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }
}

fn full_record() -> BackupRecord {
    let mut record = BackupRecord::new(id("20261121T000542"));
    record.backup_label = Some("START WAL LOCATION: 0/5000028\nLABEL: it's \"größe\"\t\u{1}\n".into());
    record.backup_name = Some("größe's".into());
    record.begin_offset = Some(40);
    record.begin_time = Some(time::macros::datetime!(2026-11-21 00:05:42.175249 +05:30));
    record.begin_wal = Some("000000010000000000000005".parse().unwrap());
    record.begin_xlog = Some("0/5000028".parse().unwrap());
    record.cluster_size = Some(23_408_329);
    let mut stats = CopyStats::default();
    stats.set_seconds("copy_time", 3.446_882);
    stats.set_seconds("total_time", 0.000_01);
    record.copy_stats = Some(stats);
    record.deduplicated_size = Some(23_400_951);
    record.end_offset = Some(0);
    record.end_time = Some(time::macros::datetime!(2026-11-21 00:05:45 +05:30));
    record.end_wal = Some("000000010000000000000005".parse().unwrap());
    record.end_xlog = Some("0/6000000".parse().unwrap());
    record.included_files = Some(vec!["/etc/it's.conf".into(), "/etc/\\n".into()]);
    record.mode = Some(BackupMode::Postgres);
    record.pgdata = Some("/srv/pg".into());
    record.server_name = Some("main".into());
    record.size = Some(23_400_951);
    record.status = BackupStatus::Done;
    record.systemid = Some("7710408692298386193".into());
    let tablespace =
        |name: &str, oid| TablespaceInfo { name: name.into(), oid, location: format!("/ts/{name}") };
    record.tablespaces = vec![tablespace("it's \"größe\"", 16386), tablespace("b\\c", 4_294_967_295)];
    record.timeline = walfile::Timeline::new(1);
    record.version = Some(150_020);
    record
}

#[test]
fn barman_reads_what_we_wrote() {
    let home = tempfile::tempdir().unwrap();
    let Some(barman) = Barman::new(home.path()) else { return };
    let catalog = open(home.path());
    for dir in catalog.layout().directories() {
        std::fs::create_dir_all(dir).unwrap();
    }
    let record = full_record();
    catalog.save(&record).unwrap();
    std::fs::create_dir_all(catalog.layout().data_dir(&record.id)).unwrap();
    catalog.set_keep_target(&record.id, KeepTarget::Standalone).unwrap();
    let mut failed = BackupRecord::new(id("20261121T000600"));
    failed.status = BackupStatus::Failed;
    failed.server_name = Some("main".into());
    failed.mode = Some(BackupMode::Postgres);
    failed.error = Some("failure copying (disk\nfull)".into());
    catalog.save(&failed).unwrap();

    let list = barman.run(&["list-backups", "main"]);
    assert!(list.contains("main 20261121T000600 - F - FAILED"), "{list}");
    assert!(
        list.contains("main 20261121T000542 'größe's' - F - Sat Nov 21 00:05:45 2026 - Size: 22.3 MiB"),
        "{list}"
    );
    let show = barman.run(&["show-backup", "main", "größe's"]);
    for line in [
        "Status                 : DONE",
        "    it's \"größe\"         : /ts/it's \"größe\" (oid: 16386)",
        "    b\\c                  : /ts/b\\c (oid: 4294967295)",
        "Begin time           : 2026-11-21 00:05:42.175249+05:30",
        "End LSN              : 0/6000000",
    ] {
        assert!(show.contains(line), "{line}\n{show}");
    }
    assert!(barman.run(&["keep", "--status", "main", "latest"]).contains("Keep: standalone"));
    assert!(barman.run(&["show-backup", "main", "last-failed"]).contains("failure copying (disk full)"));

    // And the reverse: what Barman changes, we see.
    barman.run(&["keep", "--release", "main", "latest"]);
    assert_eq!(catalog.keep_target(&record.id).unwrap(), None);
    barman.run(&["keep", "--target", "full", "main", "latest"]);
    assert_eq!(catalog.keep_target(&record.id).unwrap(), Some(KeepTarget::Full));
    barman.run(&["delete", "main", "last-failed"]);
    let left = catalog.records().unwrap();
    assert_eq!(left, [record]);
    assert!(catalog.deletions_in_progress().unwrap().is_empty());
}

/// Barman writes the record anew with its own code; not a byte may change.
#[test]
fn barman_writes_our_record_back_unchanged() {
    let home = tempfile::tempdir().unwrap();
    if Barman::new(home.path()).is_none() {
        return;
    }
    let path = home.path().join("20261121T000542-backup.info");
    let mut record = full_record();
    for number in [0.1 + 0.2, 1e16, 1e-5, 123_456_789.25, 5e-324] {
        record.copy_stats.as_mut().unwrap().set(&format!("n{number:e}"), PyValue::Float(number));
    }
    record.backup_label = Some((1..0x3000).filter_map(char::from_u32).collect());
    std::fs::write(&path, record.to_text()).unwrap();
    let script = "import sys, barman.output\nfrom barman.infofile import BackupInfo\ni = BackupInfo('20261121T000542')\n\
                  i.load(filename=sys.argv[1])\ni.save(sys.argv[1] + '.new')\n";
    // The interpreter that Barman itself runs under.
    let output = Command::new("python3").args(["-c", script]).arg(&path).output().unwrap();
    let problem = String::from_utf8_lossy(&output.stderr);
    if problem.contains("No module named 'barman'") {
        eprintln!("skipped: python3 is not the interpreter of barman");
        return;
    }
    assert!(output.status.success(), "{problem}");
    let theirs = std::fs::read_to_string(path.with_extension("info.new")).unwrap();
    for (ours, theirs) in record.to_text().lines().zip(theirs.lines()) {
        if ours.starts_with("backup_label") {
            // Of characters assigned after Python's Unicode tables our printable ones are escaped there.
            let plain = |text: &str| PyValue::parse(text.split_once('=').unwrap().1).unwrap();
            assert_eq!(plain(ours), plain(theirs));
            continue;
        }
        assert_eq!(ours, theirs);
    }
}
