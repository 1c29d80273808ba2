//! Finding an accident in the WAL, and restoring with the command that is printed.

use serde_json::Value;
use tapster_protocol::testing::{StopMode, servers};

use crate::lab::Lab;
use crate::program::{Run, run_as};

struct Search<'a>(&'a Lab);

impl Search<'_> {
    fn run(&self, args: &[&str]) -> Run {
        let config = self.0.path("tapster.conf");
        run_as("tapster", &[&["-c", config.to_str().unwrap()], args].concat())
    }

    fn find(&self, args: &[&str]) -> (Vec<Value>, Value) {
        let run = self.run(&[&["-f", "json", "wal", "find", "main"], args].concat());
        assert_eq!(run.code, 0, "{args:?}: {run:?}");
        let all: Value = serde_json::from_str(&run.stdout).unwrap();
        let report = all["main"].clone();
        (report["found"].as_array().unwrap().clone(), report)
    }

    fn one(&self, args: &[&str]) -> Value {
        let (found, report) = self.find(args);
        assert_eq!(found.len(), 1, "{args:?}: {report}");
        found[0].clone()
    }

    /// Runs the command that was printed for a point, with `more` options.
    fn restore(&self, point: &Value, more: &[&str], destination: &str) -> String {
        let words: Vec<&str> =
            point["restore"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let (program, words) = words.split_first().unwrap();
        let (place, words) = words.split_last().unwrap();
        assert_eq!((*program, *place), ("tapster", "DEST"));
        let run = run_as(program, &[words, more, &[destination]].concat());
        assert_eq!(run.code, 0, "{words:?}: {run:?}");
        run.stdout
    }
}

#[test]
fn the_commit_that_dropped_a_table_and_the_restore_to_just_before_it() {
    for binaries in servers() {
        let Some(lab) = Lab::with(|builder| builder.binaries(&binaries)) else { return };
        a_dropped_table(&lab, binaries.program("pg_waldump").exists());
    }
}

