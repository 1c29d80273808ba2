//! What goes and what stays, and that a crash in the middle is harmless.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_catalog::delete::{
    DeleteCause, DeleteError, DeleteEvent, DeleteOptions, DeletePlan, DeleteRefusal,
};
use tapster_catalog::durable::testing::RecordingDisk;
use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{BackupRecord, BackupStatus, Catalog, KeepTarget};
use time::UtcOffset;
use walfile::{SegmentName, WalName};

use crate::catalog::{id, open, record};

static GO: AtomicBool = AtomicBool::new(false);

/// Puts a backup into the catalog: a record, files and a tablespace.
fn add(catalog: &Catalog, day: u32, begin: &str, end: &str) -> BackupRecord {
    let mut record = record(&format!("202601{day:02}T000000"), BackupStatus::Done);
    record.begin_wal = Some(begin.parse().unwrap());
    record.end_wal = Some(end.parse().unwrap());
    record.timeline = record.begin_wal.map(SegmentName::timeline);
    catalog.save(&record).unwrap();
    let dir = catalog.layout().backup_dir(&record.id);
    std::fs::create_dir_all(dir.join("data/base/1")).unwrap();
    std::fs::create_dir_all(dir.join("16386")).unwrap();
    std::fs::write(dir.join("data/base/1/1259"), "page").unwrap();
    record
}

/// Puts files into the archive and its index, in this order.
fn archive(catalog: &Catalog, names: &[&str]) {
    let mut index = String::new();
    for name in names {
        let path = catalog.layout().wal(name.parse().unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "wal").unwrap();
        index += &format!("{name}\t3\t1795219542.5\tNone\tNone\n");
    }
    std::fs::write(catalog.layout().xlogdb(), index).unwrap();
}

fn listed(catalog: &Catalog) -> Vec<String> {
    let text = std::fs::read_to_string(catalog.layout().xlogdb()).unwrap();
    text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

fn on_disk(catalog: &Catalog) -> Vec<String> {
    let mut names = Vec::new();
    let mut dirs = vec![catalog.layout().wals.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() {
                dirs.push(entry.path());
            } else if name.parse::<WalName>().is_ok() {
                names.push(name);
            }
        }
    }
    names.sort();
    names
}

fn delete(catalog: &Catalog, day: u32, options: DeleteOptions) -> Vec<DeleteEvent> {
    let plan = DeletePlan::new(catalog, &id(&format!("202601{day:02}T000000")), options).unwrap();
    let mut events = Vec::new();
    plan.execute(catalog, &GO, &mut |event| events.push(event)).unwrap();
    events
}

fn retention() -> DeleteOptions {
    let mut options = DeleteOptions::default();
    options.cause = DeleteCause::Retention;
    options
}

const S: fn(u32) -> String = |number| format!("0000000100000000{number:08X}");

/// A full disk leaves an empty `backup.info`, and the backup's files say nothing about its WAL.
#[test]
fn wal_stays_for_a_backup_whose_record_is_empty() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    add(&catalog, 2, &S(5), &S(5));
    add(&catalog, 3, &S(7), &S(7));
    for day in [1, 4] {
        let lost = add(&catalog, day, &S(6), &S(6));
        let info = catalog.layout().record(&lost.id);
        std::fs::write(&info, "").unwrap();
        let plan = || DeletePlan::new(&catalog, &id("20260102T000000"), DeleteOptions::default()).unwrap();
        assert_eq!(plan().steps[0].trim, None, "day {day}");
        std::fs::remove_dir_all(catalog.layout().backup_dir(&lost.id)).unwrap();
        assert!(plan().steps[0].trim.is_some(), "day {day}: it has no files");
        std::fs::remove_file(info).unwrap();
    }
}

