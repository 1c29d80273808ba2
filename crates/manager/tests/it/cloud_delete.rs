//! Deleting base backups in an object store, and being interrupted.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use tapster_catalog::{BackupId, BackupRecord, BackupStatus, KeepTarget};
use tapster_cloud::testing::Moto;
use tapster_cloud::{CloudError, Store, WriteOptions};
use tapster_manager::cloud::CloudServer;
use tapster_manager::cloud::delete::{CloudDeleteError, CloudDeleteOptions};
use time::OffsetDateTime;
use walfile::Timeline;

const OLD: &str = "20260101T000000";
const NEW: &str = "20260102T000000";

fn put(server: &CloudServer, key: &str, content: &str) {
    server.store().put(key, content.to_owned(), &WriteOptions::default()).unwrap();
}

/// Two backups, and WAL from before each.
fn filled(store: Store) -> CloudServer {
    let server = CloudServer::new(store, "main");
    for (id, begin) in [(OLD, "00000001000000000000000A"), (NEW, "00000001000000010000000A")] {
        let mut record = BackupRecord::new(id.parse().unwrap());
        record.status = BackupStatus::Done;
        record.timeline = Timeline::new(1);
        record.begin_wal = Some(begin.parse().unwrap());
        record.end_wal = record.begin_wal;
        put(&server, &format!("main/base/{id}/backup.info"), &record.to_text());
        for name in ["data.tar", "data_0001.tar", "99.tar"] {
            put(&server, &format!("main/base/{id}/{name}"), "archive");
        }
    }
    for name in [
        "000000010000000000000009",
        "00000001000000000000000A",
        "000000010000000100000009",
        "00000001000000010000000A",
    ] {
        put(&server, &format!("main/wals/{}/{name}.zst", &name[..16]), "wal");
    }
    server
}

fn keys(server: &CloudServer) -> Vec<String> {
    server.store().list("main").map(|object| object.unwrap().key).collect()
}

fn id(text: &str) -> BackupId {
    text.parse().unwrap()
}

fn now() -> CloudDeleteOptions {
    CloudDeleteOptions::at(OffsetDateTime::now_utc())
}

/// Passes requests on to a store, but for those that remove objects.
fn without_deletions(store: SocketAddr) -> SocketAddr {
    without_deletions_of(store, "")
}

/// Passes requests on to a store, but for those that remove objects with `what` in a key.
fn without_deletions_of(store: SocketAddr, what: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            std::thread::spawn(move || pass_on(client.unwrap(), store, what));
        }
    });
    address
}

fn pass_on(mut client: TcpStream, store: SocketAddr, what: &str) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (reader.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = Vec::new();
    reader.take(length.unwrap_or(0)).read_to_end(&mut body).ok()?;
    let is_refused = head.starts_with("POST") && head.contains("?delete");
    if is_refused && String::from_utf8_lossy(&body).contains(what) {
        let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return client.shutdown(Shutdown::Write).ok();
    }
    // One request for each connection, so that none goes by unseen.
    let mut upstream = TcpStream::connect(store).ok()?;
    write!(upstream, "{}\r\nConnection: close\r\n\r\n", head.trim_end()).ok()?;
    upstream.write_all(&body).ok()?;
    std::io::copy(&mut upstream, &mut client).ok()?;
    client.shutdown(Shutdown::Both).ok()
}

#[test]
fn a_deletion_that_breaks_off_leaves_no_backup_that_looks_whole_and_is_finished_later() {
    let Some(moto) = Moto::start() else { return };
    let server = filled(moto.store("broken"));
    let before = keys(&server);
    let mut options = moto.options();
    options.endpoint = Some(format!("http://{}", without_deletions(moto.address())));
    options.retries.count = 0;
    let cut_off = Store::open(&moto.url("broken"), options, &moto.environment()).unwrap();
    let refused = CloudServer::new(cut_off, "main").delete_backup(&id(OLD), &now()).unwrap_err();
    assert!(matches!(&refused, CloudDeleteError::Backup { id: of, .. } if *of == id(OLD)), "{refused}");
    // Everything is there, and whoever looks is told.
    assert_eq!(keys(&server), before);
    let record = server.record(&id(OLD)).unwrap().unwrap();
    assert_eq!(record.status, BackupStatus::Failed);
    assert!(record.error.unwrap().contains("deletion"));
    assert_eq!(server.catalog().unwrap().backups[&id(NEW)].record.status, BackupStatus::Done);
    // As if it had come further; then the policy finishes what was begun, and takes the WAL along.
    server.store().delete(&[format!("main/base/{OLD}/data.tar")]).unwrap();
    server.enforce_retention(&"redundancy 2".parse().unwrap(), &now()).unwrap();
    let left = keys(&server);
    assert!(left.iter().all(|key| key.contains(NEW) || key.contains("00000001000000010000000A")), "{left:?}");
    assert_eq!(left.len(), 5);
    // Of one whose record is lost, only what is asked for by its id goes.
    server.store().delete(&[format!("main/base/{NEW}/backup.info")]).unwrap();
    server.enforce_retention(&"redundancy 0".parse().unwrap(), &now()).unwrap();
    assert_eq!(keys(&server).len(), 4);
    server.delete_backup(&id(NEW), &now()).unwrap();
    assert_eq!(keys(&server).len(), 1);
    assert!(matches!(server.delete_backup(&id(NEW), &now()), Err(CloudDeleteError::NoBackup { .. })));
}

