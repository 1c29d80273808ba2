//! A backup from elsewhere: published whole or not at all, whatever fails and wherever the power goes.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use tapster_catalog::durable::RealDisk;
use tapster_catalog::durable::testing::RecordingDisk;
use tapster_catalog::import::{Import, ImportError, ImportPlan, Imported, remove_abandoned};
use tapster_catalog::locks::{Lock, LockName};
use tapster_catalog::{
    BackupId, BackupMode, BackupRecord, BackupStatus, Catalog, KeepTarget, ServerLayout, TablespaceInfo,
    UtcOffset, XlogDb, XlogEntry,
};

use walfile::codec::{Compression, encoder};

use crate::wal_samples::{SIZE, SYSTEM, name, names, segment, segment_of, server};

static GO_ON: AtomicBool = AtomicBool::new(false);
const ID: &str = "20261121T000542";
const FIVE: &str = "000000020000000000000005";
const SIX: &str = "000000020000000000000006";
const SEVEN: &str = "000000020000000000000007";
const HISTORY: &str = "00000002.history";

fn id() -> BackupId {
    ID.parse().unwrap()
}

fn record() -> BackupRecord {
    let mut record = BackupRecord::new(id());
    record.status = BackupStatus::Done;
    record.mode = Some(BackupMode::Postgres);
    record.server_name = Some("main".to_owned());
    record.systemid = Some(SYSTEM.to_string());
    record.begin_wal = Some(FIVE.parse().unwrap());
    record.end_wal = Some(SIX.parse().unwrap());
    record.xlog_segment_size = Some(SIZE);
    record.tablespaces =
        vec![TablespaceInfo { name: "far".to_owned(), oid: 16386, location: "/srv/far".to_owned() }];
    record
}

fn entry(name: &str) -> XlogEntry {
    let text = format!("{name}\t{}\t1795219542.5\tzstd\tNone", content(name).len());
    text.parse().unwrap()
}

fn content(name: &str) -> Vec<u8> {
    match name {
        HISTORY => b"1\t0/4000000\tno recovery target specified\n".to_vec(),
        // Small, because hundreds of states are laid out.
        segment_name => packed(&segment(segment_name, 1), Compression::Zstd),
    }
}

fn packed(content: &[u8], codec: Compression) -> Vec<u8> {
    let mut packed = encoder(Vec::new(), codec, 3).unwrap();
    packed.write_all(content).unwrap();
    packed.finish().unwrap()
}

/// An archive that holds segment 7, and nothing of the backup.
fn hub(home: &Path) -> ServerLayout {
    let layout = server(home);
    archive(&layout, SEVEN, &content(SEVEN));
    let mut index = XlogDb::lock(&RealDisk, &layout, &GO_ON).unwrap();
    index.replace([Ok(entry(SEVEN))]).unwrap();
    layout
}

fn archive(layout: &ServerLayout, wal: &str, content: &[u8]) {
    let path = layout.wal(name(wal));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn catalog(layout: ServerLayout) -> Catalog {
    Catalog::open(layout, UtcOffset::UTC)
}

const MTIME: Duration = Duration::new(1_795_219_542, 500_000_000);

fn write(import: &mut Import<'_>, path: &str, content: &[u8]) -> Result<(), ImportError> {
    let mut file = import.file(path.as_ref())?;
    file.write_all(content).map_err(|source| ImportError::Read { path: path.into(), source })?;
    file.finish(0o600, SystemTime::UNIX_EPOCH + MTIME)
}

fn stage<'c>(catalog: &'c Catalog, wals: &[(&str, Vec<u8>)]) -> Result<Import<'c>, ImportError> {
    let mut import = Import::begin(catalog, id())?;
    import.directory("data".as_ref(), 0o700)?;
    import.directory("data/pg_tblspc".as_ref(), 0o700)?;
    import.directory("16386".as_ref(), 0o700)?;
    import.tablespace_link(16386);
    write(&mut import, "data/PG_VERSION", b"15\n")?;
    write(&mut import, "16386/PG_15_202209061/1/2", b"page")?;
    for (wal, content) in wals {
        let mut file = import.wal(name(wal))?;
        file.write_all(content).map_err(|source| ImportError::Read { path: wal.into(), source })?;
        file.finish(0o600, SystemTime::UNIX_EPOCH + MTIME)?;
    }
    Ok(import)
}

