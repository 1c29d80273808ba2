//! Incremental backups of real servers (PostgreSQL 17 and later): taken, listed as Barman does, verified, restored, started,
//! queried and deleted.

use std::path::Path;

use tapster_copy::ChecksumAlgorithm;
use tapster_copy::manifest::ManifestWriter;
use tapster_protocol::testing::servers;

use crate::lab::Lab;

/// The newest servers that can; none is needed where there is no such PostgreSQL.
fn labs() -> Vec<Lab> {
    let able = servers().into_iter().filter(|server| server.major >= 17);
    able.filter_map(|server| Lab::with(|builder| builder.binaries(&server).config("summarize_wal = on")))
        .collect()
}

/// All rows, in a number.
const SUM: &str = "SELECT (SELECT coalesce(sum(hashtext(a::text)), 0) FROM a) || ' ' || \
                   (SELECT coalesce(sum(hashtext(b::text)), 0) FROM b) || ' ' || \
                   (SELECT coalesce(sum(hashtext(u::text)), 0) FROM u) || ' ' || \
                   (SELECT count(*) FROM pg_class)";

fn fill(lab: &Lab) {
    let space = lab.cluster.create_dir("space");
    for sql in [
        "CREATE TABLE a AS SELECT g AS id, repeat('x', 100) AS t FROM generate_series(1, 20000) g",
        "CREATE TABLE b AS SELECT g AS id, repeat('y', 200) AS t FROM generate_series(1, 5000) g",
        "CREATE TABLE dropped AS SELECT g AS id FROM generate_series(1, 1000) g",
        "CREATE TABLE emptied AS SELECT g AS id FROM generate_series(1, 1000) g",
        &format!("CREATE TABLESPACE space LOCATION '{}'", space.display()),
        "CREATE TABLE u TABLESPACE space AS SELECT g AS id FROM generate_series(1, 5000) g",
        "CREATE INDEX ON a (id)",
    ] {
        lab.cluster.sql(sql);
    }
}

/// Pages change, a relation is cut off by VACUUM, others come and go.
fn first_changes(lab: &Lab) {
    for sql in [
        "UPDATE a SET t = repeat('z', 100) WHERE id % 1000 = 0",
        "DELETE FROM b WHERE id > 1000",
        "VACUUM b",
        "DROP TABLE dropped",
        "CREATE TABLE created AS SELECT g AS id FROM generate_series(1, 3000) g",
        "UPDATE u SET id = -id WHERE id % 500 = 0",
    ] {
        lab.cluster.sql(sql);
    }
}

/// It grows again, another one is emptied.
fn second_changes(lab: &Lab) {
    for sql in [
        "INSERT INTO b SELECT g, repeat('w', 200) FROM generate_series(1001, 3000) g",
        "UPDATE a SET t = repeat('q', 100) WHERE id BETWEEN 5 AND 500",
        "TRUNCATE emptied",
        "DELETE FROM created",
        "VACUUM created",
    ] {
        lab.cluster.sql(sql);
    }
}

fn restored(lab: &Lab, backup: &str, name: &str, more: &[&str]) -> String {
    let data = lab.destination(name);
    let space = lab.cluster.create_dir(&format!("space-{name}"));
    assert!(std::process::Command::new("chmod").arg("700").arg(&data).status().unwrap().success());
    let rule = format!("space:{}", space.display());
    let output =
        lab.ok(
            &[&["restore", "--tablespace", &rule], more, &["main", backup, data.to_str().unwrap()]].concat()
        );
    let combined = "End combining backup via pg_combinebackup for backup ";
    assert!(output.contains(combined), "{output}");
    let mut chown = std::process::Command::new("chown");
    chown.arg("-R").arg("--reference").arg(lab.cluster.data_dir()).arg(&space);
    assert!(chown.status().unwrap().success());
    assert!(no_trace(&data), "the server must not see that the backup was incremental");
    lab.ask_restored(&data, SUM)
}

fn no_trace(data: &Path) -> bool {
    let label = std::fs::read_to_string(data.join("backup_label")).unwrap();
    let base = std::fs::read_dir(data.join("base")).unwrap();
    let mut files = base.flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap());
    !label.contains("INCREMENTAL")
        && !data.join(".tapster-staging").exists()
        && files.all(|file| !file.unwrap().file_name().to_str().unwrap().starts_with("INCREMENTAL"))
}

