//! Listing and selecting.

use std::path::Path;

use tapster_catalog::{
    BackupId, BackupRecord, BackupStatus, Catalog, CatalogError, KeepTarget, Selector, ServerLayout,
    ServerName,
};
use time::UtcOffset;

pub fn open(home: &Path) -> Catalog {
    Catalog::open(ServerLayout::standard(home, ServerName::new("main").unwrap()), UtcOffset::UTC)
}

pub fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

pub fn record(name: &str, status: BackupStatus) -> BackupRecord {
    let mut record = BackupRecord::new(id(name));
    record.status = status;
    record.server_name = Some("main".into());
    record
}

#[test]
fn one_broken_record_hides_nothing() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    assert!(catalog.backups().unwrap().is_empty(), "no directory, no backups");
    catalog.save(&record("20260101T000000", BackupStatus::Done)).unwrap();
    catalog.save(&record("20260103T000000", BackupStatus::Done)).unwrap();
    let meta = catalog.layout().meta.clone();
    std::fs::write(meta.join("20260102T000000-backup.info"), "colour=red\n").unwrap();
    std::fs::write(meta.join("20260101T000000-keep"), "full").unwrap();
    std::fs::write(meta.join("notes-backup.info"), "x").unwrap();
    std::fs::create_dir_all(catalog.layout().base.join("lost+found")).unwrap();
    let found = catalog.backups().unwrap();
    let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["20260101T000000", "20260102T000000", "20260103T000000"]);
    assert!(found[1].1.as_ref().unwrap_err().to_string().contains("Unsupported field 'colour'"));
    assert_eq!(catalog.select(&Selector::Latest).unwrap().id, id("20260103T000000"));
    assert!(matches!(catalog.load(&id("20260102T000000")), Err(CatalogError::Record(_))));
}

#[test]
fn old_places_are_read() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    let old = id("20120101T000000");
    let dir = catalog.layout().backup_dir(&old);
    std::fs::create_dir_all(dir.join("annotations")).unwrap();
    std::fs::create_dir_all(dir.join("pgdata")).unwrap();
    std::fs::write(dir.join("backup.info"), "status=DONE\nbegin_time=2012-01-01 10:00:00\n").unwrap();
    std::fs::write(dir.join("annotations/keep"), "standalone").unwrap();
    assert_eq!(catalog.load(&old).unwrap().status, BackupStatus::Done);
    assert_eq!(catalog.keep_target(&old).unwrap(), Some(KeepTarget::Standalone));
    assert_eq!(catalog.layout().data_dir(&old), dir.join("pgdata"));
    assert!(!catalog.is_orphan(&catalog.load(&old).unwrap()));
    // What is in meta/ wins.
    catalog.save(&record("20120101T000000", BackupStatus::Failed)).unwrap();
    assert_eq!(catalog.backups().unwrap()[0].1.as_ref().unwrap().status, BackupStatus::Failed);
    assert!(catalog.release_keep(&old).unwrap());
    assert_eq!(catalog.keep_target(&old).unwrap(), None);
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(catalog.is_orphan(&catalog.load(&old).unwrap()));
}

#[test]
fn selects_as_barman_does() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    for (name, status, label, parent) in [
        ("20260101T000000", BackupStatus::Failed, None, None),
        ("20260102T000000", BackupStatus::Done, Some("monthly"), None),
        ("20260103T000000", BackupStatus::WaitingForWals, Some("twice"), None),
        ("20260104T000000", BackupStatus::Done, Some("twice"), Some("20260103T000000")),
        ("20260105T000000", BackupStatus::Failed, Some("monthly"), None),
        ("20260106T000000", BackupStatus::Started, None, None),
    ] {
        let mut record = record(name, status);
        record.backup_name = label.map(str::to_owned);
        record.parent_backup_id = parent.map(id);
        catalog.save(&record).unwrap();
    }
    let day =
        |text: &str| catalog.select(&Selector::from(text)).map(|record| record.id.as_str()[6..8].to_owned());
    for (text, expected) in [
        ("latest", "04"),
        ("last", "04"),
        ("oldest", "02"),
        ("first", "02"),
        ("latest-full", "03"),
        ("last-full", "03"),
        ("last-failed", "05"),
        ("20260106T000000", "06"),
        ("monthly", "02"),
    ] {
        assert_eq!(day(text).unwrap(), expected, "{text}");
    }
    assert_eq!(
        day("twice").unwrap_err().to_string(),
        "Multiple backups found matching name 'twice' (try using backup ID instead): 20260103T000000 20260104T000000"
    );
    for text in ["fail", "20200101T000000", "", "../x"] {
        assert_eq!(day(text).unwrap_err().to_string(), format!("Unknown backup '{text}' for server 'main'"));
    }
    let records = catalog.records().unwrap();
    let previous = tapster_catalog::previous_of(&records, &id("20260106T000000")).unwrap();
    let next = tapster_catalog::next_of(&records, &id("20260101T000000")).unwrap();
    assert_eq!((previous.id, next.id), (id("20260104T000000"), id("20260102T000000")));
}