fn plan() -> ImportPlan {
    let mut plan = ImportPlan::new(record(), vec![entry(FIVE), entry(SIX)]);
    plan.histories.push(name(HISTORY));
    plan.workers = 2;
    plan
}

fn import(catalog: &Catalog) -> Result<Imported, ImportError> {
    let wals = [FIVE, SIX, HISTORY].map(|wal| (wal, content(wal)));
    stage(catalog, &wals)?.publish(&plan(), &GO_ON)
}

fn listed(layout: &ServerLayout) -> Vec<String> {
    let index = XlogDb::lock(&RealDisk, layout, &GO_ON).unwrap();
    index.entries().unwrap().map(|entry| entry.unwrap().name.to_string()).collect()
}

/// Everything of the backup is there.
fn is_complete(catalog: &Catalog, context: &str) {
    let layout = catalog.layout();
    assert_eq!(catalog.load(&id()).unwrap(), record(), "{context}");
    assert_eq!(catalog.keep_target(&id()).unwrap(), Some(KeepTarget::Standalone), "{context}");
    let dir = layout.backup_dir(&id());
    for (file, content) in [("data/PG_VERSION", "15\n"), ("16386/PG_15_202209061/1/2", "page")] {
        assert_eq!(fs::read_to_string(dir.join(file)).unwrap(), content, "{context}: {file}");
    }
    assert!(dir.join("data/pg_tblspc/16386").is_symlink(), "{context}");
    for wal in [FIVE, SIX, SEVEN, HISTORY] {
        assert!(fs::read(layout.wal(name(wal))).unwrap() == content(wal), "{context}: {wal}");
    }
    assert_eq!(listed(layout), [HISTORY, FIVE, SIX, SEVEN], "{context}");
}

#[test]
fn a_backup_comes_with_its_wal_and_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let catalog = catalog(hub(home.path()));
    let imported = import(&catalog).unwrap();
    assert_eq!((imported.wals, imported.already_archived, imported.unsettled), (3, 0, None));
    is_complete(&catalog, "imported");
    let layout = catalog.layout();
    assert!(layout.record(&id()).exists() && !layout.old_record(&id()).exists());
    assert_eq!(names(&layout.base), [ID]);
    let link = fs::read_link(layout.backup_dir(&id()).join("data/pg_tblspc/16386")).unwrap();
    assert_eq!(link, layout.tablespace_dir(&id(), 16386));
    let modified = fs::metadata(layout.wal(name(FIVE))).unwrap().modified().unwrap();
    assert_eq!(modified, SystemTime::UNIX_EPOCH + MTIME);
    assert!(matches!(import(&catalog).unwrap_err(), ImportError::Exists { .. }));
}

#[test]
fn a_crash_leaves_all_of_it_or_nothing() {
    let home = tempfile::tempdir().unwrap();
    let layout = hub(home.path());
    let disk = RecordingDisk::new(home.path()).unwrap();
    let recorded = Catalog::with_disk(layout, UtcOffset::UTC, Arc::new(disk.clone()));
    import(&recorded).unwrap();
    disk.mark("imported");
    let (mut before, mut after) = (0, 0);
    disk.for_each_crash(|crash| {
        let home = tempfile::tempdir()?;
        crash.materialise(home.path())?;
        let catalog = catalog(server(home.path()));
        let context = crash.to_string();
        // Whatever has the name of a WAL file in the archive is one.
        for wal in [FIVE, SIX, SEVEN, HISTORY] {
            if let Ok(found) = fs::read(catalog.layout().wal(name(wal))) {
                assert!(found == *content(wal), "{context}: {wal}");
            }
        }
        if catalog.backups().unwrap().is_empty() {
            assert!(crash.marks.is_empty(), "acknowledged, and lost: {context}");
            before += 1;
            let untouched = listed(catalog.layout()) == [SEVEN]
                && names(&catalog.layout().wals.join("0000000200000000")) == [SEVEN];
            if untouched && before % 5 > 0 {
                return Ok(());
            }
            // Not to wait for real syncs.
            let disk = Arc::new(RecordingDisk::new(home.path())?);
            let again = Catalog::with_disk(server(home.path()), UtcOffset::UTC, disk);
            import(&again).unwrap_or_else(|error| panic!("{context}: {error}"));
        } else {
            after += 1;
        }
        is_complete(&catalog, &context);
        Ok(())
    })
    .unwrap();
    assert!(before > 50 && after > 5, "{before} states before, {after} after");
}

