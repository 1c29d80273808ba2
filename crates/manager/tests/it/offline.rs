//! What can be told without PostgreSQL, from names, records and history files: what a restore plan allows and refuses, and
//! what a list adds up.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use tapster_catalog::delete::DeleteError;
use tapster_catalog::{BackupRecord, BackupStatus, TablespaceInfo};
use tapster_manager::config::{Config, ConfigSources};
use tapster_manager::restore::{
    BackupChoice, RecoveryTarget, RestoreOptions, RestorePlan, RestorePlanError, TimelineTarget, WalPlanError,
};
use tapster_manager::{
    Context, Event, Observer, RestoreError, Server, Silent, WalErrorsAction, WalErrorsOptions,
};
use tapster_protocol::Environment;
use time::macros::datetime;
use walfile::{Lsn, SegmentName, SegmentSize, Timeline};

const ID: &str = "20261121T000000";
const SEGMENT: u64 = 16 * 1024 * 1024;

pub struct Hub {
    pub home: tempfile::TempDir,
    pub server: Server,
    pub record: BackupRecord,
}

impl Hub {
    /// A backup that begins and ends in segment 5 of timeline 1, and an archive after a failover in segment 6: the old primary
    /// went on to 9, the new one is at 7.
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let conf = home.path().join("tapster.conf");
        let text = format!(
            "[barman]\nbarman_home = {}\n[main]\nconninfo = host=none\nstreaming_conninfo = host=none\n\
             backup_method = postgres\nstreaming_archiver = on\n",
            home.path().display()
        );
        std::fs::write(&conf, text).unwrap();
        let config = Config::load(&ConfigSources::file(conf)).unwrap();
        let server = Server::open(&config, "main", Environment::default()).unwrap();
        server.create_directories().unwrap();

        let mut record = BackupRecord::new(ID.parse().unwrap());
        record.status = BackupStatus::Done;
        record.version = Some(150_000);
        record.timeline = Some(Timeline::FIRST);
        record.begin_xlog = Some(Lsn::new(5 * SEGMENT + 40));
        record.begin_wal = Some("000000010000000000000005".parse().unwrap());
        record.end_xlog = Some(Lsn::new(5 * SEGMENT + 256));
        record.end_wal = record.begin_wal;
        server.catalog().save(&record).unwrap();
        let hub = Self { home, server, record };
        for dir in ["global", "pg_wal", "pg_tblspc"] {
            std::fs::create_dir_all(hub.data().join(dir)).unwrap();
        }
        let control = "../walfile/tests/data/15/pg_control.production";
        let control = Path::new(env!("CARGO_MANIFEST_DIR")).join(control);
        std::fs::copy(control, hub.data().join("global/pg_control")).unwrap();
        std::fs::write(hub.data().join("backup_label"), "x").unwrap();
        for (timeline, segment) in [(1, 5), (1, 6), (1, 7), (1, 8), (1, 9), (2, 6), (2, 7)] {
            hub.archive(&format!("{timeline:08X}00000000{segment:08X}"), "");
        }
        hub.archive("00000002.history", "1\t0/6000100\tno recovery target specified\n");
        hub
    }

    fn data(&self) -> PathBuf {
        self.server.catalog().layout().data_dir(&self.record.id)
    }

    /// A segment that is switched from at once, or a file with this content.
    pub fn archive(&self, name: &str, content: &str) {
        let path = self.server.catalog().layout().wal(name.parse().unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match name.parse::<SegmentName>() {
            Ok(segment) if content.is_empty() => {
                std::fs::write(&path, switched(segment)).unwrap();
                std::fs::File::options().write(true).open(path).unwrap().set_len(SEGMENT).unwrap();
            }
            _ => std::fs::write(path, content).unwrap(),
        }
    }

    fn options(&self) -> RestoreOptions {
        let record = Box::new(self.server.catalog().load(&self.record.id).unwrap());
        RestoreOptions::new(BackupChoice::Record(record), self.home.path().join("restored"))
    }

    fn plan(&self, change: impl FnOnce(&mut RestoreOptions)) -> Result<RestorePlan, RestorePlanError> {
        let mut options = self.options();
        change(&mut options);
        self.server.plan_restore(&options, &Context::new(&Silent))
    }
}

