//! PostgreSQL itself at both ends of the hub: servers that archive through `barman-wal-archive`, and standbys that know
//! nothing but `barman-wal-restore`, while there is load and one of them is promoted.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapster_protocol::testing::{Builder, Cluster, StopMode};

use crate::sshd::{Hub, Sshd, Which, names, told};

fn tapster(hub: &Hub, args: &[&str]) -> (i32, String, String) {
    let mut command = Which::Ours.command("tapster").unwrap();
    told(&command.arg("-c").arg(hub.config()).args(args).output().unwrap())
}

fn eventually(what: &str, cluster: &Cluster, mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < patience, "not {what}: {}", cluster.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn user() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

fn archives(cluster: &Cluster, sshd: &Sshd) {
    let client = sshd.client_of(cluster, "barman-wal-archive");
    let command = format!("{client} -U {} 127.0.0.1 main %p", user());
    cluster.append("postgresql.conf", &format!("archive_mode = on\narchive_command = '{command}'\n"));
}

/// Lets it replay what the hub has, and nothing else. Returns its spool.
fn replays(cluster: &Cluster, sshd: &Sshd) -> PathBuf {
    let client = sshd.client_of(cluster, "barman-wal-restore");
    let spool = cluster.directory().join("spool");
    let command = format!("{client} -p 4 --spool-dir {} -U {} 127.0.0.1 main %f %p", spool.display(), user());
    cluster.append(
        "postgresql.conf",
        &format!("restore_command = '{command}'\nwal_retrieve_retry_interval = 100ms\n"),
    );
    spool
}

fn pgbench(cluster: &Cluster, args: &[&str]) -> Command {
    let mut command = cluster.command("pgbench");
    command.args(["-h", cluster.socket_dir().to_str().unwrap(), "-U", "postgres"]).args(args).arg("postgres");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Transactions until this is dropped.
struct Load(Child);

impl Load {
    fn on(cluster: &Cluster) -> Self {
        let script = cluster.directory().join("filler");
        let text = "INSERT INTO filler SELECT repeat(md5(random()::text), 60) FROM generate_series(1, 64);\n";
        std::fs::write(&script, text).unwrap();
        let filler = format!("{}@1", script.display());
        // About two segments a second, so that it is not this that the machine is busy with.
        let args = ["-c", "2", "-R", "60", "-T", "600", "-n", "-b", "tpcb-like@3", "-f", &filler];
        Self(pgbench(cluster, &args).spawn().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn of_timeline_one(spool: &Path) -> Vec<String> {
    names(spool).into_iter().filter(|name| name.starts_with("00000001")).collect()
}

fn is_past(cluster: &Cluster, lsn: &str) -> bool {
    cluster.value(&format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{lsn}', false)")) == "t"
}

/// The last segment the server has closed.
fn closed(cluster: &Cluster) -> String {
    cluster.value("SELECT pg_walfile_name(pg_switch_wal())")
}

/// The archiver of the hub: what comes in goes into the archive under the hands of those who read it.
fn archive_until(hub: &Hub, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let run = tapster(hub, &["archive-wal", "main"]);
        assert_eq!(run.0, 0, "{run:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Ends the archiver also when a check fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Also L-A6, L-A7, L-A16, L-A28, L-A33 and L-A34 with real servers: two of them archive after a promotion, what was fetched ahead on
/// the timeline that was left does not come into the way, and no commit is missing.
#[test]
fn a_standby_replays_only_from_the_hub_under_load_and_through_a_promotion() {
    let hub = Hub::new();
    let Some(sshd) = Sshd::start(&hub, Which::Ours) else { return };
    let server = || Builder::default().wal_segment_mb(1).checksums(true);
    let Some(primary) = server().prepare() else { return };
    archives(&primary, &sshd);
    primary.start();
    assert!(pgbench(&primary, &["-i", "-q"]).status().unwrap().success());
    primary.sql("CREATE TABLE filler(text text)");
    let standby = server().archive_standby_of(&primary);
    archives(&standby, &sshd);
    let standby_spool = replays(&standby, &sshd);
    let follower = server().archive_standby_of(&primary);
    let follower_spool = replays(&follower, &sshd);

    let stop = AtomicBool::new(false);
    let last = std::thread::scope(|scope| {
        let stop = Stop(&stop);
        scope.spawn(|| archive_until(&hub, stop.0));
        fail_over(&primary, &standby, &follower)
    });
    let history =
        |cluster: &Cluster| cluster.value("SELECT count(*) || ' ' || sum(delta) FROM pgbench_history");
    assert_eq!(history(&follower), history(&standby));
    assert!(names(&standby_spool).contains(&".tapster-ahead".to_owned()), "{:?}", names(&standby_spool));
    // The old server archived beyond the fork, so segments of its timeline were fetched ahead.
    assert_eq!(of_timeline_one(&follower_spool), [""; 0]);

    assert_eq!(tapster(&hub, &["archive-wal", "main"]).0, 0);
    assert_eq!(hub.names("errors"), [""; 0]);
    let verified = tapster(&hub, &["wal", "verify", "main"]);
    assert_eq!((verified.0, verified.2.as_str()), (0, ""), "{verified:?}");
    for (timeline, last) in [(1, last.0), (2, last.1)] {
        assert!(hub.names(&format!("wals/{}", &last[..16])).contains(&last), "{last}");
        assert!(verified.1.contains(&format!("Timeline {timeline} from ")), "{}", verified.1);
    }
}

/// Returns the last segment of each timeline.
fn fail_over(primary: &Cluster, standby: &Cluster, follower: &Cluster) -> (String, String) {
    standby.start();
    follower.start();
    let load = Load::on(primary);
    writes(primary, 2);
    let early = primary.value("SELECT pg_current_wal_lsn()");
    eventually("replaying", follower, || is_past(follower, &early));
    follower.stop(StopMode::Fast);
    writes(primary, 1);
    let half = primary.value("SELECT pg_current_wal_lsn()");
    eventually("replaying", standby, || is_past(standby, &half));

    // The promotion; the old server does not know yet, and goes on.
    standby.promote();
    let other = Load::on(standby);
    writes(primary, 4);
    drop(load);
    let left = closed(primary);
    primary.stop(StopMode::Fast);
    writes(standby, 2);
    drop(other);
    let end = standby.value("SELECT pg_current_wal_insert_lsn()");
    let last = closed(standby);
    let archived = || standby.value("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") >= last;
    eventually("archived", standby, archived);

    follower.start();
    eventually("on the new timeline", follower, || is_past(follower, &end));
    (left, last)
}

/// Waits until it has written that many segments.
fn writes(cluster: &Cluster, segments: u32) {
    let until = cluster.value(&format!("SELECT pg_current_wal_lsn() + {segments} * 1024 * 1024"));
    let is_there = || cluster.value(&format!("SELECT pg_current_wal_lsn() >= '{until}'")) == "t";
    eventually("writing", cluster, is_there);
}