#[test]
fn a_failing_disk_leaves_the_catalog_as_it_was() {
    let calls = {
        let home = tempfile::tempdir().unwrap();
        let layout = hub(home.path());
        let disk = RecordingDisk::new(home.path()).unwrap();
        import(&Catalog::with_disk(layout, UtcOffset::UTC, Arc::new(disk.clone()))).unwrap();
        disk.calls()
    };
    let mut failed = 0;
    for call in 0..calls {
        let home = tempfile::tempdir().unwrap();
        let layout = hub(home.path());
        let disk = RecordingDisk::new(home.path()).unwrap();
        disk.fail_at(call, 28);
        let done = import(&Catalog::with_disk(layout, UtcOffset::UTC, Arc::new(disk)));
        let catalog = catalog(server(home.path()));
        match done {
            Ok(_) => is_complete(&catalog, &format!("call {call}")),
            Err(_) => {
                failed += 1;
                assert!(catalog.backups().unwrap().is_empty(), "call {call}");
                assert_eq!(names(&catalog.layout().base), [""; 0], "call {call}");
                assert_eq!(listed(catalog.layout()), [SEVEN], "call {call}");
                assert_eq!(
                    names(&catalog.layout().wals),
                    ["0000000200000000", "main-xlog.db"],
                    "call {call}"
                );
                // A file of WAL may stay where even its removal fails; its content is right, and it is taken as it is.
                let disk = Arc::new(RecordingDisk::new(home.path()).unwrap());
                let again = Catalog::with_disk(server(home.path()), UtcOffset::UTC, disk);
                import(&again).unwrap_or_else(|error| panic!("call {call}: {error}"));
                is_complete(&catalog, &format!("call {call}"));
            }
        }
    }
    assert!(failed > 20, "{failed} of {calls}");
}

#[test]
fn what_a_killed_import_left_goes_when_nobody_imports() {
    let home = tempfile::tempdir().unwrap();
    let catalog = catalog(hub(home.path()));
    let layout = catalog.layout();
    remove_abandoned(&catalog).unwrap();
    // Under way.
    let wals = [(FIVE, content(FIVE))];
    let import = stage(&catalog, &wals).unwrap();
    remove_abandoned(&catalog).unwrap();
    assert!(import.staging().join("backup/data/PG_VERSION").exists());
    drop(import);
    let left = layout.base.join(format!(".import-{ID}-1/backup"));
    fs::create_dir_all(&left).unwrap();
    fs::create_dir_all(layout.base.join("20261121T000999/data")).unwrap();
    fs::write(left.join("PG_VERSION"), "15").unwrap();
    remove_abandoned(&catalog).unwrap();
    assert_eq!(names(&layout.base), ["20261121T000999"]);
}

