//! From WAITING_FOR_WALS to DONE, to FAILED, and back.

use std::path::PathBuf;

use tapster_catalog::{BackupRecord, BackupStatus};
use tapster_manager::config::{Config, ConfigSources};
use tapster_manager::{Context, CronJob, Server, Silent, SyncStart};
use tapster_protocol::Environment;

use crate::offline::Hub;

fn segment(number: u32) -> String {
    format!("00000001{number:016X}")
}

fn archived(hub: &Hub, number: u32) -> PathBuf {
    hub.server.catalog().layout().wal(segment(number).parse().unwrap())
}

/// A backup from segment 5 to 7 that waits for its WAL.
fn waiting(hub: &Hub) -> BackupRecord {
    let mut record = hub.record.clone();
    record.status = BackupStatus::WaitingForWals;
    record.end_wal = Some(segment(7).parse().unwrap());
    hub.server.catalog().save(&record).unwrap();
    record
}

fn check(hub: &Hub, record: &BackupRecord) -> (Option<BackupStatus>, BackupRecord) {
    let mut record = hub.server.catalog().load(&record.id).unwrap();
    let told = hub.server.check_backup(&mut record).ok();
    let saved = hub.server.catalog().load(&record.id).unwrap();
    assert_eq!(record, saved);
    (told, saved)
}

#[test]
fn wal_that_waits_to_be_archived_is_not_missing() {
    let hub = Hub::new();
    let record = waiting(&hub);
    let incoming = hub.server.catalog().layout().incoming.join(segment(5));
    std::fs::rename(archived(&hub, 5), &incoming).unwrap();
    let (told, saved) = check(&hub, &record);
    assert_eq!((told, saved.error), (Some(BackupStatus::WaitingForWals), None));
    std::fs::rename(incoming, archived(&hub, 5)).unwrap();
    assert_eq!(check(&hub, &record).0, Some(BackupStatus::Done));
}

#[test]
fn a_backup_that_failed_for_wal_is_good_when_it_comes() {
    let hub = Hub::new();
    let record = waiting(&hub);
    let aside = hub.home.path().join("aside");
    std::fs::rename(archived(&hub, 6), &aside).unwrap();
    let (told, failed) = check(&hub, &record);
    assert_eq!(told, Some(BackupStatus::Failed));
    let why = "At least one WAL file is missing. The first missing WAL file is 000000010000000000000006";
    assert_eq!(failed.error.as_deref(), Some(why));
    // As Barman says of any failed backup.
    assert_eq!(check(&hub, &record), (None, failed));
    std::fs::rename(aside, archived(&hub, 6)).unwrap();
    let (told, saved) = check(&hub, &record);
    assert_eq!((told, saved.status, saved.error), (Some(BackupStatus::Done), BackupStatus::Done, None));

    let mut copy = record;
    copy.status = BackupStatus::Failed;
    copy.error = Some("failure copying files (disk on fire)".to_owned());
    hub.server.catalog().save(&copy).unwrap();
    assert_eq!(check(&hub, &copy), (None, copy));
}

/// `sync-wals` takes WAL in the order in which the primary node archived it.
#[test]
fn a_copy_waits_until_all_wal_was_looked_at() {
    let hub = Hub::new();
    let mut answer = Vec::new();
    hub.server.sync_info(&SyncStart::default(), &mut answer, &Context::new(&Silent)).unwrap();
    let conf = hub.home.path().join("passive.conf");
    let text = std::fs::read_to_string(hub.home.path().join("tapster.conf")).unwrap();
    std::fs::write(&conf, format!("{text}primary_ssh_command = false\n")).unwrap();
    let config = Config::load(&ConfigSources::file(conf)).unwrap();
    let passive = Server::open(&config, "main", Environment::default()).unwrap();
    std::fs::write(passive.primary_info_file(), &answer).unwrap();
    let mark = hub.home.path().join("main/meta/sync-wals-full");
    let looked = |seconds: i64| {
        let begun = time::OffsetDateTime::now_utc().unix_timestamp() + seconds;
        std::fs::write(&mark, format!("{}\t{}\t{begun}\n", segment(5), begun + 5)).unwrap();
    };
    let check = || {
        let mut record = waiting(&hub);
        passive.check_backup(&mut record).unwrap()
    };
    let aside = hub.home.path().join("aside");
    std::fs::rename(archived(&hub, 6), &aside).unwrap();
    assert_eq!(check(), BackupStatus::WaitingForWals);
    // One that had begun before the backup was here.
    looked(-10);
    assert_eq!(check(), BackupStatus::WaitingForWals);
    looked(10);
    assert_eq!(check(), BackupStatus::Failed);
    // It has come to be known there that it is missing, and stays so.
    std::fs::remove_file(&mark).unwrap();
    let mut failed = hub.server.catalog().load(&hub.record.id).unwrap();
    assert!(passive.check_backup(&mut failed).is_err() && failed.status == BackupStatus::Failed);
    // The primary node has the backup no more, and its WAL neither.
    let without = String::from_utf8(answer).unwrap().replace(hub.record.id.as_str(), "20200101T000000");
    std::fs::write(passive.primary_info_file(), without).unwrap();
    assert_eq!(check(), BackupStatus::Failed);
    std::fs::rename(&aside, archived(&hub, 6)).unwrap();
    assert_eq!(check(), BackupStatus::Done);
}

fn round(server: &Server) -> Vec<String> {
    let mut jobs = Vec::new();
    let mut launch = |job: &CronJob| {
        if let CronJob::CheckBackup(id) = job {
            jobs.push(id.to_string());
        }
        Ok(())
    };
    server.cron(&mut launch, &Context::new(&Silent)).unwrap();
    jobs
}

#[test]
fn a_backup_whose_wal_never_comes_holds_up_no_other() {
    let hub = Hub::new();
    let first = waiting(&hub);
    let mut second = first.clone();
    second.id = "20261122T000000".parse().unwrap();
    let mut third = first.clone();
    third.id = "20261123T000000".parse().unwrap();
    third.end_wal = Some(segment(10).parse().unwrap());
    let mut fourth = first.clone();
    fourth.id = "20261124T000000".parse().unwrap();
    fourth.status = BackupStatus::Failed;
    fourth.error = Some("At least one WAL file is missing. The first missing WAL file is X".to_owned());
    for record in [&second, &third, &fourth] {
        hub.server.catalog().save(record).unwrap();
    }
    let ids = |records: &[&BackupRecord]| records.iter().map(|r| r.id.to_string()).collect::<Vec<_>>();
    assert_eq!(round(&hub.server), ids(&[&first, &second, &fourth]));
    std::fs::remove_file(archived(&hub, 6)).unwrap();
    std::fs::create_dir_all(hub.server.catalog().layout().incoming.clone()).unwrap();
    std::fs::write(hub.server.catalog().layout().incoming.join(segment(6)), "").unwrap();
    // Of those that can only go on waiting, the oldest one, as Barman does.
    assert_eq!(round(&hub.server), ids(&[&first, &fourth]));
}
