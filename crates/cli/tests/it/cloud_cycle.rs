//! A cluster through a bucket and back, to a point in time: both programs write backups and WAL, and PostgreSQL replays through each
//! what the other wrote.

use std::collections::BTreeMap;
use std::sync::Arc;

use tapster_cloud::testing::{Azurite, Google, Moto};
use tapster_cloud::{Store, WriteOptions};
use tapster_protocol::testing::Builder;

use crate::cloud_lab::{CloudLab, Place, Whose, installed};

/// What is there, and whether it is whole. Barman's own tool stores no manifest that would say so.
fn it_is_told_what_is_there_and_whether_it_is_whole(cloud: &CloudLab, store: &Store) {
    let ask = |name: &str, options: &[&str], backup: &str| {
        let (code, said, log) = cloud.run(Whose::Ours, name, options, &[backup]);
        (said, log, code)
    };
    let listed = ask("list-files", &[], "ours");
    let found = listed.0.lines().find(|line| line.contains("/wals/")).unwrap_or_default();
    let file = found.rsplit('/').next().unwrap();
    let first = file.split('.').next().unwrap();
    assert!(listed.0.contains("/main/base/2") && first.starts_with("00000001"), "{listed:?}");
    let (said, log, code) = ask("verify-backup", &[], "ours");
    assert!(
        said.contains(" files, ") && said.ends_with(" archives agree with the manifest\n"),
        "{said}{log}"
    );
    assert_eq!(code, 0);
    let (said, log, code) = ask("verify-backup", &[], "barmans");
    assert!(log.contains("no backup_manifest") && said.is_empty(), "{said} {log}");
    assert_eq!((log.lines().count(), code), (1, 1), "{log}");
    let key = format!("main/wals/{}/{file}", &first[..16]);
    let bytes = store.read(&key, 64 << 20).unwrap();
    store.delete(std::slice::from_ref(&key)).unwrap();
    let (_, log, code) = ask("verify-backup", &[], "ours");
    assert!(log.contains(&format!("WAL that it needs is not in the store: {first}\n")), "{log}");
    assert_eq!(code, 1);
    assert_eq!(ask("verify-backup", &["--no-wal"], "ours").2, 0);
    store.put(&key, bytes, &WriteOptions::default()).unwrap();
    for verb in ["list-files", "verify-backup"] {
        let (said, log, code) = ask(verb, &[], "20200101T000000");
        assert_eq!((said.as_str(), log.lines().count(), code), ("", 1, 1), "{log}");
    }
}

#[test]
fn both_programs_bring_back_what_either_has_stored() {
    let Some(moto) = Moto::start() else { return };
    let place = Place::s3(moto.url("cycle").to_string(), moto.endpoint(), moto.variables());
    both_bring_back(place, &moto.store("cycle"), |builder| builder);
}

#[test]
fn both_programs_bring_back_from_azure_what_either_has_stored() {
    let Some(azurite) = Azurite::start() else { return };
    let place = Place::of("azure-blob-storage", azurite.url("cycle").to_string(), azurite.variables());
    both_bring_back(place, &azurite.store("cycle"), |builder| builder);
}

#[test]
fn both_programs_bring_back_from_google_what_either_has_stored() {
    let Some(google) = Google::start().map(Arc::new) else { return };
    both_bring_back(Place::google(&google, "cycle"), &google.store("cycle"), |builder| builder);
}

/// `store` is that place.
pub fn both_bring_back(place: Place, store: &Store, configure: impl FnOnce(Builder) -> Builder) {
    let Some(cloud) = CloudLab::archiving(place, configure) else { return };
    if !installed("barman-cloud-backup").exists() {
        assert!(std::env::var_os("CI").is_none(), "Barman's cloud tools are not installed");
        return;
    }
    let cluster = &cloud.lab.cluster;
    cluster.sql("CREATE TABLE t AS SELECT 'before' AS v");
    cloud.archive("--zstd");
    let start = cloud.switch();
    cloud.backup(Whose::Ours, &["-z", "-n", "ours"]);
    cloud.backup(Whose::Barmans, &["--lz4", "-n", "barmans"]);

    // Some are there already when the server asks for them, and all of the others go out together.
    cloud.archive_later();
    let write = |numbers: std::ops::RangeInclusive<u32>| {
        for number in numbers {
            cluster.sql(&format!("INSERT INTO t VALUES ('wanted {number}')"));
            cloud.switch();
        }
    };
    write(1..=1);
    let by_barman = cloud.archive_by_barman(&["--gzip"]);
    assert!(!by_barman.is_empty());
    write(2..=4);
    cluster.sql("SELECT pg_create_restore_point('here')");
    cluster.sql("INSERT INTO t VALUES ('unwanted')");
    cloud.archive("--zstd");
    cloud.wait_until_archived();
    let failed = cluster.value("SELECT failed_count FROM pg_stat_archiver");
    assert_eq!(failed, "0", "{}", cluster.log());
    let objects = store.list("main/wals");
    let keys: Vec<String> = objects.map(|object| object.unwrap().key).collect();
    let files = keys.iter().map(|key| key.rsplit('/').next().unwrap());
    let forms: BTreeMap<&str, &str> = files.filter_map(|file| file.rsplit_once('.')).collect();
    for (name, form) in &forms {
        let expected = if by_barman.iter().any(|theirs| theirs == name) { "gz" } else { "zst" };
        assert_eq!(*form, expected, "{name}: {keys:?}");
    }
    assert_eq!(forms.len(), keys.len(), "nothing is there twice: {keys:?}");
    // Barman's tool knows labels of backups when it archives, not when it restores.
    cloud.fetch_by_barman(forms.into_keys().filter(|name| name.len() == 24 && *name > start.as_str()));

    it_is_told_what_is_there_and_whether_it_is_whole(&cloud, store);
    let never = cluster.directory().join("never");
    let plan = cloud.ok(Whose::Ours, "restore", &["--dry-run"], &["auto", never.to_str().unwrap()]);
    assert!(plan.contains("segments without a gap, from 00000001"), "{plan}");
    assert!(!never.exists());
    let all_brought_back = |stored, restorer, wal| {
        let sql = "SELECT string_agg(v, '; ' ORDER BY v) FROM t";
        let answer = cloud.ask_restored(stored, restorer, wal, "here", sql);
        let all = "before; wanted 1; wanted 2; wanted 3; wanted 4";
        assert_eq!(answer, all, "{stored} by {restorer:?}, WAL by {wal:?}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| all_brought_back("ours", Whose::Barmans, Whose::Barmans));
        scope.spawn(|| all_brought_back("barmans", Whose::Ours, Whose::Ours));
        scope.spawn(|| all_brought_back("ours", Whose::Ours, Whose::Ours));
    });
}
