//! What `tapster basebackup` makes is what `pg_basebackup` would have made.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use tapster_protocol::testing::Cluster;

use crate::tools::{Bench, files};

const COUNT: &str = "SELECT count(*) FROM kept";
const FAST: [&str; 2] = ["-c", "fast"];

fn ok(bench: &Bench, args: &[&str]) -> String {
    let run = bench.ours("basebackup", &[&FAST, args].concat());
    assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
    run.stderr
}

#[test]
fn a_plain_backup_starts_as_a_standby() {
    let Some(bench) = Bench::new() else { return };
    ok(&bench, &["-D", "ours", "-R"]);
    let original = bench.theirs("pg_basebackup", &["-D", "theirs", "-R", "-c", "fast"]);
    assert_eq!(original.code, 0, "{}", original.stderr);
    let (ours, theirs) = (bench.path("ours"), bench.path("theirs"));
    bench.verify(&ours, true);
    let settings =
        |root: &std::path::Path| std::fs::read_to_string(root.join("postgresql.auto.conf")).unwrap();
    assert_eq!(settings(&ours), settings(&theirs));
    // Two backups have two names of WAL, and an original server may have marked its segment or not.
    let names =
        |root| files(root).into_iter().filter(|name| !name.starts_with("pg_wal/")).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    assert_eq!(std::fs::metadata(&ours).unwrap().permissions().mode() & 0o7777, 0o700);
    let wal = files(&ours.join("pg_wal"));
    assert!(!wal.is_empty() && wal.iter().all(|name| !name.contains("partial")), "{wal:?}");
    assert_eq!(bench.value_on(&ours, &["hot_standby=on"], COUNT), "20000");
    assert!(ours.join("standby.signal").exists());
}

#[test]
fn wal_is_fetched_streamed_or_left_out() {
    let Some(bench) = Bench::new() else { return };
    ok(&bench, &["-D", "fetched", "-X", "fetch", "-N"]);
    ok(&bench, &["-D", "slotless", "--no-slot", "-r", "30M"]);
    let run = ok(&bench, &["-D", "named", "-C", "-S", "kept_slot", "-R", "-v"]);
    assert!(run.contains("created replication slot \"kept_slot\""), "{run}");
    let settings = std::fs::read_to_string(bench.path("named/postgresql.auto.conf")).unwrap();
    assert!(settings.ends_with("primary_slot_name = 'kept_slot'\n"), "{settings}");
    assert_ne!(bench.cluster.value("SELECT restart_lsn FROM pg_replication_slots"), "");
    for name in ["fetched", "slotless", "named"] {
        bench.verify(&bench.path(name), true);
    }
    ok(&bench, &["-D", "bare", "-X", "none"]);
    bench.verify(&bench.path("bare"), false);
    assert!(files(&bench.path("bare/pg_wal")).is_empty());
    assert_eq!(bench.value_on(&bench.path("fetched"), &[], COUNT), "20000");
    assert_eq!(bench.value_on(&bench.path("slotless"), &[], COUNT), "20000");
}

#[test]
fn archives_unpack_to_a_backup() {
    let Some(bench) = Bench::new() else { return };
    for (name, compress, suffix) in [
        ("none", "none", ""),
        ("gzip", "gzip", ".gz"),
        ("lz4", "client-lz4", ".lz4"),
        ("zstd", "client-zstd:level=1", ".zst"),
        ("server", "server-gzip:2", ".gz"),
    ] {
        ok(&bench, &["-D", name, "-F", "t", "-Z", compress]);
        let (made, data) = (bench.path(name), bench.path(&format!("{name}.data")));
        bench.unpack(&made.join(format!("base.tar{suffix}")), &data);
        // Nothing but gzip is applied to the WAL, as in the original.
        let wal = if name == "gzip" { "pg_wal.tar.gz" } else { "pg_wal.tar" };
        bench.unpack(&made.join(wal), &data.join("pg_wal"));
        std::fs::copy(made.join("backup_manifest"), data.join("backup_manifest")).unwrap();
        bench.verify(&data, true);
    }
    ok(&bench, &["-D", "standby", "-F", "t", "-R", "-X", "fetch"]);
    bench.unpack(&bench.path("standby/base.tar"), &bench.path("standby.data"));
    assert!(bench.path("standby.data/standby.signal").exists());
    assert_eq!(bench.value_on(&bench.path("gzip.data"), &[], COUNT), "20000");
    assert_eq!(bench.value_on(&bench.path("standby.data"), &[], COUNT), "20000");
}

