//! `receive-wal` dies, the server dies, the slot is gone: what was acknowledged is on disk, and receiving goes on there.

use std::time::Duration;

use tapster_protocol::testing::StopMode;
use walfile::SegmentSize;

use crate::chaos::{
    Running, Stored, acknowledged, finish_segment, lab, lsn, under_load, wait_for, wait_until_received,
    write_wal,
};
use crate::lab::Lab;

/// Bytes in whole segments of `streaming/`.
fn segments(stored: &Stored) -> usize {
    let Ok(entries) = std::fs::read_dir(&stored.layout.streaming) else { return 0 };
    entries.filter(|entry| entry.as_ref().unwrap().file_name().len() == 24).count()
}

fn restart_lsn(lab: &Lab) -> walfile::Lsn {
    lsn(&lab.cluster.value("SELECT restart_lsn FROM pg_replication_slots"))
}

/// L-A27, L-A30, L-A35: killed at any moment, it has what it said it has, and goes on there.
#[test]
fn killed_again_and_again_it_loses_nothing() {
    let Some(lab) = lab(|builder| builder) else { return };
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let (stored, start) = (Stored::new(&lab), restart_lsn(&lab));
    under_load(&lab.cluster, || {
        let mut last = start;
        for round in 0..7 {
            let mut receiver = Running::start(&lab, &["receive-wal", "main"]);
            let before = segments(&stored);
            wait_for("some segments", || segments(&stored) > before + round % 4 || !receiver.is_running());
            assert!(receiver.is_running(), "{}", receiver.kill());
            // At another moment of the next segment every time.
            std::thread::sleep(Duration::from_millis(round as u64 * 3));
            receiver.kill();
            let safe = acknowledged(&lab.cluster);
            // A receiver begins its segment again, and says so.
            assert!(safe >= last.segment_start(SegmentSize::MIN));
            stored.hold_all(last, safe);
            last = safe;
            if round == 3 {
                lab.ok(&["archive-wal", "main"]);
            }
        }
        assert!(last > start);
    });
    let end = finish_segment(&lab.cluster);
    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    wait_until_received(&lab.cluster, end);
    let run = receiver.stop();
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    lab.ok(&["archive-wal", "main"]);
    stored.hold_all(start, end);
    stored.hold_records(&lab, start, end);
    stored.hold_index();
    stored.hold_no_leftovers();
}

/// The server crashes and is stopped under a receiver that goes on running.
#[test]
fn it_outlives_its_server() {
    let Some(lab) = lab(|builder| builder) else { return };
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let (stored, start) = (Stored::new(&lab), restart_lsn(&lab));
    let mut receiver = Running::start(&lab, &["receive-wal", "main"]);
    for mode in [StopMode::Immediate, StopMode::Fast] {
        write_wal(&lab.cluster, 30000);
        wait_until_received(&lab.cluster, finish_segment(&lab.cluster));
        lab.cluster.stop(mode);
        lab.cluster.start();
        assert!(receiver.is_running(), "{}", receiver.kill());
    }
    let end = finish_segment(&lab.cluster);
    wait_until_received(&lab.cluster, end);
    let run = receiver.stop();
    assert_eq!(run.code, 0, "{run:?}");
    stored.hold_all(start, end);
    stored.hold_records(&lab, start, end);
}

/// L-A23, L-A36: a slot that was made anew above what we have is told, not begun from.
#[test]
fn l_a23_a_slot_made_anew_leaves_no_silent_hole() {
    let Some(lab) = Lab::with(|builder| {
        builder.wal_segment_mb(1).config("max_wal_size = 2MB").config("min_wal_size = 2MB")
    }) else {
        return;
    };
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    write_wal(&lab.cluster, 20000);
    wait_until_received(&lab.cluster, finish_segment(&lab.cluster));
    assert_eq!(receiver.stop().code, 0);
    lab.ok(&["receive-wal", "--drop-slot", "main"]);
    let missing = lab.run(&["receive-wal", "main"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("replication slot 'tapster' does not exist"), "{missing:?}");
    for _ in 0..3 {
        write_wal(&lab.cluster, 30000);
        lab.cluster.sql("CHECKPOINT");
    }
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let run = lab.run(&["receive-wal", "main"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("is no longer on the server"), "{run:?}");
    assert!(
        run.stderr.contains("HINT: run 'barman receive-wal --reset main', then take a new base backup"),
        "{run:?}"
    );
}

/// L-A27: what a commit waited for is on disk, whatever happens next.
#[test]
fn l_a27_a_synchronous_commit_is_on_disk() {
    let Some(lab) = lab(|builder| builder.config("synchronous_standby_names = 'barman_receive_wal'")) else {
        return;
    };
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let (stored, start) = (Stored::new(&lab), restart_lsn(&lab));
    for _ in 0..3 {
        let receiver = Running::start(&lab, &["receive-wal", "main"]);
        lab.cluster.sql("CREATE TABLE IF NOT EXISTS t (i integer)");
        let mut connection = lab.cluster.connect();
        for i in 0..20 {
            connection.query(&format!("INSERT INTO t VALUES ({i})")).unwrap();
        }
        // The last commit ends here or before: it was acknowledged, so this much is with us.
        let committed = lsn(&lab.cluster.value("SELECT flush_lsn FROM pg_stat_replication"));
        receiver.kill();
        stored.hold_all(start, committed);
        let rows = lab.cluster.value("SELECT count(*) FROM t");
        assert_eq!(rows.parse::<u32>().unwrap() % 20, 0);
    }
    stored.hold_records(&lab, start, acknowledged(&lab.cluster));
}
