//! Backups in an object store against their manifest, and their objects by name.

use tapster_cloud::testing::Moto;
use tapster_cloud::{ObjectInfo, WriteOptions};
use tapster_manager::cloud::CloudServer;
use tapster_manager::cloud::backup::{CloudBackupOptions, PostgresSource};
use tapster_manager::cloud::restore::{CloudBackupChoice, CloudRestoreError};
use tapster_manager::cloud::verify::{CloudVerifyOptions, CloudVerifyReport};
use tapster_manager::list_files::FilesTarget;
use tapster_manager::{Context, Silent};
use tapster_protocol::Environment;
use tapster_protocol::testing::Cluster;
use walfile::codec::Compression;

fn verify(server: &CloudServer, wal: bool) -> CloudVerifyReport {
    let mut options = CloudVerifyOptions::default();
    options.wal = wal;
    server.verify_backup(&CloudBackupChoice::Latest, &options, &Context::new(&Silent)).unwrap()
}

/// Puts `content` in the place of an object, or nothing; what is said of the backup then. The object is as it was afterwards.
fn with(server: &CloudServer, key: &str, content: Option<&[u8]>) -> String {
    let store = server.store();
    let before = store.read(key, 1 << 30).unwrap();
    match content {
        Some(content) => store.put(key, content.to_vec(), &WriteOptions::default()).unwrap(),
        None => store.delete(&[key.to_owned()]).unwrap(),
    }
    let report = verify(server, false);
    store.put(key, before, &WriteOptions::default()).unwrap();
    assert!(!report.is_ok(), "{key}");
    report.fault.unwrap().to_string()
}