#[test]
fn the_oldest_takes_its_wal_along() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    add(&catalog, 1, &S(3), &S(3));
    add(&catalog, 2, &S(5), &S(6));
    let label = format!("{}.00000028.backup", S(5));
    let partial = format!("{}.partial", S(4));
    archive(&catalog, &[&S(1), &S(3), &S(5), &label, &partial, &S(4), "00000002.history", &S(6), &S(7)]);
    let plan = DeletePlan::new(&catalog, &id("20260101T000000"), DeleteOptions::default()).unwrap();
    let trim = plan.steps[0].trim.as_ref().unwrap();
    let dry: Vec<String> = trim.listed(&catalog, &GO).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(dry, [S(1), S(3), partial.clone(), S(4)]);
    assert_eq!(listed(&catalog).len(), 9, "a plan touches nothing");
    let events = delete(&catalog, 1, DeleteOptions::default());
    assert!(matches!(&events[2], DeleteEvent::WalsRemoved(_, names) if names.len() == 4), "{events:?}");
    let rest = [S(5), label, "00000002.history".into(), S(6), S(7)];
    assert_eq!(listed(&catalog), rest);
    let mut rest = rest.to_vec();
    rest.sort();
    assert_eq!(on_disk(&catalog), rest);
    assert_eq!(catalog.backups().unwrap().len(), 1);
    assert!(!catalog.layout().backup_dir(&id("20260101T000000")).exists());
    let meta: Vec<_> = catalog.layout().meta.read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(meta, ["20260102T000000-backup.info"]);
}

#[test]
fn wal_between_backups_stays() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    for day in 1..=3 {
        add(&catalog, day, &S(day * 2), &S(day * 2));
    }
    archive(&catalog, &[&S(2), &S(3), &S(4), &S(5), &S(6)]);
    assert_eq!(delete(&catalog, 2, DeleteOptions::default()).len(), 3);
    assert_eq!(listed(&catalog).len(), 5);
    // The last one of all: WAL from its start on may serve a backup begun right after.
    delete(&catalog, 1, DeleteOptions::default());
    delete(&catalog, 3, DeleteOptions::default());
    assert_eq!(listed(&catalog), [S(6)]);
}

/// L-D6: what is on the timeline of a remaining backup stays, whatever its name.
#[test]
fn l_d6_live_branches_keep_their_wal() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    let on = |timeline: u32, number: u32| format!("{timeline:08X}00000000{number:08X}");
    add(&catalog, 1, &on(1, 1), &on(1, 1));
    add(&catalog, 2, &on(3, 5), &on(3, 5));
    add(&catalog, 3, &on(2, 4), &on(2, 4));
    archive(
        &catalog,
        &[&on(1, 1), &on(1, 2), &on(2, 3), &on(2, 4), &on(3, 4), &on(3, 5), "00000003.history"],
    );
    delete(&catalog, 1, DeleteOptions::default());
    assert_eq!(listed(&catalog), [on(2, 3), on(2, 4), on(3, 5), "00000003.history".into()]);
}

#[test]
fn standalone_backups_keep_their_own_wal() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    add(&catalog, 1, &S(2), &S(3));
    add(&catalog, 2, &S(5), &S(5));
    add(&catalog, 3, &S(8), &S(8));
    archive(&catalog, &(1..=9).map(S).collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>());
    catalog.set_keep_target(&id("20260101T000000"), KeepTarget::Standalone).unwrap();
    // Asked for by hand nothing goes; by the policy all but the range.
    let plan = DeletePlan::new(&catalog, &id("20260102T000000"), DeleteOptions::default()).unwrap();
    assert_eq!(plan.steps[0].trim, None);
    delete(&catalog, 2, retention());
    assert_eq!(listed(&catalog), [S(2), S(3), S(8), S(9)]);
    catalog.set_keep_target(&id("20260101T000000"), KeepTarget::Full).unwrap();
    let plan = DeletePlan::new(&catalog, &id("20260103T000000"), retention()).unwrap();
    assert_eq!(plan.steps[0].trim, None);
}

#[test]
fn rules_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    let full = add(&catalog, 1, &S(1), &S(1));
    let mut child = add(&catalog, 2, &S(3), &S(3));
    child.parent_backup_id = Some(full.id);
    catalog.save(&child).unwrap();
    let mut options = DeleteOptions::default();
    options.minimum_redundancy = 1;
    let refused = DeletePlan::new(&catalog, &full.id, options).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Skipping delete of backup 20260101T000000 for server main due to minimum redundancy requirements (minimum \
         redundancy = 1, current redundancy = 1)"
    );
    // An incremental backup is no redundancy, so it may go.
    assert!(DeletePlan::new(&catalog, &child.id, options).is_ok());
    catalog.set_keep_target(&full.id, KeepTarget::Full).unwrap();
    let refused = DeletePlan::new(&catalog, &full.id, DeleteOptions::default()).unwrap_err();
    assert!(matches!(refused, DeleteError::Refused(DeleteRefusal::Kept { .. })), "{refused}");
    // What nobody can read counts as kept.
    std::fs::write(catalog.layout().annotation(&full.id, "keep"), "fully").unwrap();
    assert!(DeletePlan::new(&catalog, &full.id, DeleteOptions::default()).is_err());
    assert!(matches!(
        DeletePlan::new(&catalog, &id("20200101T000000"), options),
        Err(DeleteError::Catalog(tapster_catalog::CatalogError::Unknown { .. }))
    ));
}