#[test]
fn one_archive_on_stdout_holds_the_manifest() {
    let Some(bench) = Bench::new() else { return };
    for compress in ["none", "gzip", "zstd"] {
        let mut child = bench
            .spawn("basebackup", &["-D", "-", "-F", "t", "-X", "fetch", "-c", "fast", "-R", "-Z", compress]);
        let path = bench.path(&format!("{compress}.tar"));
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::copy(child.stdout.as_mut().unwrap(), &mut file).unwrap();
        file.flush().unwrap();
        assert!(child.wait().unwrap().success());
        let data = bench.path(&format!("{compress}.data"));
        bench.unpack(&path, &data);
        bench.verify(&data, true);
        let settings = std::fs::read_to_string(data.join("postgresql.auto.conf")).unwrap();
        assert!(settings.starts_with("# Do not edit") && settings.contains("primary_conninfo"), "{settings}");
    }
}

#[test]
fn what_the_server_compressed_is_decompressed() {
    let Some(bench) = Bench::new() else { return };
    for method in ["server-gzip", "server-lz4", "server-zstd"] {
        ok(&bench, &["-D", method, "-Z", method]);
        bench.verify(&bench.path(method), true);
    }
    assert_eq!(bench.value_on(&bench.path("server-zstd"), &[], COUNT), "20000");
}

#[test]
fn tablespaces_and_wal_go_where_they_are_told() {
    let Some(bench) = Bench::new() else { return };
    let place = bench.cluster.create_dir("space");
    let place = place.to_str().unwrap();
    bench.cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{place}'"));
    bench.cluster.sql("CREATE TABLE elsewhere TABLESPACE space AS SELECT generate_series(1, 1000)");
    let (moved, wal) = (bench.path("moved"), bench.path("wal"));
    let mapping = format!("{place}={}", moved.display());
    ok(&bench, &["-D", "plain", "-T", &mapping, "--waldir", wal.to_str().unwrap()]);
    let data = bench.path("plain");
    assert_eq!(std::fs::read_link(data.join("pg_wal")).unwrap(), wal);
    assert!(!files(&moved).is_empty());
    bench.verify(&data, true);
    bench.same("basebackup", &["-D", "full", "-c", "fast"]);
    bench.same("basebackup", &["-D", "-", "-F", "t", "-X", "none", "-c", "fast"]);
    ok(&bench, &["-D", "tars", "-F", "t"]);
    assert_eq!(files(&bench.path("tars")).len(), 4);
    std::process::Command::new("chown")
        .arg("-R")
        .arg(format!("--reference={}", bench.cluster.data_dir().display()))
        .args([&moved, &wal])
        .status()
        .unwrap();
    assert_eq!(bench.value_on(&data, &[], "SELECT count(*) FROM elsewhere"), "1000");
}

#[test]
fn manifests_as_asked_for() {
    let Some(bench) = Bench::new() else { return };
    ok(&bench, &["-D", "without", "--no-manifest"]);
    assert!(!bench.path("without/backup_manifest").exists());
    for (name, args) in [
        ("sha", &["--manifest-checksums", "sha256"][..]),
        ("bare", &["--manifest-checksums=NONE"]),
        ("hex", &["--manifest-force-encode", "--no-verify-checksums"]),
    ] {
        ok(&bench, &[&["-D", name], args].concat());
        bench.verify(&bench.path(name), true);
    }
    let manifest = std::fs::read_to_string(bench.path("sha/backup_manifest")).unwrap();
    assert!(manifest.contains("\"SHA256\""));
}

#[test]
fn a_group_may_read_what_it_may_read_on_the_server() {
    let Some(bench) = Bench::new() else { return };
    bench.cluster.stop(tapster_protocol::testing::StopMode::Fast);
    let status =
        std::process::Command::new("chmod").args(["-R", "g+rX"]).arg(bench.cluster.data_dir()).status();
    assert!(status.unwrap().success());
    bench.cluster.start();
    ok(&bench, &["-D", "open"]);
    let mode = |name: &str| std::fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("open"), mode("open/base"), mode("open/PG_VERSION")), (0o750, 0o750, 0o640));
}