/// The same files as the real program makes of the same chain, where `scripts/postgres-programs` has fetched it.
fn as_postgresql_combines(lab: &Lab) {
    let cache = std::env::var("TAPSTER_PG_CACHE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/postgres").to_owned());
    let program = format!("{cache}/programs-{}/bin/pg_combinebackup", lab.cluster.major());
    if !Path::new(&program).exists() {
        println!("not compared: {program} is not there");
        return;
    }
    let mut inputs: Vec<_> = std::fs::read_dir(lab.server_dir().join("base"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("data"))
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    inputs.sort();
    let newest = inputs.last().unwrap();
    let link = std::fs::read_dir(format!("{newest}/pg_tblspc")).unwrap().next().unwrap().unwrap().path();
    let space = std::fs::read_link(link).unwrap();
    let made = |name: &str, command: &[&str]| {
        let output = lab.path(name);
        let mapping = format!("{}={}/space-{name}", space.display(), lab.path("").display());
        let mut run = std::process::Command::new(command[0]);
        run.args(&command[1..]).args(&inputs).arg("-o").arg(&output).arg("-T").arg(mapping);
        let result = run.output().unwrap();
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    };
    made("ours", &[env!("CARGO_BIN_EXE_tapster"), "combinebackup"]);
    made("theirs", &[&program]);
    for (ours, theirs) in [("ours", "theirs"), ("space-ours", "space-theirs")] {
        let mut diff = std::process::Command::new("diff");
        diff.args(["-rq", "--no-dereference", "-x", "backup_manifest", "-x", "pg_tblspc"]);
        let diff = diff.arg(lab.path(ours)).arg(lab.path(theirs)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&diff.stdout), "");
    }
}