#[test]
fn trees_go_leaves_first() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    let days = [(1, None), (2, Some(1)), (3, Some(2)), (4, Some(1)), (5, None)];
    for (day, parent) in days {
        let mut record = add(&catalog, day, &S(day * 2), &S(day * 2));
        record.parent_backup_id = parent.map(|day: u32| id(&format!("202601{day:02}T000000")));
        record.children_backup_ids = days
            .iter()
            .filter(|(_, parent)| *parent == Some(day))
            .map(|(child, _)| id(&format!("202601{child:02}T000000")))
            .collect();
        catalog.save(&record).unwrap();
    }
    archive(&catalog, &[&S(2), &S(8), &S(9), &S(10)]);
    delete(&catalog, 2, DeleteOptions::default());
    let parent = catalog.load(&id("20260101T000000")).unwrap();
    assert_eq!(parent.children_backup_ids, [id("20260104T000000")]);
    let gone: Vec<_> = delete(&catalog, 1, DeleteOptions::default())
        .into_iter()
        .filter_map(|event| match event {
            DeleteEvent::Deleted(id) => Some(id),
            _ => None,
        })
        .collect();
    assert_eq!(gone, [id("20260104T000000"), id("20260101T000000")]);
    assert_eq!(listed(&catalog), [S(10)]);
}

#[test]
fn unreadable_records_stop_the_trimming() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    add(&catalog, 2, &S(5), &S(5));
    add(&catalog, 3, &S(8), &S(8));
    std::fs::write(catalog.layout().annotation(&id("20260101T000000"), "backup.info"), "begin_wal=?\n")
        .unwrap();
    let plan = DeletePlan::new(&catalog, &id("20260102T000000"), DeleteOptions::default()).unwrap();
    assert_eq!(plan.steps[0].trim, None, "nobody knows what the first one needs");
}

#[test]
fn a_failed_backup_alone_does_not_empty_the_archive() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    catalog.save(&record("20260101T000000", BackupStatus::Failed)).unwrap();
    archive(&catalog, &[&S(1)]);
    delete(&catalog, 1, DeleteOptions::default());
    assert_eq!(listed(&catalog), [S(1)]);
}

#[test]
fn locked_backups_stay() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    let backup = add(&catalog, 1, &S(1), &S(1));
    let plan = DeletePlan::new(&catalog, &backup.id, DeleteOptions::default()).unwrap();
    let refused = |name| {
        let _lock = Lock::try_acquire(&catalog.layout().lock(&name)).unwrap();
        plan.execute(&catalog, &GO, &mut |_| {}).unwrap_err()
    };
    let error = refused(LockName::Backup);
    assert!(matches!(error, DeleteError::Lock(LockError::Busy { .. })), "{error}");
    let error = refused(LockName::BackupId(backup.id));
    assert!(matches!(error, DeleteError::InUse { .. }), "{error}");
    assert!(catalog.layout().data_dir(&backup.id).exists());
    assert!(catalog.deletions_in_progress().unwrap().is_empty());
}

/// Cut after every operation: the deletion can always be finished, the other backup is whole at every moment, and
/// what is listed is there.
#[test]
fn deletion_survives_every_cut() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    let first = add(&catalog, 1, &S(1), &S(1));
    let second = add(&catalog, 2, &S(3), &S(3));
    archive(&catalog, &[&S(1), &S(2), &S(3), &S(4)]);
    let disk = RecordingDisk::new(home.path()).unwrap();
    let recorded = Catalog::with_disk(catalog.layout().clone(), UtcOffset::UTC, Arc::new(disk.clone()));
    let plan = DeletePlan::new(&recorded, &first.id, DeleteOptions::default()).unwrap();
    plan.execute(&recorded, &GO, &mut |event| disk.mark(format!("{event:?}"))).unwrap();

    let mut states = 0;
    disk.for_each_crash(|crash| {
        let after = tempfile::tempdir()?;
        crash.materialise(after.path())?;
        check(after.path(), &first, &second, &crash.to_string());
        states += 1;
        Ok(())
    })
    .unwrap();
    assert!(states > 20, "{states}");
}

