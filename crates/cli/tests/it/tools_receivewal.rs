//! What `tapster receivewal` writes is the server's WAL, in `pg_receivewal`'s files.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::tools::{Bench, files};

fn bench() -> Option<Bench> {
    Bench::with(|builder| builder.wal_segment_mb(1).config("wal_keep_size = 1GB"))
}

/// Some segments of WAL; returns where it ends, away from a segment's edge.
fn write_wal(bench: &Bench) -> String {
    bench.cluster.sql("CREATE TABLE IF NOT EXISTS written (text text)");
    bench.cluster.sql("INSERT INTO written SELECT md5(i::text) FROM generate_series(1, 60000) AS i");
    bench.cluster.value("SELECT pg_current_wal_flush_lsn()")
}

fn make_slot(bench: &Bench, name: &str) {
    bench.cluster.sql(&format!("SELECT pg_create_physical_replication_slot('{name}', true)"));
}

fn make_directory(bench: &Bench, name: &str) {
    std::fs::create_dir(bench.path(name)).unwrap();
}

fn receive(bench: &Bench, args: &[&str]) -> String {
    let run = bench.ours("receivewal", &[&["-n"], args].concat());
    assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
    run.stderr
}

/// Complete segments are the server's, byte for byte.
fn compare(bench: &Bench, directory: &Path) -> usize {
    let names: Vec<_> = files(directory).into_iter().filter(|name| name.len() == 24).collect();
    for name in &names {
        let (ours, theirs) = (directory.join(name), bench.cluster.wal_dir().join(name));
        assert!(std::fs::read(ours).unwrap() == std::fs::read(theirs).unwrap(), "{name} differs");
    }
    names.len()
}

fn end(mut child: Child, signal: &str) -> (i32, String) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    let mut text = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut text).unwrap();
    (child.wait().unwrap().code().unwrap(), text)
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..400 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited in vain for {what}");
}

#[test]
fn from_the_slot_to_exactly_the_end_position_and_on() {
    let Some(bench) = bench() else { return };
    make_slot(&bench, "s");
    make_directory(&bench, "wal");
    let wal = bench.path("wal");
    let stop = write_wal(&bench);
    let text = receive(&bench, &["-D", "wal", "-S", "s", "-v", "--endpos", &stop]);
    assert!(text.contains(&format!("stopped log streaming at {stop} (timeline 1)")), "{text}");
    assert!(compare(&bench, &wal) >= 2);
    let partial: Vec<_> = files(&wal).into_iter().filter(|name| name.ends_with(".partial")).collect();
    assert_eq!(partial.len(), 1);
    // Not one byte beyond.
    let position = u64::from_str_radix(stop.split('/').next_back().unwrap(), 16).unwrap();
    let offset = usize::try_from(position % (1 << 20)).unwrap();
    let (name, _) = partial[0].split_once('.').unwrap();
    let (ours, theirs) = (
        std::fs::read(wal.join(&partial[0])).unwrap(),
        std::fs::read(bench.cluster.wal_dir().join(name)).unwrap(),
    );
    assert!(ours[..offset] == theirs[..offset]);
    assert!(ours[offset..].iter().all(|byte| *byte == 0));

    let stop = write_wal(&bench);
    let text = receive(&bench, &["-D", "wal", "-S", "s", "-v", "--endpos", &stop]);
    let begin = format!("starting log streaming at {}/", stop.split('/').next().unwrap());
    assert!(text.contains(&begin), "{text}");
    let count = compare(&bench, &wal);
    assert!(count >= 4 && wal.join(format!("{name}.partial")).exists() != wal.join(name).exists());
    let complete: Vec<_> = files(&wal).into_iter().filter(|name| name.len() == 24).collect();
    let dump =
        bench.theirs("pg_waldump", &["-q", "-p", wal.to_str().unwrap(), &complete[0], &complete[count - 1]]);
    // The last record goes on in the partial segment; everything before it is read.
    assert!(dump.code == 0 || dump.stderr.contains("could not find file"), "{}", dump.stderr);
    // Already there: nothing to do.
    receive(&bench, &["-D", "wal", "--endpos", "0/1"]);
}

