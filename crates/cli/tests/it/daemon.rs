//! `run` and `metrics` with real servers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tapster_protocol::testing::Cluster;

use crate::lab::Lab;

fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `tapster run`, with a service manager that listens.
struct Daemon {
    child: Child,
    notified: UnixDatagram,
    said: PathBuf,
}

impl Daemon {
    fn start(lab: &Lab, number: u32) -> Self {
        let socket = lab.path(&format!("notify-{number}"));
        let said = lab.path(&format!("said-{number}"));
        let notified = UnixDatagram::bind(&socket).unwrap();
        notified.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let said_to = File::create(&said).unwrap();
        let child = Command::new(assert_cmd::cargo::cargo_bin!("tapster"))
            .arg("-c")
            .arg(lab.path("tapster.conf"))
            .args(["run", "--metrics-interval", "1", "--metrics-listen", "127.0.0.1:0", "--metrics-file"])
            .arg(lab.path("tapster.prom"))
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "1000000")
            .stdin(Stdio::null())
            .stdout(said_to.try_clone().unwrap())
            .stderr(said_to)
            .spawn()
            .unwrap();
        let daemon = Self { child, notified, said };
        daemon.hear("READY=1");
        daemon
    }

    /// Waits for a message of the daemon to the service manager.
    fn hear(&self, state: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length =
                self.notified.recv(&mut buffer).unwrap_or_else(|e| panic!("{state}: {e}: {}", self.said()));
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if text.lines().any(|line| line == state) {
                return text;
            }
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Makes it read its configuration again and waits until it has.
    fn reload(&self) {
        self.signal("-HUP");
        assert!(self.hear("RELOADING=1").contains("MONOTONIC_USEC="));
        self.hear("READY=1");
    }

    fn ask(&self, path: &str) -> String {
        let said = self.said();
        let address = said.split("http://").nth(1).unwrap().split('/').next().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn metrics(&self) -> BTreeMap<String, f64> {
        let answer = self.ask("/metrics");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        parse(body)
    }

    fn ends(&mut self) -> i32 {
        eventually("it ends", || self.child.try_wait().unwrap()).code().unwrap_or(-1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Strict about what Prometheus is strict about: each family is announced once, with help and type, before its samples.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut families) = (BTreeMap::new(), Vec::new());
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(matches!(kind, "gauge" | "counter"), "{line}");
            assert!(!families.contains(&name), "{line}");
            families.push(name);
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(Some(&series.split('{').next().unwrap()), families.last(), "{line}");
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{line}");
        }
    }
    samples
}

fn number(lsn: &str) -> f64 {
    let (high, low) = lsn.split_once('/').unwrap();
    let part = |text| u64::from_str_radix(text, 16).unwrap();
    ((part(high) << 32) + part(low)) as f64
}

/// Fills a segment, and returns its name and its end.
fn switch(cluster: &Cluster) -> (String, f64) {
    cluster.sql("CREATE TABLE IF NOT EXISTS filler (x int)");
    cluster.sql("INSERT INTO filler VALUES (1)");
    let name = cluster.value("SELECT pg_walfile_name(pg_switch_wal())");
    let end = cluster.value(&format!(
        "SELECT pg_size_bytes(current_setting('wal_segment_size')) * (1 + ('x' || right('{name}', 8))::bit(32)::int)"
    ));
    (name, end.parse().unwrap())
}

fn archived(lab: &Lab, server: &str, name: &str) -> bool {
    lab.path(&format!("home/{server}/wals/{}/{name}", &name[..16])).exists()
}

const KEYS: &str = "create_slot = auto\narchiver = on\n";