#[test]
fn the_rules_hold_when_it_is_done_not_only_when_it_is_planned() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    let first = add(&catalog, 1, &S(1), &S(1));
    let second = add(&catalog, 2, &S(3), &S(3));
    archive(&catalog, &[&S(1), &S(2), &S(3)]);
    let mut options = DeleteOptions::default();
    options.minimum_redundancy = 1;
    let plans = [&first, &second].map(|record| DeletePlan::new(&catalog, &record.id, options).unwrap());
    plans[0].execute(&catalog, &GO, &mut drop).unwrap();
    assert!(matches!(
        plans[1].execute(&catalog, &GO, &mut drop),
        Err(DeleteError::Refused(DeleteRefusal::MinimumRedundancy { .. }))
    ));

    let plan = DeletePlan::new(&catalog, &second.id, DeleteOptions::default()).unwrap();
    catalog.set_keep_target(&second.id, KeepTarget::Full).unwrap();
    let kept = plan.execute(&catalog, &GO, &mut drop);
    assert!(matches!(kept, Err(DeleteError::Refused(DeleteRefusal::Kept { .. }))));
    catalog.release_keep(&second.id).unwrap();

    let mut child = add(&catalog, 3, &S(3), &S(3));
    child.parent_backup_id = Some(second.id);
    catalog.save(&child).unwrap();
    assert!(matches!(plan.execute(&catalog, &GO, &mut drop), Err(DeleteError::Changed { .. })));
    assert!(catalog.layout().backup_dir(&second.id).exists());
}

#[test]
fn l_d5_a_clock_set_back_costs_no_wal() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    add(&catalog, 1, &S(1), &S(1));
    // The second by its id was taken last.
    add(&catalog, 2, &S(8), &S(8));
    add(&catalog, 3, &S(5), &S(5));
    archive(&catalog, &[&S(1), &S(4), &S(5), &S(6), &S(7), &S(8)]);
    delete(&catalog, 1, DeleteOptions::default());
    assert_eq!(listed(&catalog), [S(5), S(6), S(7), S(8)]);
}

#[test]
fn what_an_unreadable_backup_builds_on_stays() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    let mut parent = add(&catalog, 1, &S(1), &S(1));
    let child = add(&catalog, 2, &S(3), &S(3));
    parent.children_backup_ids = vec![child.id];
    catalog.save(&parent).unwrap();
    std::fs::write(catalog.layout().record(&child.id), "unheard_of=1\n").unwrap();
    let refused = DeletePlan::new(&catalog, &parent.id, DeleteOptions::default());
    assert!(matches!(refused, Err(DeleteError::Catalog(_))));
}

fn check(home: &Path, first: &BackupRecord, second: &BackupRecord, crash: &str) {
    let catalog = open(home);
    for name in listed(&catalog) {
        assert!(catalog.layout().wal(name.parse().unwrap()).exists(), "{name} is listed only, {crash}");
    }
    let whole = |record: &BackupRecord| catalog.layout().data_dir(&record.id).join("base/1/1259").exists();
    assert!(whole(second) && catalog.load(&second.id).is_ok(), "{crash}");
    let marked = catalog.deletions_in_progress().unwrap().contains(&first.id);
    match catalog.load(&first.id) {
        Ok(_) if whole(first) => {}
        Ok(_) => assert!(marked, "half a backup without a marker, {crash}"),
        Err(_) => assert!(!whole(first), "{crash}"),
    }
    for id in DeletePlan::leftovers(&catalog).unwrap() {
        DeletePlan::finish(&catalog, &id).unwrap();
    }
    if catalog.load(&first.id).is_ok() {
        delete(&catalog, 1, DeleteOptions::default());
    }
    catalog.remove_stale().unwrap();
    assert!(catalog.deletions_in_progress().unwrap().is_empty(), "{crash}");
    assert!(!catalog.layout().backup_dir(&first.id).exists(), "{crash}");
    assert_eq!(on_disk(&catalog), [S(3), S(4)], "{crash}");
    assert_eq!(listed(&catalog), [S(3), S(4)], "{crash}");
}