/// The beginning of a segment of PostgreSQL 15: its header, and the record that says that the rest is empty. Segment 6 was begun on
/// timeline 1, of whichever it is.
fn switched(name: SegmentName) -> Vec<u8> {
    let start = name.start(SegmentSize::DEFAULT).unwrap().get();
    let timeline = if start == 6 * SEGMENT { 1 } else { name.timeline().get() };
    let mut bytes = Vec::new();
    bytes.extend(0xD110_u16.to_le_bytes());
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(timeline.to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(7_u64.to_le_bytes());
    bytes.extend(u32::try_from(SEGMENT).unwrap().to_le_bytes());
    bytes.extend(8192_u32.to_le_bytes());
    let mut record = Vec::new();
    record.extend(24_u32.to_le_bytes());
    record.extend(0_u32.to_le_bytes());
    record.extend((start - SEGMENT + 40).to_le_bytes());
    record.extend([0x40, 0, 0, 0]);
    let crc = crc32c(&record);
    bytes.extend(record);
    bytes.extend(crc.to_le_bytes());
    bytes
}

fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

fn names(plan: &RestorePlan) -> Vec<String> {
    plan.wal.segments.iter().map(ToString::to_string).collect()
}

#[test]
fn without_recovery_settings_the_backups_timeline_is_replayed_and_no_other() {
    let hub = Hub::new();
    let plan = hub.plan(|_| {}).unwrap();
    let own: Vec<String> = (5..=9).map(|n| format!("00000001000000000000000{n}")).collect();
    assert_eq!(names(&plan), own);
    assert!(
        plan.warnings.iter().any(|w| w.starts_with("timeline 2 goes on from 0/6000100")),
        "{:?}",
        plan.warnings
    );
    assert!(plan.extras.iter().any(|name| name.to_string() == "00000002.history"));
    let newest = ["000000010000000000000005", "000000020000000000000006", "000000020000000000000007"];
    let follow: [fn(&mut RestoreOptions); 3] = [
        |options| options.timeline = Some(TimelineTarget::Latest),
        |options| options.get_wal = Some(true),
        |options| options.standby_mode = true,
    ];
    for change in follow {
        let plan = hub.plan(change).unwrap();
        assert_eq!(names(&plan), newest);
        assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    }
}

#[test]
fn a_standby_asks_again_where_recovery_would_stop() {
    let hub = Hub::new();
    for (standby, command) in [
        (false, "restore_command = 'true > %p || exit 200; barman get-wal -P main %f > %p'\n"),
        (true, "restore_command = 'barman get-wal  main %f > %p || exit 1'\n"),
    ] {
        let place = hub.home.path().join(format!("standby-{standby}"));
        let plan = hub.plan(|options| {
            options.get_wal = Some(true);
            options.standby_mode = standby;
            options.destination = place.clone();
        });
        hub.server.restore(plan.unwrap(), &Context::new(&Silent)).unwrap();
        let settings = std::fs::read_to_string(place.join("postgresql.auto.conf")).unwrap();
        assert!(settings.contains(command), "{settings}");
    }
}

#[test]
fn where_no_transaction_ends_no_time_is_a_target() {
    let hub = Hub::new();
    let plan = hub.plan(|options| options.target = RecoveryTarget::Time(datetime!(2001-01-01 00:00 UTC)));
    assert!(matches!(plan, Err(RestorePlanError::TimeBeyondArchive { last: None, .. })), "{plan:?}");
    // Of a hole in the archive nobody knows whether the target is before it.
    hub.archive("000000020000000000000009", "");
    let plan = hub.plan(|options| options.target = RecoveryTarget::Time(datetime!(2001-01-01 00:00 UTC)));
    assert!(matches!(plan, Err(RestorePlanError::Gap { .. })));
}

#[test]
fn auto_chooses_by_ancestry() {
    let hub = Hub::new();
    // Newer, and of a lower number than 3, but of timeline 2, which 3 does not come from.
    let mut aside = hub.record.clone();
    aside.id = "20261122T000000".parse().unwrap();
    aside.timeline = Some(Timeline::new(2).unwrap());
    aside.begin_xlog = Some(Lsn::new(7 * SEGMENT + 40));
    aside.begin_wal = Some("000000020000000000000007".parse().unwrap());
    aside.end_xlog = Some(Lsn::new(7 * SEGMENT + 256));
    hub.server.catalog().save(&aside).unwrap();
    hub.archive("00000003.history", "1\t0/6000100\tno recovery target specified\n");
    let chosen = |timeline: u32| {
        hub.plan(|options| {
            options.backup = BackupChoice::Auto;
            options.timeline = Some(TimelineTarget::Number(Timeline::new(timeline).unwrap()));
        })
    };
    assert_eq!(chosen(3).unwrap().backup(), hub.record.id);
    let refused = chosen(2).unwrap_err();
    assert!(refused.to_string().contains(&aside.id.to_string()), "it has no files: {refused}");
    let unknown = chosen(4).unwrap_err();
    assert!(matches!(unknown, RestorePlanError::Wal(WalPlanError::UnknownTimeline { .. })), "{unknown}");
}

#[test]
fn planning_ends_when_asked_to() {
    let hub = Hub::new();
    let context = Context::new(&Silent).with_stop(Arc::new(AtomicBool::new(true)));
    let stopped = hub.server.plan_restore(&hub.options(), &context).unwrap_err();
    assert!(matches!(stopped, RestorePlanError::Stopped), "{stopped}");
}

#[test]
fn a_history_file_that_is_not_needed_may_be_broken() {
    let hub = Hub::new();
    hub.archive("00000003.history", "no history\n");
    hub.plan(|_| {}).unwrap();
    hub.plan(|options| options.timeline = Some(TimelineTarget::Number(Timeline::new(2).unwrap()))).unwrap();
    let latest = hub.plan(|options| options.timeline = Some(TimelineTarget::Latest));
    assert!(matches!(latest, Err(RestorePlanError::Archive(_))), "PostgreSQL would find it too");
}

#[test]
fn wal_is_staged_only_where_nothing_else_is_lost_with_it() {
    let hub = Hub::new();
    let home = hub.home.path().to_owned();
    let stage = |dir: &Path| {
        hub.plan(|options| {
            options.target = RecoveryTarget::Immediate;
            options.staging_wal_directory = Some(dir.to_owned());
        })
    };
    let used = home.join("used");
    std::fs::create_dir(&used).unwrap();
    std::fs::write(used.join("precious"), "x").unwrap();
    let (restored, around) = (home.join("restored"), home.join("link"));
    std::fs::create_dir(home.join("empty")).unwrap();
    std::os::unix::fs::symlink(home.join("empty"), &around).unwrap();
    for dir in [&used, &restored, &restored.join("pg_wal"), &restored.join("pg_wal/x")] {
        assert!(matches!(stage(dir), Err(RestorePlanError::WalDirectory { .. })), "{}", dir.display());
    }
    let through = hub.plan(|options| {
        options.destination = home.join("empty/data");
        options.target = RecoveryTarget::Immediate;
        options.staging_wal_directory = Some(around.clone());
    });
    assert!(matches!(through, Err(RestorePlanError::WalDirectory { .. })), "{through:?}");
    for dir in [home.join("staged"), restored.join("staged")] {
        assert_eq!(stage(&dir).unwrap().wal_directory, Some(dir));
    }
    // PostgreSQL's working directory is another one than ours.
    assert!(stage(Path::new("staged-here")).unwrap().wal_directory.unwrap().is_absolute());
}

#[test]
fn a_backup_that_is_going_is_not_restored() {
    let hub = Hub::new();
    let marker = hub.server.catalog().layout().annotation(&hub.record.id, "delete_this");
    std::fs::write(marker, "delete").unwrap();
    let refused = hub.plan(|_| {}).unwrap_err();
    assert!(matches!(refused, RestorePlanError::Files { .. }), "{refused}");
    assert!(matches!(
        hub.plan(|options| options.backup = BackupChoice::Auto),
        Err(RestorePlanError::NoCandidate)
    ));
}

/// Tries to delete the backup as soon as its files are being copied.
struct Deleting<'a>(&'a Hub, Mutex<Option<DeleteError>>);