#[test]
fn servers_are_looked_after_without_cron() {
    let settings = "archive_mode = on\narchive_command = 'true'";
    let Some(lab) = Lab::with(|builder| builder.config(settings)) else { return };
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    let config = lab.configure("tapster.conf", &conninfo, KEYS);
    let receiver = || {
        let pid = lab.cluster.sql("SELECT active_pid FROM pg_replication_slots WHERE active");
        pid.first().map(|row| row[0].clone())
    };
    let mut daemon = Daemon::start(&lab, 1);
    let streamed = eventually("the receiver streams", receiver);

    // WAL comes by streaming and through incoming/, and nobody starts anything.
    let (name, end) = switch(&lab.cluster);
    eventually("the segment is archived", || archived(&lab, "main", &name).then_some(()));
    let incoming = lab.server_dir().join("incoming").join(&name);
    std::fs::copy(lab.cluster.wal_dir().join(&name), incoming.with_extension("tmp")).unwrap();
    std::fs::rename(incoming.with_extension("tmp"), &incoming).unwrap();
    eventually("what is archived already is taken", || (!incoming.exists()).then_some(()));

    let main = |name: &str| format!("tapster_{name}{{server=\"main\"}}");
    let shown = |metrics: &BTreeMap<String, f64>, name: &str| metrics.get(&main(name)).copied();
    let metrics = eventually("the metrics tell of it", || {
        Some(daemon.metrics()).filter(|metrics| {
            shown(metrics, "archive_last_wal_lsn_bytes") == Some(end)
                && metrics["tapster_queue_files{server=\"main\",queue=\"incoming\"}"] == 0.0
        })
    });
    for (name, value) in
        [("postgres_up", 1.0), ("receiver_connected", 1.0), ("slot_active", 1.0), ("archive_gaps", 0.0)]
    {
        assert_eq!(shown(&metrics, name), Some(value), "{name}: {metrics:?}");
    }
    assert!(shown(&metrics, "archive_last_wal_age_seconds").unwrap() < 60.0);
    assert_eq!(metrics["tapster_task_ok{server=\"main\",task=\"receive-wal\"}"], 1.0);
    assert!(daemon.ask("/").starts_with("HTTP/1.1 404 "));
    daemon.hear("WATCHDOG=1");

    // Nobody ends the work for all servers by mistake, nor does it twice.
    let refused = lab.run(&["receive-wal", "--stop", "main"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("is run by the daemon (process "), "{refused:?}");
    let second =
        Command::new(assert_cmd::cargo::cargo_bin!("tapster")).arg("-c").arg(&config).arg("run").output();
    assert_eq!(second.unwrap().status.code(), Some(1));
    lab.ok(&["cron"]);

    lab.ok(&["backup", "--wait", "main"]);
    lab.ok(&["backup", "--wait", "main"]);
    let metrics = eventually("the backups are counted", || {
        let metrics = daemon.metrics();
        (metrics["tapster_backups{server=\"main\",status=\"DONE\"}"] == 2.0).then_some(metrics)
    });
    assert!(shown(&metrics, "last_backup_age_seconds").unwrap() < 60.0);
    let latest = lab.ok(&["list-backups", "--minimal", "main"]).lines().next().unwrap().to_owned();
    let record = lab.server_dir().join(format!("meta/{latest}-backup.info"));
    let record = std::fs::read_to_string(record).unwrap();
    let size = record.lines().find_map(|line| line.strip_prefix("size=")).unwrap();
    assert_eq!(shown(&metrics, "last_backup_size_bytes"), Some(size.parse().unwrap()));
    let oldest = lab.json(&["show-backup", "main", "oldest"]);
    let oldest = oldest["main"]["base_backup_information"]["end_lsn"].as_str().unwrap().to_owned();
    assert_eq!(shown(&metrics, "recoverable_oldest_lsn_bytes"), Some(number(&oldest)));

    // One whose deletion has begun is no backup any more.
    let marker = lab.server_dir().join(format!("meta/{latest}-delete_this"));
    std::fs::write(&marker, "delete").unwrap();
    let counted =
        |status: &str| daemon.metrics()[&format!("tapster_backups{{server=\"main\",status=\"{status}\"}}")];
    eventually("it is not counted", || (counted("DONE") == 1.0 && counted("FAILED") == 1.0).then_some(()));
    std::fs::remove_file(marker).unwrap();

    // A server more; the one there is notices nothing.
    let other = Cluster::builder().start().unwrap();
    let with = other.conninfo().to_conninfo_string();
    let text = std::fs::read_to_string(&config).unwrap();
    let section = format!(
        "[second]\ndescription = x\nconninfo = {with}\nstreaming_conninfo = {with}\nstreaming_archiver = on\n\
         backup_method = postgres\nslot_name = tapster\ncreate_slot = auto\n"
    );
    std::fs::write(&config, format!("{text}{section}")).unwrap();
    daemon.reload();
    eventually("the new server is streamed from", || {
        (other.value("SELECT count(*) FROM pg_replication_slots WHERE active") == "1").then_some(())
    });
    let (name, _) = switch(&other);
    eventually("and archived", || archived(&lab, "second", &name).then_some(()));
    assert_eq!(receiver().as_ref(), Some(&streamed));

    // A configuration that cannot be read changes nothing.
    std::fs::write(&config, "[barman\n").unwrap();
    daemon.reload();
    assert!(daemon.said().contains("the configuration stays as it was"), "{}", daemon.said());
    assert_eq!(receiver().as_ref(), Some(&streamed));

    // Without the second, and with a policy for the first.
    std::fs::write(&config, format!("{text}retention_policy = REDUNDANCY 1\n")).unwrap();
    daemon.reload();
    assert!(daemon.said().contains("changed: main; gone: second\n"), "{}", daemon.said());
    assert_eq!(other.value("SELECT count(*) FROM pg_replication_slots WHERE active"), "0");
    eventually("the policy is enforced", || {
        (lab.ok(&["list-backups", "--minimal", "main"]).lines().count() == 1).then_some(())
    });

    // Killed, and begun again: nothing is missing.
    daemon.signal("-KILL");
    daemon.ends();
    lab.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 100000) AS x");
    let (name, _) = switch(&lab.cluster);
    lab.cluster.sql("ALTER SYSTEM SET synchronous_standby_names = 'barman_receive_wal'");
    lab.cluster.reload();
    let mut daemon = Daemon::start(&lab, 2);
    eventually("the segment is archived", || archived(&lab, "main", &name).then_some(()));
    // Comes back when the receiver has said that it is durable.
    lab.cluster.sql("INSERT INTO t VALUES (0)");
    let written = lab.cluster.value("SELECT flush_lsn FROM pg_stat_replication");
    daemon.signal("-TERM");
    daemon.hear("STOPPING=1");
    assert_eq!(daemon.ends(), 0, "{}", daemon.said());
    let verified = lab.json(&["show-backup", "main", "latest"]);
    assert_eq!(verified["main"]["status"], "DONE");
    let verified = Command::new(assert_cmd::cargo::cargo_bin!("tapster"))
        .arg("-c")
        .arg(&config)
        .args(["wal", "verify", "main"])
        .output()
        .unwrap();
    let verified = String::from_utf8(verified.stdout).unwrap();
    let reached = verified.split("can be recovered up to ").nth(1).and_then(|rest| rest.split(' ').next());
    assert!(reached.is_some_and(|reached| number(reached) >= number(&written)), "{written}: {verified}");

    // What the file holds is read by strangers, and `metrics` prints the same families.
    let file = parse(&std::fs::read_to_string(lab.path("tapster.prom")).unwrap());
    let run =
        Command::new(assert_cmd::cargo::cargo_bin!("tapster")).arg("-c").arg(&config).arg("metrics").output();
    let printed = parse(&String::from_utf8(run.unwrap().stdout).unwrap());
    assert!(file.contains_key(&main("archive_gaps")));
    assert!(printed.keys().all(|key| file.contains_key(key) || key.contains("receiver_")), "{printed:?}");
    assert_eq!(printed.get(&main("receiver_connected")), Some(&0.0));
}

/// Nobody ends the daemon's receiver behind its back: it is told to read what has changed.
#[test]
fn changes_of_the_configuration_reach_a_running_daemon() {
    let Some(lab) = Lab::new() else { return };
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    lab.configure("tapster.conf", &conninfo, "[m]\nmodel = on\ncluster = main\ndescription = by a model\n");
    let daemon = Daemon::start(&lab, 1);
    let told = format!("The daemon (process {}) reads the configuration again", daemon.child.id());
    let json = r#"[{"scope":"server","server_name":"main","description":"changed"}]"#;
    for args in [&["config-update", json][..], &["config-switch", "main", "m"]] {
        assert_eq!(lab.ok(args).lines().last(), Some(told.as_str()));
        daemon.hear("RELOADING=1");
        daemon.hear("READY=1");
    }
    assert_eq!(
        daemon.said().matches("Configuration read again; changed: main").count(),
        2,
        "{}",
        daemon.said()
    );
}
