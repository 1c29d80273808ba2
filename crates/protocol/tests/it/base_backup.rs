//! BASE_BACKUP against real servers.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};

use tapster_protocol::testing::{Binaries, Cluster, StopMode, servers};
use tapster_protocol::{
    BackupEnd, BackupEvent, BaseBackupError, BaseBackupOptions, ManifestMode, ServerCompression, Tablespace,
};

#[derive(Default)]
struct Received {
    archives: BTreeMap<String, Vec<u8>>,
    order: Vec<String>,
    manifest: Vec<u8>,
    progress: u64,
    tablespaces: Vec<Tablespace>,
}

fn receive(cluster: &Cluster, options: &BaseBackupOptions) -> Result<(Received, BackupEnd), BaseBackupError> {
    let mut connection = cluster.replication();
    let mut stream = connection.base_backup(options)?;
    let mut received = Received { tablespaces: stream.tablespaces().to_vec(), ..Received::default() };
    let start = stream.start_lsn();
    let mut current: Option<String> = None;
    while let Some(event) = stream.next()? {
        match event {
            BackupEvent::Archive { oid, name } => {
                assert_eq!(oid.is_none(), name.starts_with("base.tar"));
                received.order.push(name.to_owned());
                received.archives.insert(name.to_owned(), Vec::new());
                current = Some(name.to_owned());
            }
            BackupEvent::Manifest => current = None,
            BackupEvent::Data(bytes) => match &current {
                Some(name) => received.archives.get_mut(name).unwrap().extend_from_slice(bytes),
                None => received.manifest.extend_from_slice(bytes),
            },
            BackupEvent::Progress(bytes) => received.progress = bytes,
            other => panic!("{other:?}"),
        }
    }
    let end = stream.finish()?;
    assert!(end.stop_lsn > start);
    assert!(connection.identify_system().is_ok(), "the connection goes on after a backup");
    Ok((received, end))
}

/// Names and sizes of the members; the header sums are checked.
fn members(tar: &[u8]) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut rest = tar;
    while rest.len() >= 512 && rest[..512].iter().any(|byte| *byte != 0) {
        let header = &rest[..512];
        let octal = |field: &[u8]| {
            let text: String = field.iter().map(|b| char::from(*b)).filter(char::is_ascii_digit).collect();
            u64::from_str_radix(&text, 8).unwrap()
        };
        let sum: u64 = header
            .iter()
            .enumerate()
            .map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) })
            .sum();
        assert_eq!(sum, octal(&header[148..156]), "header sum");
        let name = header[..100].split(|byte| *byte == 0).next().unwrap();
        let size = if header[156] == b'0' { octal(&header[124..136]) } else { 0 };
        found.insert(String::from_utf8(name.to_vec()).unwrap(), size);
        rest = &rest[512 + (size as usize).next_multiple_of(512)..];
    }
    found
}

fn with_tablespace(binaries: &Binaries) -> Cluster {
    let cluster = Cluster::builder().binaries(binaries).start().unwrap();
    let space = cluster.create_dir("space");
    cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", space.display()));
    cluster.sql("CREATE TABLE t TABLESPACE space AS SELECT generate_series(1, 50000) AS id");
    cluster
}

#[test]
fn all_archives_and_the_manifest() {
    for binaries in servers() {
        let cluster = with_tablespace(&binaries);
        let mut options = BaseBackupOptions::with_label("it's \"me\"");
        options.fast_checkpoint = true;
        options.progress = true;
        options.tablespace_map = true;
        let (received, end) = receive(&cluster, &options).unwrap();
        assert!(!end.checksum_failures);
        assert_eq!(received.order.len(), 2);
        assert_eq!(received.order[1], "base.tar", "the main directory comes last");
        assert_eq!(received.tablespaces.len(), 2);
        assert!(received.tablespaces.iter().all(|space| space.size_kb.is_some()));
        assert!(received.tablespaces[0].location.as_deref().unwrap().ends_with("/space"));
        let base = members(&received.archives["base.tar"]);
        assert!(base.contains_key("backup_label") && base.contains_key("tablespace_map"), "{base:?}");
        assert_eq!(base["global/pg_control"], 8192);
        let space = members(&received.archives[&received.order[0]]);
        let table: u64 = cluster.value("SELECT pg_relation_size('t')").parse().unwrap();
        assert!(space.values().any(|size| *size == table), "{space:?}");
        let label = String::from_utf8_lossy(&received.archives["base.tar"]).into_owned();
        assert!(label.contains("LABEL: it's \"me\"\n"));
        if binaries.major >= 13 {
            let manifest = String::from_utf8(received.manifest).unwrap();
            assert!(manifest.contains("\"Manifest-Checksum\""), "the manifest is complete");
            assert!(manifest.contains(&format!("\"End-LSN\": \"{}\"", end.stop_lsn)), "{}", end.stop_lsn);
        }
        if binaries.major >= 15 {
            assert!(received.progress > table);
        }
    }
}

