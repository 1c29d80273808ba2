//! `archive-wal` dies with a full queue: in the end every segment is archived once, and listed once.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::chaos::{Running, Stored, finish_segment, flushed, lab, lsn, wait_until_received, write_wal};
use crate::lab::Lab;

/// Fills `streaming/` with some thirty segments; returns what they hold.
fn fill_queue(lab: &Lab) -> (walfile::Lsn, walfile::Lsn) {
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let start = lsn(&lab.cluster.value("SELECT restart_lsn FROM pg_replication_slots"));
    let receiver = Running::start(lab, &["receive-wal", "main"]);
    while flushed(&lab.cluster).get() < start.get() + (30 << 20) {
        write_wal(&lab.cluster, 20000);
    }
    let end = finish_segment(&lab.cluster);
    wait_until_received(&lab.cluster, end);
    assert_eq!(receiver.stop().code, 0);
    (start, end)
}

fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// L-A2, L-A18, L-A26, L-A29.
#[test]
fn killed_with_a_full_queue_it_archives_each_segment_once() {
    let Some(lab) = lab(|builder| builder) else { return };
    let (start, end) = fill_queue(&lab);
    let stored = Stored::new(&lab);
    copy(&lab.path("home"), &lab.path("queue"));
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    for compression in ["compression = gzip\n", ""] {
        copy(&lab.path("queue"), &lab.path("home"));
        let text = std::fs::read_to_string(lab.configure("chaos.conf", &conninfo, "")).unwrap();
        std::fs::write(lab.path("chaos.conf"), text.replace("compression = gzip\n", compression)).unwrap();
        let mut kills = 0;
        // Each run gets a little further than the one before, however fast the machine is.
        for patience in (4..).step_by(4) {
            let mut archiver = Running::start_with(&lab, "chaos.conf", &["archive-wal", "main"]);
            std::thread::sleep(Duration::from_millis(patience));
            if !archiver.is_running() {
                let run = archiver.end();
                assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
                break;
            }
            archiver.kill();
            kills += 1;
        }
        assert!(kills >= 1, "{kills}");
        stored.hold_all(start, end);
        stored.hold_index();
        stored.hold_no_leftovers();
        let names: Vec<String> = stored.names(start, end).iter().map(ToString::to_string).collect();
        let archived: Vec<String> = stored.archived().into_iter().map(|(name, _)| name).collect();
        // The last is the receiver's when it has not begun the next.
        assert!(names.starts_with(&archived) && archived.len() + 1 >= names.len(), "{archived:?}");
    }
}