/// A backup of many files takes long, and the daemon is to end at once.
#[test]
fn a_deletion_ends_between_two_files_and_is_finished_later() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    let backup = add(&catalog, 1, &S(1), &S(1));
    let plan = || DeletePlan::new(&catalog, &backup.id, DeleteOptions::default()).unwrap();
    let stop = AtomicBool::new(false);
    let stopped = plan().execute(&catalog, &stop, &mut |event| {
        assert!(matches!(event, DeleteEvent::Begin(_)), "{event:?}");
        stop.store(true, Ordering::Relaxed);
    });
    assert!(matches!(stopped, Err(DeleteError::Stopped { id }) if id == backup.id), "{stopped:?}");
    assert!(catalog.layout().data_dir(&backup.id).exists());
    assert!(catalog.deletions_in_progress().unwrap().contains(&backup.id));
    plan().execute(&catalog, &GO, &mut drop).unwrap();
    assert!(!catalog.layout().backup_dir(&backup.id).exists());
}

/// L-D4: the policy does not wait for a backup to end, and takes nothing that the backup needs.
#[test]
fn l_d4_the_policy_goes_on_beside_a_backup_and_beside_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    for (day, number) in [(1, 1), (2, 3), (3, 5)] {
        add(&catalog, day, &S(number), &S(number));
    }
    let other = "000000020000000000000001".to_owned();
    let names = [1, 2, 3, 4, 5].map(S);
    archive(&catalog, &names.iter().chain([&other]).map(String::as_str).collect::<Vec<_>>());
    let plan = |day: u32, options| {
        DeletePlan::new(&catalog, &id(&format!("202601{day:02}T000000")), options).unwrap()
    };
    let busy = |day, options| {
        let error = plan(day, options).execute(&catalog, &GO, &mut drop).unwrap_err();
        assert!(matches!(error, DeleteError::Lock(LockError::Busy { .. })), "{error}");
    };
    // Left by a crash, before somebody else took the lock.
    let crashed = record("20251201T000000", BackupStatus::Started);
    catalog.save(&crashed).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    let lock = Lock::try_acquire(&catalog.layout().lock(&LockName::Backup)).unwrap();
    busy(1, retention());
    let mut running = record("20260104T000000", BackupStatus::Empty);
    running.parent_backup_id = Some(id("20260102T000000"));
    running.begin_wal = Some(S(6).parse().unwrap());
    catalog.save(&running).unwrap();
    busy(1, DeleteOptions::default());
    // What it builds on, and what its files may be linked to.
    busy(2, retention());
    busy(3, retention());
    plan(1, retention()).execute(&catalog, &GO, &mut drop).unwrap();
    assert_eq!(listed(&catalog), [S(3), S(4), S(5), other.clone()]);

    // Somebody else has got the lock since the plan was made: it may be a deletion.
    running.parent_backup_id = None;
    catalog.save(&running).unwrap();
    let taken = plan(2, retention());
    let retaken = std::cell::RefCell::new(Some(lock));
    struct Retakes<'a>(&'a Catalog, &'a std::cell::RefCell<Option<Lock>>);
    impl tapster_catalog::delete::DeleteObserver for Retakes<'_> {
        fn event(&mut self, event: DeleteEvent) {
            panic!("{event:?}");
        }
        fn before(&mut self, _: &BackupRecord) -> std::ops::ControlFlow<String> {
            std::thread::sleep(std::time::Duration::from_millis(20));
            self.1.replace(None);
            self.1.replace(Lock::try_acquire(&self.0.layout().lock(&LockName::Backup)).ok());
            std::ops::ControlFlow::Continue(())
        }
    }
    let error = taken.execute_watched(&catalog, &GO, &mut Retakes(&catalog, &retaken)).unwrap_err();
    assert!(matches!(error, DeleteError::Lock(LockError::Busy { .. })), "{error}");
    assert!(catalog.layout().data_dir(&id("20260102T000000")).exists());
    assert!(catalog.deletions_in_progress().unwrap().is_empty());

    // Where it begins nobody knows yet.
    running.begin_wal = None;
    catalog.save(&running).unwrap();
    plan(2, retention()).execute(&catalog, &GO, &mut drop).unwrap();
    assert!(!catalog.layout().data_dir(&id("20260102T000000")).exists());
    assert_eq!(listed(&catalog), [S(3), S(4), S(5), other]);
}