#[test]
fn without_manifest_and_compressed() {
    for binaries in servers() {
        let cluster = Cluster::builder().binaries(&binaries).start().unwrap();
        let mut options = BaseBackupOptions::with_label("x");
        options.fast_checkpoint = true;
        options.manifest = ManifestMode::No;
        let (received, _) = receive(&cluster, &options).unwrap();
        assert!(received.manifest.is_empty());
        options.compression = Some(ServerCompression {
            algorithm: String::from("gzip"),
            detail: Some(String::from("level=1")),
        });
        match receive(&cluster, &options) {
            Ok((received, _)) => {
                assert!(binaries.major >= 15);
                assert!(received.archives["base.tar.gz"].starts_with(&[0x1f, 0x8b]));
            }
            Err(error) => {
                assert!(
                    binaries.major < 15 && matches!(error, BaseBackupError::Unsupported { .. }),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn wrong_checksums_come_after_a_complete_copy() {
    for binaries in servers() {
        let cluster = Cluster::builder().binaries(&binaries).checksums(true).start().unwrap();
        cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 10000) AS id");
        let path = cluster.value("SELECT pg_relation_filepath('t')");
        cluster.stop(StopMode::Fast);
        let mut file = std::fs::OpenOptions::new().write(true).open(cluster.data_dir().join(path)).unwrap();
        file.seek(SeekFrom::Start(8192 + 4000)).unwrap();
        file.write_all(b"rot").unwrap();
        drop(file);
        cluster.start();
        let mut options = BaseBackupOptions::with_label("x");
        options.fast_checkpoint = true;
        let (received, end) = receive(&cluster, &options).unwrap();
        assert!(end.checksum_failures);
        assert!(end.server_error.unwrap().is("XX001"));
        if binaries.major >= 13 {
            assert!(!received.manifest.is_empty());
        }
        options.verify_checksums = false;
        let (_, end) = receive(&cluster, &options).unwrap();
        assert!(!end.checksum_failures);
    }
}

#[test]
fn a_server_that_stops_in_the_middle_is_an_error() {
    let Some(cluster) = Cluster::builder().start() else { return };
    cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 300000) AS id");
    let mut options = BaseBackupOptions::with_label("x");
    options.fast_checkpoint = true;
    let mut connection = cluster.replication();
    let mut stream = connection.base_backup(&options).unwrap();
    assert!(stream.next().unwrap().is_some());
    cluster.stop(StopMode::Immediate);
    let error = loop {
        match stream.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the backup cannot be complete"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, BaseBackupError::Server(_) | BaseBackupError::Connection(_)), "{error:?}");
}

#[test]
fn refused_options_leave_the_connection_usable() {
    let Some(cluster) = Cluster::builder().start() else { return };
    let mut connection = cluster.replication();
    let mut options = BaseBackupOptions::with_label("x");
    options.manifest_checksums = Some(String::from("CRC7"));
    let error = connection.base_backup(&options).unwrap_err();
    assert!(error.server().is_some(), "{error}");
    connection.identify_system().unwrap();
}

#[test]
fn incremental_after_an_uploaded_manifest() {
    for binaries in servers() {
        let builder = Cluster::builder().binaries(&binaries);
        if binaries.major < 17 {
            let cluster = builder.start().unwrap();
            let error = cluster.replication().upload_manifest(&mut &b"{}"[..]).unwrap_err();
            assert!(matches!(error, BaseBackupError::Unsupported { .. }), "{error}");
            continue;
        }
        let cluster = builder.config("summarize_wal = on").start().unwrap();
        cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 200000) AS id");
        let mut options = BaseBackupOptions::with_label("full");
        options.fast_checkpoint = true;
        let (full, _) = receive(&cluster, &options).unwrap();
        cluster.sql("INSERT INTO t VALUES (0)");
        let mut connection = cluster.replication();
        let refused = connection.upload_manifest(&mut &b"{}"[..]).unwrap_err();
        assert!(refused.server().is_some(), "{refused}");
        connection.upload_manifest(&mut full.manifest.as_slice()).unwrap();
        options.incremental = true;
        let mut stream = connection.base_backup(&options).unwrap();
        let mut tar = Vec::new();
        let mut in_manifest = false;
        while let Some(event) = stream.next().unwrap() {
            match event {
                BackupEvent::Manifest => in_manifest = true,
                BackupEvent::Data(bytes) if !in_manifest => tar.extend_from_slice(bytes),
                _ => {}
            }
        }
        stream.finish().unwrap();
        assert!(members(&tar).keys().any(|name| name.contains("INCREMENTAL.")));
        assert!(tar.len() < full.archives["base.tar"].len() / 2);
    }
}
