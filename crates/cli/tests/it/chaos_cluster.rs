//! Clusters that are not as usual: other segment sizes, tablespaces, a new timeline, another system under the same name.

use std::process::Command;

use tapster_protocol::testing::Cluster;

use crate::chaos::{Running, Stored, finish_segment, lsn, wait_for, wait_until_received};
use crate::lab::Lab;

/// L-A19: with segments of 64 MiB, and two tablespaces, from the first segment to the restored server.
#[test]
fn l_a19_large_segments_and_tablespaces() {
    let Some(lab) = Lab::with(|builder| builder.wal_segment_mb(64)) else { return };
    let receiver = lab.receive();
    for name in ["one", "two"] {
        let place = lab.cluster.create_dir(name);
        lab.cluster.sql(&format!("CREATE TABLESPACE {name} LOCATION '{}'", place.display()));
        lab.cluster.sql(&format!(
            "CREATE TABLE in_{name} TABLESPACE {name} AS SELECT generate_series(1, 1000) AS i"
        ));
    }
    lab.ok(&["backup", "main", "--wait"]);
    lab.cluster.sql("INSERT INTO in_two SELECT generate_series(1, 500)");
    lab.ok(&["switch-wal", "--archive", "main"]);
    let stored = Stored::new(&lab);
    stored.hold_index();
    assert!(stored.archived().iter().all(|(name, _)| name.ends_with(|c: char| c.is_ascii_hexdigit())));

    let data = lab.destination("restored");
    let (one, two) = (lab.destination("restored-one"), lab.destination("restored-two"));
    let full = lab.cluster.directory().join("one");
    let restore = |first: &std::path::Path| {
        lab.run(&[
            "restore",
            "--tablespace",
            &format!("one:{}", first.display()),
            "--tablespace",
            &format!("two:{}", two.display()),
            "main",
            "latest",
            data.to_str().unwrap(),
        ])
    };
    // L-C7: a tablespace that is in use is not written into.
    let refused = restore(&full);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("is not empty"), "{refused:?}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0);
    let run = restore(&one);
    assert_eq!(run.code, 0, "{run:?}");
    for (index, place) in [&one, &two].into_iter().enumerate() {
        let mut links: Vec<_> = std::fs::read_dir(data.join("pg_tblspc"))
            .unwrap()
            .map(|link| std::fs::read_link(link.unwrap().path()).unwrap())
            .collect();
        links.sort();
        assert_eq!(&links[index], place, "L-C11");
    }
    let mut chown = Command::new("chown");
    chown.arg("-R").arg("--reference").arg(lab.cluster.data_dir()).args([&one, &two]);
    assert!(chown.status().unwrap().success());
    let count = "SELECT (SELECT count(*) FROM in_one) + (SELECT count(*) FROM in_two)";
    assert_eq!(lab.ask_restored(&data, count), "2500");
    drop(receiver);
}

/// L-A28: the standby that is received from is promoted; receiving goes on on its new timeline, the history file with it.
#[test]
fn l_a28_it_follows_a_promotion() {
    let Some(primary) = Cluster::builder().wal_segment_mb(1).start() else { return };
    primary.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
    let standby = Cluster::builder().standby_of(&primary, None);
    let Some(lab) = Lab::with(|builder| builder) else { return };
    lab.configure("tapster.conf", &standby.conninfo().to_conninfo_string(), "");
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    wait_for("the connection", || !standby.sql("SELECT 1 FROM pg_replication_slots WHERE active").is_empty());
    primary.sql("INSERT INTO t SELECT generate_series(1, 20000)");
    let before = finish_segment(&primary);
    wait_until_received(&standby, before);
    standby.promote();
    standby.sql("INSERT INTO t SELECT generate_series(1, 20000)");
    let end = finish_segment(&standby);
    wait_until_received(&standby, end);
    let run = receiver.stop();
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    lab.ok(&["archive-wal", "main"]);
    let wals = lab.server_dir().join("wals");
    assert!(wals.join("00000002.history").exists());
    // Both sides of the switch, each on its own timeline, and the same bytes as the server's.
    let names = standby.sql("SELECT name FROM pg_ls_waldir() WHERE name ~ '^00000002.{16}$' ORDER BY name");
    let mut compared = 0;
    for name in names.into_iter().flatten() {
        let get = lab.path("out");
        std::fs::create_dir_all(&get).unwrap();
        let got = lab.run(&["get-wal", "-o", get.to_str().unwrap(), "main", &name]);
        let file = get.join(&name);
        if got.code == 0 {
            assert!(
                std::fs::read(&file).unwrap() == std::fs::read(standby.wal_dir().join(&name)).unwrap(),
                "{name}"
            );
            compared += 1;
        }
    }
    assert!(compared >= 1);
    // The old primary has gone its own way: it is told, and nothing of it is taken.
    primary.sql("INSERT INTO t SELECT generate_series(1, 20000)");
    lab.configure("old.conf", &primary.conninfo().to_conninfo_string(), "");
    assert_eq!(lab.run_with("old.conf", &["receive-wal", "--create-slot", "main"]).code, 0);
    let old = lab.run_with("old.conf", &["receive-wal", "main"]);
    assert_eq!(old.code, 1, "{old:?}");
    assert!(
        old.stderr.contains("server is on timeline 1, but WAL of timeline 2 was already received"),
        "{old:?}"
    );
    assert!(old.stderr.contains("HINT: is this an old primary"), "{old:?}");
}

/// L-A17, L-A22: a new cluster at the old one's address, before any backup has settled whose catalog it is.
#[test]
fn l_a22_another_system_is_not_received_into_what_is_there() {
    let Some(lab) = crate::chaos::lab(|builder| builder) else { return };
    let Some(other) = Cluster::builder().wal_segment_mb(1).start() else { return };
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let start = lsn(&lab.cluster.value("SELECT restart_lsn FROM pg_replication_slots"));
    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    crate::chaos::write_wal(&lab.cluster, 20000);
    let end = finish_segment(&lab.cluster);
    wait_until_received(&lab.cluster, end);
    assert_eq!(receiver.stop().code, 0);
    lab.configure("other.conf", &other.conninfo().to_conninfo_string(), "");
    assert_eq!(lab.run_with("other.conf", &["receive-wal", "--create-slot", "main"]).code, 0);
    while finish_segment(&other) < end {
        crate::chaos::write_wal(&other, 20000);
    }
    crate::chaos::write_wal(&other, 20000);
    let run = Running::start_with(&lab, "other.conf", &["receive-wal", "main"]).end();
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("system identifier of server 'main' is "), "{run:?}");
    assert!(run.stderr.contains("HINT: this is another cluster"), "{run:?}");
    let stored = Stored::new(&lab);
    stored.hold_all(start, end);
    let archive = lab.run_with("other.conf", &["archive-wal", "main"]);
    assert_eq!(archive.code, 0, "{archive:?}");
    stored.hold_all(start, end);
    stored.hold_records(&lab, start, end);
}