fn a_dropped_table(lab: &Lab, has_waldump: bool) {
    lab.cluster.append("postgresql.conf", "max_prepared_transactions = 5\nautovacuum = off\n");
    lab.cluster.stop(StopMode::Fast);
    lab.cluster.start();
    let search = Search(lab);
    let sql = |sql: &str| lab.cluster.sql(sql);
    let value = |sql: &str| lab.cluster.value(sql);
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.ok(&["backup", "main", "--wait"]);

    sql("CREATE TABLE orders AS SELECT g AS id FROM generate_series(1, 1000) g");
    sql("CREATE TABLE carts AS SELECT g AS id FROM generate_series(1, 50) g");
    sql("CREATE TABLE log(t text)");
    let path = |table: &str| value(&format!("SELECT pg_relation_filepath('{table}')"));
    let (orders, carts) = (path("orders"), path("carts"));
    let in_transaction = |statements: &str| {
        let mut connection = lab.cluster.connect();
        let mut last = String::new();
        for statement in statements.split(';') {
            let rows = connection.query(statement).unwrap();
            if let Some(value) = rows.value(0, 0) {
                last = value.to_owned();
            }
        }
        last
    };
    let sub = in_transaction(
        "BEGIN;INSERT INTO log VALUES ('top');SAVEPOINT s;INSERT INTO log VALUES ('sub');\
         SELECT xmin::text FROM log WHERE t = 'sub';COMMIT",
    );
    let prepared = in_transaction(
        "BEGIN;INSERT INTO log VALUES ('later');SELECT pg_current_xact_id()::text;PREPARE TRANSACTION 'invoice 7'",
    );
    let undone =
        in_transaction("BEGIN;INSERT INTO log VALUES ('no');SELECT pg_current_xact_id()::text;ROLLBACK");
    let before = value("SELECT clock_timestamp()");
    sql("SELECT pg_sleep(0.05)");
    sql("DROP TABLE orders");
    sql("TRUNCATE carts");
    sql("SELECT pg_create_restore_point('after the accident')");
    sql("COMMIT PREPARED 'invoice 7'");

    // It lies in the segment that is still being received.
    let early = search.one(&["--dropped", &orders]);
    assert_eq!((early["place"].as_str(), early["removal"].as_str()), (Some("streaming"), Some("dropped")));
    assert!(early["restore"].as_array().unwrap().contains(&"--partial-wal".into()), "{early}");

    lab.ok(&["switch-wal", "--archive", "main"]);
    // Until the next segment begins, the receiver's last whole one is not archived.
    sql("CREATE TABLE next()");
    lab.ok(&["switch-wal", "--archive", "main"]);
    drop(receiver);

    let dropped = search.one(&["--dropped", &orders]);
    assert_eq!((&dropped["lsn"], dropped["place"].as_str()), (&early["lsn"], Some("archive")));
    assert_eq!((dropped["kind"].as_str(), dropped["removal"].as_str()), (Some("commit"), Some("dropped")));
    let truncated = search.one(&["--truncated", &carts]);
    assert_eq!(truncated["removal"], "replaced");
    let point = search.one(&["--restore-point", "after the accident"]);
    assert_eq!(point["kind"], "restore point");
    let commit = search.one(&["--xid", &sub]);
    assert!(commit["subtransactions"].as_array().unwrap().contains(&sub.parse::<u64>().unwrap().into()));
    let (both, report) = search.find(&["--xid", &prepared]);
    let kinds: Vec<_> = both.iter().map(|found| found["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds, both[0]["gid"].as_str()), (vec!["prepare", "commit prepared"], Some("invoice 7")));
    assert!(report["segments"].as_u64().unwrap() >= 3 && report["segments_indexed"] == 0, "{report}");
    assert_eq!(search.one(&["--xid", &undone])["kind"], "abort");
    // The first commit after the moment before it, which is that of the drop.
    let (around, _) = search.find(&["--time", &before, "--around", "1"]);
    assert_eq!(around.len(), 2);
    assert_eq!((&around[1]["lsn"], &around[1]["xid"]), (&dropped["lsn"], &dropped["xid"]));
    let text = search.run(&["wal", "find", "main", "--time", &before, "--around", "1"]).stdout;
    assert!(
        text.contains(&format!("To restore to just before {}", dropped["lsn"].as_str().unwrap())),
        "{text}"
    );
    assert!(text.contains(" removes 1663/") && text.contains("--exclusive main auto DEST"), "{text}");

    if has_waldump {
        waldump_sees_it(lab, &dropped, &orders);
    }

    let nothing = search.run(&["wal", "find", "main", "--restore-point", "no such"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (1, ""), "{nothing:?}");
    let no_path = search.run(&["wal", "find", "main", "--dropped", "public.orders"]);
    assert!(no_path.code != 0 && no_path.stderr.contains("names of tables are not in WAL"), "{no_path:?}");

    // A damaged index is made again, and answers the same.
    let index = lab.server_dir().join("meta/wal-index/0000000100000000.idx");
    let mut bytes = std::fs::read(&index).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&index, &bytes).unwrap();
    let (again, report) = search.find(&["--dropped", &orders]);
    assert_eq!(again, std::slice::from_ref(&dropped));
    assert!(report["segments_indexed"].as_u64().unwrap() > 0, "{report}");
    std::fs::remove_file(&index).unwrap();
    let rebuilt = search.run(&["wal", "index", "main"]);
    assert!(rebuilt.code == 0 && rebuilt.stdout.contains(" were read for it"), "{rebuilt:?}");
    assert!(index.exists());
    assert_eq!(search.find(&["--dropped", &orders]).1["segments_indexed"], 0);

    let data = lab.destination("before-drop");
    let restored = search.restore(&dropped, &["--target-action", "promote"], data.to_str().unwrap());
    assert!(restored.contains("Recovery target lsn: '"), "{restored}");
    let there = "SELECT (SELECT count(*) FROM orders) || '|' || (SELECT count(*) FROM carts)";
    assert_eq!(lab.ask_restored(&data, there), "1000|50");

    a_later_hole_is_no_reason_to_refuse(lab, &point, &commit);

    barman_takes_no_notice(lab, &index);
}

/// A segment is lost long after the target.
fn a_later_hole_is_no_reason_to_refuse(lab: &Lab, point: &Value, commit: &Value) {
    let archive = lab.server_dir().join("wals/0000000100000000");
    let name = |number: u32| format!("0000000100000000{number:08X}");
    let last = (1..100).rev().find(|number| archive.join(name(*number)).exists()).unwrap();
    let later = archive.join(name(last + 2));
    std::fs::copy(archive.join(name(last)), &later).unwrap();
    let restore = |target: &[&str], destination: &str| {
        let data = lab.destination(destination);
        let run = lab.run(&[&["restore"], target, &["main", "latest", data.to_str().unwrap()]].concat());
        (run, data)
    };
    let warning = format!("WAL segment {} is missing from the archive, after the target", name(last + 1));
    let (run, data) =
        restore(&["--target-action", "promote", "--target-name", point["name"].as_str().unwrap()], "to-name");
    assert!(run.code == 0 && run.stderr.contains(&warning), "{run:?}");
    assert_eq!(
        lab.ask_restored(&data, "SELECT to_regclass('orders') IS NULL AND to_regclass('next') IS NULL"),
        "t"
    );
    let xid = commit["xid"].to_string();
    let (run, _) = restore(&["--target-xid", &xid], "to-xid");
    assert!(run.code == 0 && run.stderr.contains(&warning), "{run:?}");
    // Nobody knows whether it comes after the hole.
    let (run, _) = restore(&["--target-name", "no such"], "to-nowhere");
    let missing = format!("is not in the archived WAL, of which segment {} is missing", name(last + 1));
    assert!(run.code == 1 && run.stderr.contains(&missing), "{run:?}");
    let (run, _) = restore(&["--standby-mode"], "standby");
    assert!(run.code == 0 && run.stderr.contains("unless the standby gets it by streaming"), "{run:?}");
    std::fs::remove_file(later).unwrap();
}

/// `pg_waldump` sees the same commit.
fn waldump_sees_it(lab: &Lab, dropped: &Value, orders: &str) {
    let file = dropped["file"].as_str().unwrap();
    let out = lab.destination("dump");
    lab.ok(&["get-wal", "-o", out.to_str().unwrap(), "main", file]);
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(out.join(file), readable).unwrap();
    let dump =
        lab.cluster.command("pg_waldump").arg("--rmgr=Transaction").arg(out.join(file)).output().unwrap();
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    let line = dump.lines().find(|line| line.contains(orders)).unwrap_or_else(|| panic!("{dump}"));
    let lsn = line.split("lsn: ").nth(1).unwrap().split(',').next().unwrap();
    assert_eq!(lsn.parse::<walfile::Lsn>().unwrap().to_string(), dropped["lsn"].as_str().unwrap(), "{line}");
}

/// Barman lists, checks, rebuilds its own index and deletes, and leaves ours where it is.
fn barman_takes_no_notice(lab: &Lab, index: &std::path::Path) {
    let Some(list) = lab.barman(&["list-backups", "main"]) else { return };
    assert_eq!((list.code, list.stdout.lines().count()), (0, 1), "{list:?}");
    let check = lab.barman(&["check", "main"]).unwrap();
    assert!(!format!("{}{}", check.stdout, check.stderr).contains("wal-index"), "{check:?}");
    assert!(check.stdout.contains("directories: OK"), "{check:?}");
    let bytes = std::fs::read(index).unwrap();
    for args in [&["rebuild-xlogdb", "main"][..], &["show-backup", "main", "latest"], &["sync-info", "main"]]
    {
        let run = lab.barman(args).unwrap();
        assert_eq!(run.code, 0, "{args:?}: {run:?}");
        assert!(!run.stdout.contains("wal-index") && !run.stderr.contains("wal-index"), "{args:?}: {run:?}");
    }
    let delete = lab.barman(&["delete", "main", "latest"]).unwrap();
    assert_eq!(delete.code, 0, "{delete:?}");
    assert_eq!(lab.barman(&["list-backups", "main"]).unwrap().stdout, "");
    assert_eq!(std::fs::read(index).unwrap(), bytes);
}

#[test]
fn a_dropped_database_and_a_drop_on_a_second_timeline() {
    for binaries in servers() {
        let Some(lab) = Lab::with(|builder| builder.binaries(&binaries)) else { return };
        a_dropped_database(&lab);
        a_second_timeline(&lab);
    }
}

/// The WAL up to now is in the archive.
fn archive(lab: &Lab) {
    lab.ok(&["switch-wal", "--archive", "main"]);
    // Until the next segment begins, the receiver's last whole one is not archived.
    lab.cluster.sql("SELECT txid_current()");
    lab.ok(&["switch-wal", "--archive", "main"]);
}

fn a_dropped_database(lab: &Lab) {
    let search = Search(lab);
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.ok(&["backup", "main", "--wait"]);
    lab.cluster.sql("CREATE DATABASE shop");
    let mut conninfo = lab.cluster.conninfo();
    conninfo.set("dbname", "shop").unwrap();
    let options = tapster_protocol::ConnectOptions::resolve(&conninfo, &Default::default()).unwrap();
    let mut shop = tapster_protocol::Connection::connect(&options, tapster_protocol::Mode::Sql).unwrap();
    shop.query("CREATE TABLE goods AS SELECT g AS id FROM generate_series(1, 70) g").unwrap();
    let goods = shop.query("SELECT pg_relation_filepath('goods')").unwrap().value(0, 0).unwrap().to_owned();
    drop(shop);
    // In a later segment than the backup and the table.
    archive(lab);
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while lab.cluster.value("SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop'") != "0" {
        assert!(std::time::Instant::now() < patience);
    }
    lab.cluster.sql("DROP DATABASE shop");
    archive(lab);
    drop(receiver);

    let dropped = search.one(&["--dropped", &goods]);
    assert_eq!(dropped["kind"], "drop database", "{dropped}");
    let text = search.run(&["wal", "find", "main", "--dropped", &goods]).stdout;
    let mend = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("psql -c "))
        .unwrap_or_else(|| panic!("{text}"));
    let mend = mend.trim_matches(['"', '\'']);
    let data = lab.destination("before-drop-database");
    search.restore(&dropped, &["--target-action", "promote"], data.to_str().unwrap());
    let answers = lab.ask_restored_in(&data, &[("postgres", mend), ("shop", "SELECT count(*) FROM goods")]);
    assert_eq!(answers[1], "70");
}

fn a_second_timeline(lab: &Lab) {
    let search = Search(lab);
    lab.cluster.stop(StopMode::Immediate);
    lab.cluster.append("postgresql.conf", "restore_command = 'false'\n");
    lab.cluster.replace("recovery.signal", "");
    lab.cluster.start();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while lab.cluster.value("SELECT pg_is_in_recovery()") == "t" {
        assert!(std::time::Instant::now() < patience);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let receiver = lab.receive();
    lab.cluster.sql("CREATE TABLE late AS SELECT g FROM generate_series(1, 30) g");
    let late = lab.cluster.value("SELECT pg_relation_filepath('late')");
    archive(lab);
    lab.cluster.sql("INSERT INTO late VALUES (31)");
    lab.cluster.sql("DROP TABLE late");
    lab.cluster.sql("CREATE TABLE after_it()");
    archive(lab);
    drop(receiver);
    let dropped = search.one(&["--dropped", &late]);
    assert_eq!(
        (&dropped["timeline"], dropped["removal"].as_str()),
        (&2.into(), Some("dropped")),
        "{dropped}"
    );
    let data = lab.destination("second-timeline");
    search.restore(&dropped, &["--target-action", "promote"], data.to_str().unwrap());
    let there = "SELECT count(*) || '|' || (to_regclass('after_it') IS NULL)::text FROM late";
    assert_eq!(lab.ask_restored(&data, there), "31|true");
}