#[test]
fn compressed_segments_hold_the_same() {
    let Some(bench) = bench() else { return };
    make_slot(&bench, "s");
    let stop = write_wal(&bench);
    for (method, suffix) in [("gzip:1", "gz"), ("lz4", "lz4")] {
        make_directory(&bench, suffix);
        receive(&bench, &["-D", suffix, "-Z", method, "--endpos", &stop, "-S", "s", "--no-sync"]);
        let made = bench.path(suffix);
        let names: Vec<_> = files(&made).into_iter().filter(|name| name.ends_with(suffix)).collect();
        assert!(!names.is_empty());
        for name in names {
            let segment = name.split('.').next().unwrap();
            let program = if suffix == "gz" { "gzip" } else { "lz4" };
            let Ok(output) = Command::new(program).arg("-dc").arg(made.join(&name)).output() else {
                continue;
            };
            assert!(output.stdout == std::fs::read(bench.cluster.wal_dir().join(segment)).unwrap(), "{name}");
        }
        // The original would go on where we ended, and so do we.
        let start = |text: &str| text.split("starting").nth(1).unwrap().lines().next().unwrap().to_owned();
        let go_on = ["-D", suffix, "-v", "-n", "-Z", method, "--endpos", "0/1"];
        let theirs = bench.theirs("pg_receivewal", &go_on);
        assert_eq!(theirs.code, 0, "{}", theirs.stderr);
        assert_eq!(start(&theirs.stderr), start(&receive(&bench, &go_on)));
        bench.cluster.sql("SELECT pg_drop_replication_slot('s')");
        make_slot(&bench, "s");
        bench.cluster.sql("SELECT pg_switch_wal()");
        let stop = write_wal(&bench);
        receive(&bench, &["-D", suffix, "-Z", method, "--endpos", &stop]);
    }
}

#[test]
fn signals_end_it_cleanly() {
    let Some(bench) = bench() else { return };
    make_directory(&bench, "wal");
    let wal = bench.path("wal");
    for signal in ["-INT", "-TERM"] {
        let child = bench.spawn("receivewal", &["-D", "wal", "-v", "--synchronous"]);
        let streams =
            || bench.cluster.value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'");
        wait_for("the stream", || streams() == "1");
        let name = bench.cluster.value("SELECT application_name FROM pg_stat_replication");
        assert_eq!(name, "pg_receivewal");
        let stop = write_wal(&bench);
        let flushed = format!("SELECT count(*) FROM pg_stat_replication WHERE flush_lsn >= '{stop}'");
        wait_for("the flush", || bench.cluster.value(&flushed) == "1");
        let (code, text) = end(child, signal);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("tapster receivewal: received interrupt signal, exiting\n"), "{text}");
        assert!(text.contains(".partial\", segment is not complete\n"), "{text}");
        assert!(compare(&bench, &wal) >= 2);
        wait_for("the end of the connection", || streams() == "0");
    }
}

#[test]
fn it_comes_back_after_a_restart_of_the_server() {
    let Some(bench) = bench() else { return };
    make_slot(&bench, "s");
    make_directory(&bench, "wal");
    let child = bench.spawn("receivewal", &["-D", "wal", "-S", "s"]);
    wait_for("the first segment", || {
        write_wal(&bench);
        !files(&bench.path("wal")).is_empty()
    });
    bench.cluster.restart();
    let before = files(&bench.path("wal")).len();
    write_wal(&bench);
    wait_for("more segments", || files(&bench.path("wal")).len() > before);
    let (code, text) = end(child, "-INT");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("tapster receivewal: disconnected; waiting 5 seconds to try again\n"), "{text}");
    compare(&bench, &bench.path("wal"));
}

#[test]
fn the_same_refusals_in_the_same_words() {
    let Some(bench) =
        Bench::with(|builder| builder.tcp(true).hba("host replication pw 127.0.0.1/32 scram-sha-256"))
    else {
        return;
    };
    bench.cluster.sql("CREATE ROLE pw REPLICATION LOGIN PASSWORD 'right'");
    make_directory(&bench, "wal");
    for args in [
        "-D nowhere -n",
        "-D wal -n -S nope",
        "-D wal -n -h /nonexistent",
        "-D wal -n -h 127.0.0.1 -p 1",
        "-D wal -n -h 127.0.0.1 -U pw -w",
        "-D wal -n -d nonsense",
        "--create-slot -S existing",
        "--create-slot -S existing --if-not-exists -v",
        "--create-slot -S existing",
        "--drop-slot -S absent -v",
    ] {
        if args.contains("existing") {
            bench.cluster.sql(
                "SELECT pg_create_physical_replication_slot('existing')
                 WHERE NOT EXISTS (SELECT FROM pg_replication_slots)",
            );
        }
        bench.same("receivewal", &args.split(' ').collect::<Vec<_>>());
    }
    let dropped = bench.ours("receivewal", &["--drop-slot", "-S", "existing"]);
    assert_eq!((dropped.code, dropped.stderr.as_str()), (0, ""));
    assert_eq!(bench.cluster.value("SELECT count(*) FROM pg_replication_slots"), "0");
    let made = bench.ours("receivewal", &["--create-slot", "-S", "made"]);
    assert_eq!((made.code, made.stderr.as_str()), (0, ""));
    assert_eq!(bench.cluster.value("SELECT slot_name FROM pg_replication_slots"), "made");
}
