//! `replication-status` against a real standby and a receiver, and against real Barman.

use serde_json::Value;
use tapster_protocol::testing::Cluster;

use crate::lab::Lab;

/// Waits until `sql` answers `t` on the primary.
fn wait_until(lab: &Lab, sql: &str) {
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while lab.cluster.value(sql) != "t" {
        assert!(std::time::Instant::now() < patience, "{sql}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

const WAYS: [&[&str]; 6] = [
    &["replication-status", "main"],
    &["replication-status", "--minimal", "main"],
    &["replication-status", "--target", "hot-standby", "main"],
    &["replication-status", "--target", "wal-streamer", "main"],
    &["replication-status", "--target", "wal-streamer", "--minimal", "main"],
    &["replication-status", "--source", "wal-host", "main"],
];

#[test]
fn clients_are_shown_as_barman_shows_them() {
    let Some(lab) = Lab::new() else { return };
    let nobody = lab.json(&["replication-status", "--target", "hot-standby", "main"]);
    assert_eq!(nobody["main"]["standby_info"], "No hot standby servers attached");
    assert_eq!(nobody["main"]["hot_standby_servers"], Value::Array(Vec::new()));
    assert!(lab.ok(&["replication-status", "main"]).ends_with("  No streaming clients attached\n"));

    // Without a slot, which would keep the xmin in place of the connection.
    let standby = Cluster::builder().config("hot_standby_feedback = on").standby_of(&lab.cluster, None);
    let receiver = lab.receive();
    let names = "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (walreceiver, barman_receive_wal)'";
    lab.cluster.sql(names);
    lab.cluster.reload();
    lab.cluster.sql("CREATE TABLE t AS SELECT 1");
    wait_until(
        &lab,
        "SELECT count(*) = 2 AND bool_and(flush_lsn = pg_current_wal_lsn() AND backend_xmin IS NOT NULL = \
         (replay_lsn IS NOT NULL)) AND max(replay_lsn) = pg_current_wal_lsn() FROM pg_stat_replication",
    );

    let status = lab.json(&["replication-status", "main"]);
    let clients = status["main"]["streaming_clients"].as_array().unwrap();
    let names: Vec<_> = clients.iter().map(|client| client["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["#1 Sync standby", "#2 Potential WAL streamer"]);
    assert_eq!(clients[0]["sync_stage"], "5/5 Hot standby (max)");
    assert_eq!(clients[1]["sync_stage"], "3/3 Remote write");
    assert_eq!(clients[1]["replication_slot"], "tapster");
    assert_eq!(clients[1]["flush_lsn_diff_bytes"], 0);

    for way in WAYS {
        for format in ["console", "json"] {
            let way = [&["-f", format], way].concat();
            // The server writes a record of its own now and then; only what was asked of one position can be alike.
            let position = || lab.cluster.value("SELECT pg_current_wal_lsn()");
            for attempt in 1.. {
                let before = position();
                let Some(theirs) = lab.barman(&way) else { break };
                let ours = lab.run(&way);
                if ours == theirs {
                    break;
                }
                assert!(before != position() && attempt < 5, "{way:?}\n{ours:?}\n{theirs:?}");
            }
        }
    }
    drop(receiver);
    drop(standby);
}

#[test]
fn a_server_that_is_down_is_one_line() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.stop(tapster_protocol::testing::StopMode::Fast);
    let run = lab.run(&["replication-status", "main"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.starts_with("ERROR: Unable to connect to server main\n"), "{run:?}");
}
