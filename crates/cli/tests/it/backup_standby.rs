//! A backup of a standby, and what lies outside its data directory.

use tapster_protocol::testing::Cluster;

use crate::chaos::{Running, wait_for};
use crate::lab::Lab;

#[test]
fn a_standby_is_backed_up_while_its_primary_has_nothing_to_do() {
    let Some(primary) = Cluster::builder().wal_segment_mb(1).start() else { return };
    primary.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
    let standby = Cluster::builder().standby_of(&primary, None);
    let Some(lab) = Lab::with(|builder| builder.wal_segment_mb(1)) else { return };
    // One configuration file lies elsewhere, as on Debian.
    let hba = standby.create_dir("etc").join("pg_hba.conf");
    std::fs::copy(standby.data_dir().join("pg_hba.conf"), &hba).unwrap();
    let mut chown = std::process::Command::new("chown");
    chown.arg("--reference").arg(standby.data_dir()).arg(&hba);
    assert!(chown.status().unwrap().success());
    standby.append("postgresql.conf", &format!("hba_file = '{}'\n", hba.display()));
    standby.restart();

    let conninfo = standby.conninfo().to_conninfo_string();
    let of_primary = format!("primary_conninfo = {}\n", primary.conninfo().to_conninfo_string());
    lab.configure("tapster.conf", &conninfo, &of_primary);
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let receiver = Running::start(&lab, &["receive-wal", "main"]);
    wait_for("the connection", || !standby.sql("SELECT 1 FROM pg_replication_slots WHERE active").is_empty());
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    for extra in ["", "backup_compression = lz4\n"] {
        lab.configure("tapster.conf", &conninfo, &format!("{of_primary}{extra}"));
        let run = lab.run(&["backup", "main", "--wait", "--wait-timeout", "60"]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stderr.contains("configuration files that reside outside PGDATA"), "{run:?}");
        assert!(run.stderr.contains(&format!("\n\t{}\n", hba.display())), "{run:?}");
        assert!(!run.stderr.contains("the server is a standby"), "{run:?}");
        assert_eq!(lab.json(&["list-backups", "main"])["main"][0]["status"], "DONE");
    }
    let external = "backup_options = concurrent_backup, external_configuration\n";
    lab.configure("tapster.conf", &conninfo, &format!("{of_primary}{external}"));
    let run = lab.run(&["backup", "main", "--wait", "--wait-timeout", "60"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    let data = lab.destination("restored");
    lab.ok(&["restore", "main", "latest", data.to_str().unwrap()]);
    std::fs::copy(&hba, data.join("pg_hba.conf")).unwrap();
    let conf = data.join("postgresql.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, text.replace("hba_file", "#hba_file")).unwrap();
    assert_eq!(lab.ask_restored(&data, "SELECT count(*) FROM t"), "1000");
    assert_eq!(receiver.stop().code, 0);
}