#[test]
fn a_backup_with_a_locked_object_stays_as_it_is() {
    let Some(moto) = Moto::start() else { return };
    moto.create_locking_bucket("locking");
    let url = "s3://locking/p".parse().unwrap();
    let server = filled(Store::open(&url, moto.options(), &moto.environment()).unwrap());
    let before = keys(&server);
    let held = format!("/locking/p/main/base/{OLD}/99.tar?legal-hold");
    moto.send("PUT", &held, &[], b"<LegalHold><Status>ON</Status></LegalHold>");
    let mut options = now();
    options.check_locks = true;
    let refused = server.delete_backup(&id(OLD), &options).unwrap_err();
    let CloudDeleteError::Backup { source: CloudError::Denied { key, .. }, .. } = &refused else {
        panic!("{refused}")
    };
    assert_eq!(key, &format!("main/base/{OLD}/99.tar"));
    assert_eq!(keys(&server), before);
    assert_eq!(server.record(&id(OLD)).unwrap().unwrap().status, BackupStatus::Done);
    moto.send("PUT", &held, &[], b"<LegalHold><Status>OFF</Status></LegalHold>");
    server.delete_backup(&id(OLD), &options).unwrap();
    assert!(!keys(&server).iter().any(|key| key.contains(OLD)));
}

#[test]
fn a_record_that_cannot_be_read_stops_every_deletion_and_hides_nothing() {
    let Some(moto) = Moto::start() else { return };
    let server = filled(moto.store("unreadable"));
    put(&server, "main/base/20260103T000000/backup.info", "status=\u{0}\nversion=x\n");
    let catalog = server.catalog().unwrap();
    assert_eq!((catalog.backups.len(), catalog.unreadable.len()), (2, 1));
    let before = keys(&server);
    for result in [
        server.delete_backup(&id(OLD), &now()),
        server.enforce_retention(&"redundancy 1".parse().unwrap(), &now()),
    ] {
        assert!(matches!(result, Err(CloudDeleteError::Unreadable { .. })), "{result:?}");
    }
    assert_eq!(keys(&server), before);
    let mut options = now();
    options.minimum_redundancy = 2;
    server.store().delete(&["main/base/20260103T000000/backup.info".to_owned()]).unwrap();
    let refused = server.delete_backup(&id(OLD), &options);
    assert!(matches!(refused, Err(CloudDeleteError::MinimumRedundancy { current: 2, .. })), "{refused:?}");
}