impl Observer for Deleting<'_> {
    fn event(&self, event: &Event) {
        if matches!(event, Event::CopyingBaseBackup) {
            let plan = self.0.server.plan_delete(&self.0.record).unwrap();
            let refused = self.0.server.delete(&plan, &Context::new(&Silent)).unwrap_err();
            *self.1.lock().unwrap() = Some(refused);
        }
    }
}

#[test]
fn a_backup_is_not_deleted_while_it_is_restored() {
    let hub = Hub::new();
    let plan = || hub.plan(|options| options.get_wal = Some(true)).unwrap();
    let (first, late) = (plan(), {
        let mut plan = plan();
        plan.destination = hub.home.path().join("late");
        plan
    });
    let observer = Deleting(&hub, Mutex::default());
    hub.server.restore(first, &Context::new(&observer)).unwrap();
    let refused = observer.1.into_inner().unwrap();
    assert!(matches!(refused, Some(DeleteError::InUse { .. })), "{refused:?}");
    assert!(hub.home.path().join("restored/global/pg_control").exists());

    let delete = hub.server.plan_delete(&hub.record).unwrap();
    hub.server.delete(&delete, &Context::new(&Silent)).unwrap();
    let gone = hub.server.restore(late, &Context::new(&Silent)).unwrap_err();
    assert!(matches!(gone, RestoreError::Deleted { .. }), "{gone}");
    assert!(!hub.home.path().join("late").exists());
}