#[test]
fn wal_that_contradicts_the_archive_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let catalog = catalog(hub(home.path()));
    let stage_with = |wals: &[(&str, Vec<u8>)], plan: &ImportPlan| {
        let wals: Vec<(&str, Vec<u8>)> = wals.to_vec();
        stage(&catalog, &wals).and_then(|import| import.publish(plan, &GO_ON)).unwrap_err().to_string()
    };
    let (five, six) = ((FIVE, content(FIVE)), (SIX, content(SIX)));
    let plain = || ImportPlan::new(record(), vec![entry(FIVE), entry(SIX)]);

    archive(catalog.layout(), SIX, &segment(SIX, 2));
    let error = stage_with(&[five.clone(), six.clone()], &plain());
    assert_eq!(error, format!("WAL file(s) already exist in target server with conflicting content: {SIX}"));
    fs::remove_file(catalog.layout().wal(name(SIX))).unwrap();

    let error = stage_with(std::slice::from_ref(&five), &plain());
    assert!(error.contains("not found under its wals/ directory: 000000020000000000000006"), "{error}");
    let error = stage_with(&[five.clone(), six.clone()], &ImportPlan::new(record(), vec![entry(FIVE)]));
    assert!(error.contains("not found in tarball's xlog.db: 000000020000000000000006"), "{error}");
    let error =
        stage_with(&[five.clone(), (SIX, packed(&segment_of(SIX, 1, 7), Compression::Zstd))], &plain());
    assert!(error.contains("the index that came with it says"), "{error}");
    let mut listed_so = plain();
    listed_so.wals[1].size = packed(&segment_of(SIX, 1, 7), Compression::Zstd).len() as u64;
    let error =
        stage_with(&[five.clone(), (SIX, packed(&segment_of(SIX, 1, 7), Compression::Zstd))], &listed_so);
    assert_eq!(error, format!("WAL file {SIX}: of system 7, expected {SYSTEM}"));
    let mut other = plain();
    other.record.tablespaces.clear();
    let error = stage_with(&[five.clone(), six.clone()], &other);
    assert!(error.contains("OID 16386"), "{error}");

    assert_eq!(listed(catalog.layout()), [SEVEN]);
    assert_eq!(names(&catalog.layout().wals.join("0000000200000000")), [SEVEN]);
    assert_eq!(names(&catalog.layout().base), [""; 0]);
    assert_eq!(fs::read_dir(&catalog.layout().base).unwrap().count(), 0);

    // The same WAL is no contradiction: as it is, or compressed by another host.
    archive(catalog.layout(), FIVE, &content(FIVE));
    archive(catalog.layout(), SIX, &packed(&segment(SIX, 1), Compression::Gzip));
    let imported = stage(&catalog, &[five, six]).unwrap().publish(&plain(), &GO_ON).unwrap();
    assert_eq!((imported.wals, imported.already_archived), (0, 2));
    assert_eq!(listed(catalog.layout()), [FIVE, SIX, SEVEN]);
}

#[test]
fn what_is_in_the_way_stays() {
    let home = tempfile::tempdir().unwrap();
    let catalog = catalog(hub(home.path()));
    let layout = catalog.layout();
    fs::create_dir_all(layout.backup_dir(&id()).join("data")).unwrap();
    assert!(matches!(Import::begin(&catalog, id()).unwrap_err(), ImportError::InTheWay { .. }));
    fs::remove_dir_all(layout.backup_dir(&id())).unwrap();
    let lock = Lock::try_acquire(&layout.lock(&LockName::BackupId(id()))).unwrap();
    let busy = Import::begin(&catalog, id()).unwrap_err();
    assert_eq!(busy.to_string(), "Another backup operation is already running on server 'main'");
    drop(lock);

    // What a killed import left goes.
    fs::create_dir_all(layout.base.join(".import-x/backup/data")).unwrap();
    let mut import = Import::begin(&catalog, id()).unwrap();
    assert_eq!(fs::read_dir(&layout.base).unwrap().count(), 1);
    for path in ["../x", "/etc/x", "data/../../x", "./x"] {
        let refused = |error: ImportError| matches!(error, ImportError::Path { .. });
        assert!(refused(import.directory(path.as_ref(), 0o700).unwrap_err()), "{path}");
        assert!(refused(import.file(path.as_ref()).unwrap_err()), "{path}");
    }
    assert!(matches!(import.file("".as_ref()).unwrap_err(), ImportError::Path { .. }));
    write(&mut import, "data/x", b"1").unwrap();
    assert!(matches!(import.file("data/x".as_ref()).unwrap_err(), ImportError::Twice { .. }));
    drop(import);
    assert_eq!(fs::read_dir(&layout.base).unwrap().count(), 0);
}