/// What is half gone is no redundancy.
#[test]
fn a_deletion_that_has_begun_counts_as_done() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    let (first, second) = (add(&catalog, 1, &S(1), &S(1)), add(&catalog, 2, &S(3), &S(3)));
    std::fs::write(catalog.layout().annotation(&first.id, "delete_this"), "delete").unwrap();
    let mut options = DeleteOptions::default();
    options.minimum_redundancy = 1;
    assert!(DeletePlan::new(&catalog, &first.id, options).is_ok());
    assert!(matches!(
        DeletePlan::new(&catalog, &second.id, options),
        Err(DeleteError::Refused(DeleteRefusal::MinimumRedundancy { current: 1, .. }))
    ));
}

/// A request to stop is heard between two files of the archive, and what it left is found by the next run.
#[test]
fn the_wal_of_a_deletion_goes_in_two_runs() {
    let home = tempfile::tempdir().unwrap();
    let catalog = open(home.path());
    let (first, _) = (add(&catalog, 1, &S(1), &S(1)), add(&catalog, 2, &S(0x400), &S(0x400)));
    let names: Vec<String> = (1..0x80).map(S).chain([S(0x400)]).collect();
    archive(&catalog, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let stop = AtomicBool::new(false);
    struct Stops<'a>(&'a AtomicBool);
    impl tapster_catalog::delete::DeleteObserver for Stops<'_> {
        fn event(&mut self, _: DeleteEvent) {}
        fn wants_wals(&self) -> bool {
            true
        }
        fn after_wal(&mut self, _: &tapster_catalog::XlogEntry, path: &Path, error: Option<&str>) {
            assert_eq!(path.exists(), error.is_some(), "{error:?}");
        }
        fn before_wal(
            &mut self,
            entry: &tapster_catalog::XlogEntry,
            _: &Path,
        ) -> std::ops::ControlFlow<String> {
            // The last one is asked about; then they go.
            self.0.store(entry.name.to_string() == S(0x7F), Ordering::Relaxed);
            std::ops::ControlFlow::Continue(())
        }
    }
    let plan = || DeletePlan::new(&catalog, &first.id, DeleteOptions::default()).unwrap();
    let stopped = plan().execute_watched(&catalog, &stop, &mut Stops(&stop));
    assert!(matches!(stopped, Err(DeleteError::Stopped { .. })), "{stopped:?}");
    assert!(on_disk(&catalog).len() > 100 && catalog.deletions_in_progress().unwrap() == [first.id]);
    for name in listed(&catalog) {
        assert!(catalog.layout().wal(name.parse().unwrap()).exists());
    }
    plan().execute(&catalog, &GO, &mut drop).unwrap();
    assert_eq!((on_disk(&catalog), listed(&catalog)), (vec![S(0x400)], vec![S(0x400)]));
}

/// Any call that fails, once or from then on (a disk that has become read-only): the deletion can be finished, and the other
/// backup has lost nothing.
#[test]
fn any_failing_call_leaves_a_deletion_that_can_be_finished() {
    for (errno, lasts) in [(5, false), (28, true), (30, true)] {
        let mut failures = 0;
        for call in 0.. {
            let home = tempfile::tempdir().unwrap();
            let catalog = open(home.path());
            let first = add(&catalog, 1, &S(1), &S(1));
            let second = add(&catalog, 2, &S(3), &S(3));
            archive(&catalog, &[&S(1), &S(2), &S(3), &S(4)]);
            let disk = RecordingDisk::new(home.path()).unwrap();
            if lasts {
                disk.fail_from(call, errno);
            } else {
                disk.fail_at(call, errno);
            }
            let recorded =
                Catalog::with_disk(catalog.layout().clone(), UtcOffset::UTC, Arc::new(disk.clone()));
            let plan = DeletePlan::new(&recorded, &first.id, DeleteOptions::default()).unwrap();
            let done = plan.execute(&recorded, &GO, &mut drop);
            check(home.path(), &first, &second, &format!("{errno} at call {call}"));
            failures += usize::from(done.is_err());
            if call > disk.calls() {
                break;
            }
        }
        assert!(failures > 15, "{failures}");
    }
}
