//! `verifybackup` beside the real `pg_verifybackup`.

use std::path::Path;
use std::process::Command;

use crate::lab::Lab;
use crate::program::{Run, original, run_as};

/// Both say the same, but for the name of the program.
fn alike(lab: &Lab, args: &[&str]) -> Run {
    let program = lab.cluster.binaries().program("pg_verifybackup");
    let theirs = original(program.to_str().unwrap(), args).unwrap();
    let ours = run_as("tapster", &[&["verifybackup"], args].concat());
    let lines = |run: &Run, name: &str| {
        let mut lines: Vec<String> = run.stderr.lines().map(|line| line.replace(name, "NAME")).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&ours, "tapster verifybackup"), lines(&theirs, "pg_verifybackup"), "{args:?}");
    assert_eq!((&ours.stdout, ours.code), (&theirs.stdout, theirs.code), "{args:?}");
    ours
}

fn backup(lab: &Lab, target: &Path, more: &[&str]) {
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    let common = ["basebackup", "-d", &conninfo, "-c", "fast", "-D", target.to_str().unwrap()];
    let run = run_as("tapster", &[&common, more].concat());
    assert_eq!(run.code, 0, "{run:?}");
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

type Damage = &'static dyn Fn(&Path);

#[test]
fn plain_backups_are_judged_alike() {
    let Some(lab) = Lab::new() else { return };
    if !lab.cluster.binaries().program("pg_verifybackup").exists() {
        return;
    }
    let good = lab.path("good");
    backup(&lab, &good, &[]);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    assert_eq!(alike(&lab, &[&text(&good)]).code, 0);
    for args in [&[][..], &["a", "b"], &["-q", &text(&good)], &["-n", "/nonexistent"]] {
        alike(&lab, args);
    }
    let damage: [(&str, Damage); 8] = [
        ("size", &|d| std::fs::write(d.join("PG_VERSION"), "1").unwrap()),
        ("content", &|d| std::fs::write(d.join("PG_VERSION"), "99\n").unwrap()),
        ("missing", &|d| std::fs::remove_file(d.join("global/1262")).unwrap()),
        ("extra", &|d| std::fs::create_dir(d.join("new")).and(std::fs::write(d.join("new/x"), "")).unwrap()),
        ("no-manifest", &|d| std::fs::remove_file(d.join("backup_manifest")).unwrap()),
        ("changed-later", &|d| std::fs::write(d.join("postgresql.auto.conf"), "a=1\n").unwrap()),
        ("label", &|d| std::fs::write(d.join("backup_label"), "x").unwrap()),
        ("sum", &|d| {
            let path = d.join("backup_manifest");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, text.replacen("\"Size\": 3,", "\"Size\": 4,", 1)).unwrap();
        }),
    ];
    for (name, damage) in damage {
        let directory = lab.path(name);
        copy(&good, &directory);
        damage(&directory);
        let run = alike(&lab, &["-n", &text(&directory)]);
        assert_eq!(run.code, i32::from(name != "changed-later"), "{name}");
        if !["no-manifest", "sum"].contains(&name) {
            alike(&lab, &["-s", &text(&directory)]);
            alike(&lab, &["-n", "-i", "PG_VERSION", "-i", "new", &text(&directory)]);
        }
        std::fs::remove_dir_all(directory).unwrap();
    }
    // Without its WAL no backup is good.
    std::fs::rename(good.join("pg_wal"), lab.path("wal")).unwrap();
    std::fs::create_dir(good.join("pg_wal")).unwrap();
    let run = run_as("tapster", &["verifybackup", &text(&good)]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("error: WAL parsing failed for timeline 1"), "{run:?}");
    assert_eq!(alike(&lab, &["-w", &text(&lab.path("wal")), &text(&good)]).code, 0);
}

#[test]
fn archives_are_read_whatever_they_are_compressed_with() {
    let Some(lab) = Lab::new() else { return };
    let space = lab.cluster.create_dir("space");
    lab.cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", space.display()));
    lab.cluster.sql("CREATE TABLE t TABLESPACE space AS SELECT g FROM generate_series(1, 1000) g");
    for (name, method) in [("tar", "none"), ("gzip", "gzip"), ("lz4", "lz4"), ("zstd", "zstd")] {
        let target = lab.path(name);
        backup(&lab, &target, &["-Ft", "-Z", method]);
        let verify = |more: &[&str]| {
            run_as("tapster", &[&["verifybackup"], more, &[target.to_str().unwrap()]].concat())
        };
        let run = verify(&["-n"]);
        assert_eq!((run.stdout.as_str(), run.code), ("backup successfully verified\n", 0), "{run:?}");
        assert_eq!(verify(&[]).code, 1, "WAL in archives is not read");
        let base = std::fs::read_dir(&target)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with("base.tar"))
            .unwrap();
        let good = std::fs::read(&base).unwrap();
        std::fs::write(&base, &good[..good.len() / 2]).unwrap();
        let run = verify(&["-n"]);
        assert!(run.code == 1 && run.stderr.contains("could not read archive \"base.tar"), "{run:?}");
        if name == "tar" {
            let mut changed = good.clone();
            let at = changed.windows(10).position(|w| w == b"PG_VERSION").unwrap() + 512;
            changed[at] ^= 1;
            std::fs::write(&base, changed).unwrap();
            let run = verify(&["-n"]);
            assert_eq!(
                run.stderr,
                "tapster verifybackup: error: checksum mismatch for file \"PG_VERSION\"\n"
            );
            assert_eq!(verify(&["-n", "-s"]).code, 0);
            std::fs::write(target.join("notes.txt"), "").unwrap();
            assert!(verify(&["-n", "-s"]).stderr.contains("not expected in a tar format backup"));
        }
    }
}