#[test]
fn whatever_is_wrong_with_a_stored_backup_is_found_without_a_place_for_it() {
    let (Some(cluster), Some(moto)) = (Cluster::builder().start(), Moto::start()) else { return };
    let place = cluster.create_dir("place");
    cluster.sql(&format!("CREATE TABLESPACE place LOCATION '{}'", place.display()));
    cluster.sql(
        "CREATE TABLE t TABLESPACE place AS SELECT n, md5(n::text) AS v FROM generate_series(1, 20000) n",
    );
    cluster.sql("CREATE TABLE u TABLESPACE place AS SELECT * FROM t");
    let server = CloudServer::new(moto.store("verified"), "main");
    let source = PostgresSource::new(cluster.conninfo(), Environment::default());
    let backup = |compression| {
        let mut options = CloudBackupOptions::default();
        (options.immediate_checkpoint, options.compression) = (true, compression);
        options.max_archive_size = 1 << 20;
        server.backup(&options, &source, &Context::new(&Silent)).unwrap().record
    };
    let record = backup(Compression::None);
    let (begin, oid) = (record.begin_wal.unwrap(), record.tablespaces[0].oid);
    let directory = server.layout().backup(&record.id);
    let key = |name: &str| format!("{directory}/{name}");
    let list = |target| {
        let mut keys = Vec::new();
        let is_there =
            server.list_files(&record.id, target, &mut |object: &ObjectInfo| keys.push(object.key.clone()));
        assert!(is_there.unwrap());
        keys
    };
    let own = list(FilesTarget::Data);
    for name in ["backup.info", "data.tar", "data_0001.tar", &format!("{oid}_0001.tar")] {
        assert!(own.contains(&key(name)), "{name}: {own:?}");
    }

    // Its WAL is missing, and then it is not.
    assert_eq!(verify(&server, true).wal.unwrap().missing, [begin]);
    assert!(!verify(&server, true).is_ok());
    assert_eq!(list(FilesTarget::Standalone), own);
    let begins = begin.to_string();
    for name in [begins.as_str(), "0000000100000000000000FE", "00000002.history"] {
        let wal = server.layout().wal(name.parse().unwrap());
        server.store().put(&wal, b"wal".to_vec(), &WriteOptions::default()).unwrap();
    }
    let report = verify(&server, true);
    assert!(report.is_ok(), "{report:?}");
    assert!(report.files > 900 && report.bytes > 20 << 20, "{report:?}");
    assert_eq!(report.archives, own.iter().filter(|key| key.contains(".tar")).count());
    let wal = list(FilesTarget::Wal);
    let [needed, later, history] = wal.as_slice() else { panic!("{wal:?}") };
    assert!(needed.contains(&begins) && later.ends_with("FE") && history.ends_with(".history"));
    assert_eq!(list(FilesTarget::Standalone), [own.as_slice(), std::slice::from_ref(needed)].concat());
    assert_eq!(list(FilesTarget::Full), [own.as_slice(), &wal].concat());

    // Parts that are missing: one between others, the last of a tablespace, the last of all with the manifest.
    let last = |stem: &str| {
        let parts = own.iter().filter(|key| key.contains(&format!("/{stem}_")));
        parts.max().unwrap().clone()
    };
    assert_eq!(
        with(&server, &key("data_0001.tar"), None),
        format!("archive {directory}/data_0001.tar is missing")
    );
    let without = with(&server, &last(&oid.to_string()), None);
    assert!(without.contains("pg_tblspc"), "{without}");
    let without = with(&server, &last("data"), None);
    assert!(without.contains("pg_control") || without.contains("backup_manifest"), "{without}");

    // Objects that are cut.
    let part = key("data_0001.tar");
    let whole = server.store().read(&part, 1 << 30).unwrap();
    for length in [0, 512] {
        // Perhaps where a member ends: then it is the manifest that knows.
        with(&server, &part, Some(&whole[..length]));
    }
    for length in [(whole.len() / 3) | 1, (whole.len() / 2) | 1] {
        let said = with(&server, &part, Some(&whole[..length]));
        assert!(said.starts_with(&format!("archive {part} is damaged: ")), "{length}: {said}");
    }
    // One in the place of another, which is a whole archive.
    let said = with(&server, &part, Some(&server.store().read(&key("data.tar"), 1 << 30).unwrap()));
    assert!(!said.contains("is damaged"), "{said}");
    // A byte of a file, of a member's name, and of the manifest.
    let of_table =
        |archive: &[u8]| archive.windows(32).position(|part| part == b"c4ca4238a0b923820dcc509a6f75849b");
    let parts = own.iter().filter(|key| key.contains(&format!("/{oid}")));
    let found = parts.map(|key| (key, server.store().read(key, 1 << 30).unwrap()));
    let (table, archive, at) = found
        .map(|(key, part)| (key, of_table(&part), part))
        .find_map(|(key, at, part)| Some((key, part, at?)))
        .unwrap();
    let mut flipped = archive.to_vec();
    flipped[at] ^= 1;
    let said = with(&server, table, Some(&flipped));
    assert!(said.contains("checksum") && said.contains("pg_tblspc"), "{said}");
    let mut renamed = whole.to_vec();
    renamed[1] ^= 1;
    assert!(with(&server, &part, Some(&renamed)).starts_with(&format!("archive {part} is damaged: ")));
    let mut forged = server.store().read(&last("data"), 1 << 30).unwrap();
    let at = forged.windows(13).position(|part| part == b"Last-Modified").unwrap();
    forged[at + 20] ^= 1;
    let said = with(&server, &last("data"), Some(&forged));
    assert!(said.contains("manifest"), "{said}");
    assert!(verify(&server, true).is_ok(), "as it was");

    // Compressed, and cut.
    let compressed = backup(Compression::Gzip);
    let report = verify(&server, false);
    assert!(report.is_ok() && report.record.id == compressed.id, "{report:?}");
    let part = format!("{}/data.tar.gz", server.layout().backup(&compressed.id));
    let whole = server.store().read(&part, 1 << 30).unwrap();
    let mut flipped = whole.to_vec();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&whole[..whole.len() / 2], &flipped] {
        let said = with(&server, &part, Some(damaged));
        assert!(said.starts_with(&format!("archive {part} is damaged: ")), "{said}");
    }
    // What is not there.
    let missing = server.verify_backup(
        &CloudBackupChoice::Id("20200101T000000".parse().unwrap()),
        &CloudVerifyOptions::default(),
        &Context::new(&Silent),
    );
    assert!(matches!(missing, Err(CloudRestoreError::NoSuchId { .. })), "{missing:?}");
    let none =
        server.list_files(&"20200101T000000".parse().unwrap(), FilesTarget::Full, &mut |_| panic!("none"));
    assert!(!none.unwrap());
}
