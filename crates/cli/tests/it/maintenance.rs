//! `list-processes`, `terminate-process`, `check-wal-archive` and `rebuild-xlogdb`, and real Barman beside them.

use crate::lab::Lab;

/// Both programs print the same for the same arguments, where Barman is installed.
fn alike(lab: &Lab, args: &[&str]) {
    if let Some(theirs) = lab.barman(args) {
        assert_eq!(lab.run(args), theirs, "{args:?}");
    }
}

#[test]
fn processes_are_found_by_their_locks_and_ended() {
    let Some(lab) = Lab::new() else { return };
    assert_eq!(lab.ok(&["list-processes", "main"]), "No active subprocesses found for server main.\n");
    let nobody = lab.run(&["terminate-process", "main", "receive-wal"]);
    assert_eq!(nobody.code, 1);
    assert_eq!(nobody.stderr, "ERROR: Termination of receive-wal failed: no such process for server main\n");

    let receiver = lab.receive();
    let list = lab.json(&["list-processes", "main"]);
    assert_eq!(list["main"][0]["name"], "receive-wal");
    let pid = list["main"][0]["pid"].as_u64().unwrap();
    alike(&lab, &["list-processes", "main"]);
    alike(&lab, &["-f", "json", "list-process", "main"]);
    alike(&lab, &["terminate-process", "main", "nonsense"]);
    assert_eq!(
        lab.ok(&["terminate-process", "main", "receive-wal"]),
        format!("Stopped process receive-wal({pid})\n")
    );
    assert_eq!(lab.ok(&["list-processes", "main"]), "No active subprocesses found for server main.\n");
    drop(receiver);
}

#[test]
fn the_archive_is_checked_and_listed_anew() {
    let Some(lab) = Lab::new() else { return };
    assert_eq!(
        lab.ok(&["check-wal-archive", "main"]),
        "Server main:\n - WAL archive check for server main passed\n"
    );
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.ok(&["backup", "--wait", "main"]);
    drop(receiver);

    for timeline in ["1", "2", "5000000000"] {
        alike(&lab, &["check-wal-archive", "--timeline", timeline, "main"]);
    }
    alike(&lab, &["check-wal-archive", "main"]);
    alike(&lab, &["-f", "json", "check-wal-archive", "--timeline", "2", "main"]);
    let run = lab.run(&["check-wal-archive", "main"]);
    assert_eq!((run.code, run.stdout.as_str()), (1, "Server main:\n"));
    assert_eq!(run.stderr, "ERROR: WAL archive check failed for server main: Expected empty archive\n");

    let index = lab.server_dir().join("meta/main-xlog.db");
    let index = if index.exists() { index } else { lab.server_dir().join("wals/main-xlog.db") };
    let before = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, "torn").unwrap();
    let said = lab.ok(&["rebuild-xlogdb", "main"]);
    assert!(said.starts_with(
        "Rebuilding xlogdb for server main\nDone rebuilding xlogdb for server main (history: 0, "
    ));
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&std::fs::read_to_string(&index).unwrap()), sorted(&before));
    alike(&lab, &["rebuild-xlogdb", "main"]);
    assert_eq!(sorted(&std::fs::read_to_string(&index).unwrap()), sorted(&before));
}