/// What of the destination's WAL is nowhere else must be known while its server could still start.
#[test]
fn a_destination_whose_wal_cannot_be_judged_is_not_touched() {
    let hub = Hub::new();
    hub.server
        .restore(hub.plan(|options| options.get_wal = Some(true)).unwrap(), &Context::new(&Silent))
        .unwrap();
    let restored = hub.home.path().join("restored");
    let segment = "000000010000000000000005";
    std::fs::write(restored.join("pg_wal").join(segment), switched(segment.parse().unwrap())).unwrap();
    let over = || {
        hub.plan(|options| {
            options.get_wal = Some(true);
            options.delta = Some(true);
        })
    };
    let plan = over().unwrap();
    let wals = &hub.server.catalog().layout().wals;
    let away = hub.home.path().join("away");
    std::fs::rename(wals, &away).unwrap();
    let failed = hub.server.restore(plan, &Context::new(&Silent)).unwrap_err();
    assert!(matches!(failed, RestoreError::Destination(_)), "{failed}");
    assert!(restored.join("global/pg_control").exists());
    std::fs::rename(&away, wals).unwrap();
    hub.server.restore(over().unwrap(), &Context::new(&Silent)).unwrap();
}

#[test]
fn a_tablespace_the_record_does_not_know_would_be_shared_with_the_backup() {
    let mut hub = Hub::new();
    let dir = hub.server.catalog().layout().tablespace_dir(&hub.record.id, 16386);
    std::fs::create_dir_all(&dir).unwrap();
    std::os::unix::fs::symlink(&dir, hub.data().join("pg_tblspc/16386")).unwrap();
    let refused = hub.plan(|_| {}).unwrap_err();
    assert!(matches!(refused, RestorePlanError::Files { .. }), "{refused}");
    let location = hub.home.path().join("space").to_str().unwrap().to_owned();
    hub.record.tablespaces = vec![TablespaceInfo { name: "space".to_owned(), oid: 16386, location }];
    hub.server.catalog().save(&hub.record).unwrap();
    assert_eq!(hub.plan(|_| {}).unwrap().tablespaces.len(), 1);
}

#[test]
fn wal_of_all_backups_is_added_up_in_one_pass() {
    let hub = Hub::new();
    let segment = |number: u32| format!("00000001{number:016X}");
    let mut index = String::new();
    for number in 4..=9 {
        index += &format!("{}\t{}\t17952195{number:02}.5\tgzip\tNone\n", segment(number), number * 100);
    }
    std::fs::write(hub.server.catalog().layout().xlogdb(), index).unwrap();
    let mut later = hub.record.clone();
    later.id = "20261122T000000".parse().unwrap();
    later.begin_wal = Some(segment(7).parse().unwrap());
    later.end_wal = Some(segment(8).parse().unwrap());
    let mut failed = hub.record.clone();
    failed.id = "20261121T120000".parse().unwrap();
    failed.status = BackupStatus::Failed;
    for record in [&later, &failed] {
        hub.server.catalog().save(record).unwrap();
    }
    let list = hub.server.list_backups(&Context::new(&Silent)).unwrap().backups;
    let sums: Vec<_> = list
        .iter()
        .map(|b| {
            (b.record.id.to_string(), b.wal.own_bytes, b.wal.later_bytes, b.wal.own_count, b.wal.later_count)
        })
        .collect();
    // The earlier one's WAL goes on to the end of the next copied one.
    assert_eq!(
        sums,
        [
            ("20261122T000000".to_owned(), 1500, 900, 2, 1),
            ("20261121T120000".to_owned(), 0, 0, 0, 0),
            (ID.to_owned(), 500, 2100, 1, 3),
        ]
    );
}

#[test]
fn what_is_retried_is_archived_where_no_file_archiver_would_come_for_it() {
    let hub = Hub::new();
    let layout = hub.server.catalog().layout();
    let history = "1\t0/6000100\tno recovery target specified\n2\t0/7000100\tno recovery target specified\n";
    std::fs::write(layout.errors.join("00000003.history.20261121T030912Z.unknown"), history).unwrap();
    let mut options = WalErrorsOptions::default();
    options.action = WalErrorsAction::Retry;
    let context = Context::new(&Silent);
    let report = hub.server.wal_errors(&options, &context).unwrap();
    assert_eq!(report.entries.len(), 1);
    assert_eq!(std::fs::read_to_string(layout.wals.join("00000003.history")).unwrap(), history);
    assert_eq!(layout.incoming.read_dir().unwrap().count(), 0);
    assert_eq!(layout.errors.read_dir().unwrap().count(), 0);
}

/// The daemon archives, so that the run that waits finds its queues empty.
#[test]
fn a_segment_that_somebody_else_archives_has_come() {
    let hub = Hub::new();
    let wait = |seconds| {
        hub.server.wait_for_archive(None, std::time::Duration::from_secs(seconds), &Context::new(&Silent))
    };
    assert!(!wait(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(300));
            hub.archive("000000020000000000000008", "");
        });
        assert!(wait(20));
    });
    assert!(!wait(0));
}