#[test]
fn chains_are_restored_to_what_the_server_had() {
    for (number, lab) in labs().into_iter().enumerate() {
        let receiver = lab.receive();
        fill(&lab);
        lab.ok(&["backup", "main", "--wait", "--name", "whole"]);
        first_changes(&lab);
        lab.ok(&["backup", "main", "--wait", "--name", "i1", "--incremental", "latest"]);
        second_changes(&lab);
        // One of the chain in archives: unpacked on the way.
        let compressed =
            if number == 0 { "backup_compression = gzip\nbackup_compression_format = tar\n" } else { "" };
        // Nobody may take away meanwhile what it builds on.
        let locks = lab.path("held");
        let hook = format!(
            "pre_backup_script = sh -c 'for lock in {0}/.main-2*.lock; do flock -n $lock true || echo held; done >{1}'\n",
            lab.server_dir().parent().unwrap().display(),
            locks.display()
        );
        let settings = format!("{compressed}{hook}");
        lab.configure("tapster.conf", &lab.cluster.conninfo().to_conninfo_string(), &settings);
        lab.ok(&["backup", "main", "--wait", "--name", "i2", "--incremental", "latest"]);
        assert_eq!(std::fs::read_to_string(&locks).unwrap(), "held\n".repeat(3));
        let position = lab.cluster.value("SELECT pg_current_wal_lsn()");
        let then = lab.cluster.value(SUM);
        lab.cluster.sql("INSERT INTO a SELECT -g, 'later' FROM generate_series(1, 100) g");
        let now = lab.cluster.value(SUM);
        lab.ok(&["switch-wal", "--force", "--archive", "main"]);

        for args in [
            &["list-backups", "main"][..],
            &["show-backup", "main", "i2"],
            &["show-backup", "main", "whole"],
            &["-f", "json", "show-backup", "main", "i1"],
        ] {
            if let Some(theirs) = lab.barman(args) {
                assert_eq!(lab.run(args), theirs, "{args:?}");
            }
        }
        for name in ["whole", "i1", "i2"] {
            lab.ok(&["verify-backup", "main", name]);
        }
        assert_eq!(restored(&lab, "i2", "latest", &[]), now);
        if number > 0 {
            as_postgresql_combines(&lab);
            // The rest does not depend on the server.
            continue;
        }
        let target = ["--target-lsn", &position, "--target-action", "promote"];
        assert_eq!(restored(&lab, "i1", "pitr", &target), then);

        refusals(&lab);
        let run = lab.run(&["delete", "main", "i1"]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(
            run.stderr
                .contains("has incremental backups which depend on it. Deleting all backups in the tree")
        );
        assert_eq!(lab.ok(&["list-backups", "--minimal", "main"]).lines().count(), 1);
        let full = lab.json(&["show-backup", "main", "whole"]);
        assert!(full["main"]["catalog_information"]["children_backup_ids"].is_null(), "{full}");
        drop(receiver);
    }
}

/// A chain that lost its ground is no backup: it is found before anything is written.
fn refusals(lab: &Lab) {
    let id = |name: &str| {
        let record = lab.json(&["show-backup", "main", name]);
        record["main"]["backup_id"].as_str().unwrap().to_owned()
    };
    let (full, first) = (id("whole"), id("i1"));
    let record = lab.server_dir().join(format!("meta/{full}-backup.info"));
    let text = std::fs::read_to_string(&record).unwrap();
    let harm = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        std::fs::write(&record, text.replacen(from, to, 1)).unwrap();
    };
    let destination = lab.destination("refused");
    let restore = ["restore", "main", "i1", destination.to_str().unwrap()];
    for (from, to, problem) in [
        ("status=DONE", "status=FAILED", format!("backup {first} builds on {full}, which is FAILED")),
        (
            "begin_xlog=0/",
            "begin_xlog=7/",
            format!("backup {first} was taken on top of one that begins at 0/"),
        ),
    ] {
        harm(from, to);
        let run = lab.run(&restore);
        assert!(run.code == 1 && run.stderr.contains(&problem), "{run:?}");
        let run = lab.run(&["verify-backup", "main", "i1"]);
        assert!(run.code == 1 && run.stderr.contains(&problem), "{run:?}");
        let run = lab.run(&["backup", "--incremental", "i1", "main"]);
        assert!(run.code == 1 && run.stderr.contains(&problem), "{run:?}");
    }
    harm("summarize_wal=on", "summarize_wal=off");
    let run = lab.run(&["backup", "--incremental", &full, "main"]);
    assert_eq!(
        run.stderr,
        format!(
            "ERROR: failed to start backup: Backup ID {full} is not eligible as a parent for an incremental backup because \
             WAL summaries were not enabled when that backup was taken.\n"
        )
    );
    std::fs::write(&record, &text).unwrap();
    // What is unpacked on the way needs room as well.
    let manifest = lab.server_dir().join(format!("base/{}/data/backup_manifest", id("i2")));
    let real = std::fs::read(&manifest).unwrap();
    let mut huge = ManifestWriter::new(Vec::new(), 2, Some(1)).unwrap();
    huge.file(b"base/5/1", 1 << 60, 0, ChecksumAlgorithm::None, None).unwrap();
    std::fs::write(&manifest, huge.finish(&[]).unwrap()).unwrap();
    let space = lab.cluster.create_dir("space-none");
    let rule = format!("space:{}", space.display());
    let run = lab.run(&["restore", "--tablespace", &rule, "main", "i2", destination.to_str().unwrap()]);
    assert!(run.code == 1 && run.stderr.contains("the restore needs 1.0 EiB"), "{run:?}");
    std::fs::write(&manifest, real).unwrap();
    // What is being deleted takes its children along.
    let marker = lab.server_dir().join(format!("meta/{full}-delete_this"));
    std::fs::write(&marker, "delete").unwrap();
    let run = lab.run(&["backup", "--incremental", "i1", "main"]);
    let problem = format!("the deletion of {full} has begun");
    assert!(run.code == 1 && run.stderr.contains(&problem), "{run:?}");
    std::fs::remove_file(&marker).unwrap();
    assert_eq!(lab.ok(&["list-backups", "--minimal", "main"]).lines().count(), 3);
    assert!(std::fs::read_dir(&destination).unwrap().next().is_none(), "nothing was written");

    // A damaged block of the parent is found while the files are put together, and leaves nothing that starts.
    let base = lab.server_dir().join(format!("base/{full}/data/base/5"));
    let relation = std::fs::read_dir(&base)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_none())
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .unwrap();
    let good = std::fs::read(&relation).unwrap();
    let mut bad = good.clone();
    bad[10_000] ^= 1;
    std::fs::write(&relation, bad).unwrap();
    let run = lab.run(&["verify-backup", "main", "i1"]);
    let data = lab.server_dir().join(format!("base/{full}/data"));
    let wrong = format!("verify backup failure on directory '{}'", data.display());
    assert!(run.code == 1 && run.stderr.contains(&wrong), "{run:?}");
    assert!(run.stderr.contains("checksum mismatch for file") && !run.stdout.contains("success"), "{run:?}");
    let hidden = lab.path("hidden");
    std::fs::rename(&data, &hidden).unwrap();
    let run = lab.run(&["verify-backup", "main", "i1"]);
    assert!(run.code == 1 && run.stderr.contains(&wrong), "{run:?}");
    assert!(run.stderr.contains("could not open file"), "{run:?}");
    std::fs::rename(&hidden, &data).unwrap();
    let space = lab.cluster.create_dir("space-refused");
    let rule = format!("space:{}", space.display());
    let run = lab.run(&[&["restore", "--tablespace", &rule], &restore[1..]].concat());
    assert!(
        run.code == 1 && run.stderr.contains("is not as its CRC32C checksum in the manifest says"),
        "{run:?}"
    );
    assert!(!destination.join("global/pg_control").exists());
    std::fs::write(&relation, good).unwrap();
}

#[test]
fn what_barman_refuses_is_refused_in_its_words() {
    let Some(lab) = Lab::new() else { return };
    let old = lab.cluster.major() < 17;
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.ok(&["backup", "main"]);
    let args = ["backup", "main", "--incremental", "latest"];
    let run = lab.run(&args);
    let reason = if old {
        "Postgres version 17 or greater is required for incremental backups using the Postgres backup method"
    } else {
        "'summarize_wal' option has to be enabled in the Postgres server to perform an incremental backup using the \
         Postgres backup method"
    };
    assert_eq!((run.stderr, run.code), (format!("ERROR: failed to start backup: {reason}\n"), 1));
    assert_eq!(lab.ok(&["list-backups", "--minimal", "main"]).lines().count(), 1);
    drop(receiver);
}