#[test]
fn a_backup_of_volume_snapshots_keeps_its_record_and_its_wal() {
    let Some(moto) = Moto::start() else { return };
    let server = filled(moto.store("snapshots"));
    let (snapshots, newest) = ("20260101T120000", "20260103T000000");
    let mut record = BackupRecord::new(id(snapshots));
    record.status = BackupStatus::Done;
    record.timeline = Timeline::new(1);
    record.begin_wal = Some("00000001000000000000000B".parse().unwrap());
    record.end_wal = record.begin_wal;
    record.snapshots_info = Some(r#"{"provider": "gcp", "snapshots": []}"#.to_owned());
    put(&server, &format!("main/base/{snapshots}/backup.info"), &record.to_text());
    put(&server, "main/wals/0000000100000000/00000001000000000000000B.zst", "wal");
    let mut last = server.record(&id(NEW)).unwrap().unwrap();
    last.id = id(newest);
    put(&server, &format!("main/base/{newest}/backup.info"), &last.to_text());
    let before = keys(&server);
    let refused = server.delete_backup(&id(snapshots), &now()).unwrap_err();
    assert!(matches!(refused, CloudDeleteError::Snapshots { id: of } if of == id(snapshots)), "{refused}");
    assert_eq!(keys(&server), before);
    // Backups on both sides of it go; of the WAL, what comes before it.
    let policy = "redundancy 1".parse().unwrap();
    assert_eq!(server.plan_retention(&policy, &now()).unwrap().snapshots, [id(snapshots)]);
    server.enforce_retention(&policy, &now()).unwrap();
    let left = keys(&server);
    let gone = |key: &&String| !left.contains(key);
    let gone: Vec<&String> = before.iter().filter(gone).collect();
    let (backups, wal): (Vec<&String>, Vec<&String>) = gone.iter().partition(|key| key.contains("/base/"));
    assert!(backups.iter().all(|key| key.contains(OLD) || key.contains(NEW)), "{backups:?}");
    assert_eq!(backups.len(), 8);
    let names: Vec<&str> = wal.iter().map(|key| &key[key.len() - 28..]).collect();
    assert_eq!(names, ["000000010000000000000009.zst", "00000001000000000000000A.zst"]);
}

#[test]
fn wal_of_a_backup_under_way_stays_until_it_has_been_silent_for_a_week() {
    let Some(moto) = Moto::start() else { return };
    let server = filled(moto.store("running"));
    let mut running = BackupRecord::new(id("20251231T000000"));
    running.status = BackupStatus::Started;
    running.timeline = Timeline::new(1);
    running.begin_wal = Some("00000001000000000000000A".parse().unwrap());
    put(&server, "main/base/20251231T000000/backup.info", &running.to_text());
    let before = server.plan_delete(&id(OLD), &now()).unwrap().steps[0].trim.clone().unwrap().before;
    assert_eq!(Some(before), running.begin_wal);
    let later = CloudDeleteOptions::at(OffsetDateTime::now_utc() + time::Duration::days(8));
    let before = server.plan_delete(&id(OLD), &later).unwrap().steps[0].trim.clone().unwrap().before;
    assert_eq!(before.to_string(), "00000001000000010000000A");
    // So far it has an id and no more.
    running.begin_wal = None;
    put(&server, "main/base/20251231T000000/backup.info", &running.to_text());
    assert_eq!(server.plan_delete(&id(OLD), &now()).unwrap().steps[0].trim, None);
}

#[test]
fn each_step_of_a_retention_is_judged_again_when_its_turn_comes() {
    let Some(moto) = Moto::start() else { return };
    let server = filled(moto.store("again"));
    let policy = "redundancy 1".parse().unwrap();
    let plan = server.plan_retention(&policy, &now()).unwrap();
    assert_eq!(plan.steps.len(), 1);
    let before = keys(&server);
    // Kept while others were being deleted.
    server.keep(&id(OLD), KeepTarget::Full).unwrap();
    server.execute(&plan, &now()).unwrap();
    assert_eq!(keys(&server).len(), before.len() + 1);
    assert_eq!(server.record(&id(OLD)).unwrap().unwrap().status, BackupStatus::Done);
    server.release(&id(OLD)).unwrap();
    // A backup has begun at the WAL that the plan thought nobody needs.
    let mut running = BackupRecord::new(id("20260103T000000"));
    running.status = BackupStatus::Started;
    running.timeline = Timeline::new(1);
    running.begin_wal = Some("000000010000000100000009".parse().unwrap());
    put(&server, "main/base/20260103T000000/backup.info", &running.to_text());
    server.execute(&plan, &now()).unwrap();
    assert!(server.record(&id(OLD)).unwrap().is_none());
    let left = keys(&server);
    assert!(!left.iter().any(|key| key.contains("00000001000000000000000")), "{left:?}");
    assert!(left.iter().any(|key| key.contains("000000010000000100000009")), "{left:?}");
}

#[test]
fn wal_that_could_not_be_removed_is_by_the_same_command_again() {
    let Some(moto) = Moto::start() else { return };
    let server = filled(moto.store("wal-later"));
    let before = keys(&server);
    let mut options = moto.options();
    options.endpoint = Some(format!("http://{}", without_deletions_of(moto.address(), "/wals/")));
    options.retries.count = 0;
    let cut_off = Store::open(&moto.url("wal-later"), options, &moto.environment()).unwrap();
    let refused = CloudServer::new(cut_off, "main").delete_backup(&id(OLD), &now()).unwrap_err();
    assert!(matches!(&refused, CloudDeleteError::Wal { id: of, .. } if *of == id(OLD)), "{refused}");
    assert_eq!(keys(&server).len(), before.len() - 3);
    assert_eq!(server.record(&id(OLD)).unwrap().unwrap().status, BackupStatus::Failed);
    server.delete_backup(&id(OLD), &now()).unwrap();
    let left = keys(&server);
    assert!(left.iter().all(|key| key.contains(NEW) || key.contains("00000001000000010000000A")), "{left:?}");
}

#[test]
fn a_place_of_which_nothing_is_left_belongs_to_nobody() {
    let Some(moto) = Moto::start() else { return };
    let server = filled(moto.store("empty"));
    let owner = "main/identity.json";
    put(&server, owner, r#"{"systemid": "7000000000000000000"}"#);
    server.delete_backup(&id(OLD), &now()).unwrap();
    server.delete_backup(&id(NEW), &now()).unwrap();
    // There is WAL from the begin of the last backup on.
    let wal = "main/wals/0000000100000001/00000001000000010000000A.zst";
    assert_eq!(keys(&server), [owner, wal]);
    put(&server, &format!("main/base/{NEW}/data.tar"), "left");
    server.store().delete(&[wal.to_owned()]).unwrap();
    server.delete_backup(&id(NEW), &now()).unwrap();
    assert!(keys(&server).is_empty(), "{:?}", keys(&server));
    server.check_wal_archive(None).unwrap();
}