#[test]
fn the_same_refusals_in_the_same_words() {
    let Some(bench) =
        Bench::with(|builder| builder.tcp(true).hba("host replication pw 127.0.0.1/32 scram-sha-256"))
    else {
        return;
    };
    bench.cluster.sql("CREATE ROLE pw REPLICATION LOGIN PASSWORD 'right'");
    bench.cluster.sql("SELECT pg_create_physical_replication_slot('there')");
    std::fs::create_dir(bench.path("full")).unwrap();
    std::fs::write(bench.path("full/.hidden"), "").unwrap();
    std::fs::create_dir(bench.path("empty")).unwrap();
    std::fs::write(bench.path("file"), "").unwrap();
    for args in [
        "-D full",
        "-D file",
        "-D /proc/x",
        "-D new -S nope",
        "-D empty -S nope",
        "-D new -C -S there",
        "-D new -h /nonexistent",
        "-D new -h 127.0.0.1 -p 1",
        "-D new -h 127.0.0.1 -U pw -w",
        "-D new -h 127.0.0.1 -w -d user=pw\\ password=wrong",
        "-D new -d nonsense",
        "-D new --manifest-checksums foo",
        "-D new -F t -Z server-foo",
        "-D new -F t -Z server-gzip:level=77",
        "-D new -U nobody_at_all",
    ] {
        let mut args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        // One escaped blank, inside a connection string.
        if let Some(index) = args.iter().position(|word| word.ends_with('\\')) {
            let rest = args.remove(index + 1);
            args[index] = format!("{} {rest}", args[index].trim_end_matches('\\'));
        }
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.extend(["-c", "fast"]);
        bench.same("basebackup", &args);
        assert!(!bench.path("new").exists(), "{args:?}");
    }
    assert!(files(&bench.path("empty")).is_empty());
    let kept = bench.ours("basebackup", &["-D", "kept", "-n", "-S", "nope", "-c", "fast"]);
    assert!(
        kept.stderr.ends_with("tapster basebackup: data directory \"kept\" not removed at user's request\n"),
        "{}",
        kept.stderr
    );
    assert!(bench.path("kept").exists() && !bench.path("kept/global/pg_control").exists());
    let free = bench
        .ours("basebackup", &["-D", "good", "-c", "fast", "-d", "host=127.0.0.1 user=pw password=right"]);
    assert_eq!(free.code, 0, "{}", free.stderr);
}

#[test]
fn damaged_pages_are_reported_and_the_backup_kept() {
    let Some(bench) = Bench::with(|builder| builder.checksums(true)) else { return };
    bench.cluster.sql("CHECKPOINT");
    let file = bench.cluster.value("SELECT pg_relation_filepath('kept')");
    bench.cluster.stop(tapster_protocol::testing::StopMode::Fast);
    let path = bench.cluster.data_dir().join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8192 + 4000] ^= 0xff;
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(&bytes).unwrap();
    bench.cluster.start();
    let run = bench.ours("basebackup", &["-D", "damaged", "-c", "fast"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("WARNING:  checksum verification failed in file"), "{}", run.stderr);
    assert!(run.stderr.contains("tapster basebackup: error: checksum error occurred"), "{}", run.stderr);
    // The copy itself is what the server sent.
    bench.verify(&bench.path("damaged"), true);
    let calm = bench.ours("basebackup", &["-D", "unseen", "-c", "fast", "--no-verify-checksums"]);
    assert_eq!(calm.code, 0, "{}", calm.stderr);
}

#[test]
fn what_a_signal_interrupts_is_removed() {
    let Some(bench) = Bench::new() else { return };
    let child = bench.spawn("basebackup", &["-D", "slow", "-c", "fast", "-r", "1M", "-v"]);
    let path = bench.path("slow/base");
    while !path.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("removing data directory \"slow\""), "{text}");
    assert!(!bench.path("slow").exists());
    let slots = || bench.cluster.value("SELECT count(*) FROM pg_replication_slots");
    for _ in 0..100 {
        if slots() == "0" {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the temporary slot outlives the connection");
}

#[test]
fn a_second_timeline_brings_its_history() {
    let Some(bench) = Bench::new() else { return };
    let standby: Cluster = Cluster::builder().standby_of(&bench.cluster, None);
    standby.promote();
    let host = standby.socket_dir().to_str().unwrap();
    ok(&bench, &["-D", "plain", "-h", host]);
    let wal = files(&bench.path("plain/pg_wal"));
    assert!(wal.iter().any(|name| name == "00000002.history"), "{wal:?}");
    assert!(wal.iter().any(|name| name == "archive_status/00000002.history.done"), "{wal:?}");
    bench.verify(&bench.path("plain"), true);
    ok(&bench, &["-D", "tars", "-F", "t", "-h", host]);
    bench.unpack(&bench.path("tars/pg_wal.tar"), &bench.path("unpacked"));
    assert!(bench.path("unpacked/00000002.history").exists());
}
