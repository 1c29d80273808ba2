//! Backups kept as tar archives, compressed by either side: taken, shown, restored, and read by Barman.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::Lab;

const QUESTION: &str = "SELECT (SELECT count(*) FROM inside) || ',' || (SELECT sum(i) FROM outside)";

/// A server with a table in a tablespace.
fn ready() -> Option<Lab> {
    let lab = Lab::with(|builder| builder.wal_segment_mb(1))?;
    let place = lab.cluster.create_dir("space");
    lab.cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", place.display()));
    lab.cluster.sql("CREATE TABLE inside AS SELECT i, md5(i::text) FROM generate_series(1, 5000) AS i");
    lab.cluster.sql("CREATE TABLE outside TABLESPACE space AS SELECT generate_series(1, 1000) AS i");
    Some(lab)
}

fn configure(lab: &Lab, extra: &str) {
    lab.configure("tapster.conf", &lab.cluster.conninfo().to_conninfo_string(), extra);
}

/// Restores `backup` and returns where to.
fn restore(lab: &Lab, backup: &str, name: &str, more: &[&str]) -> PathBuf {
    let (data, space) = (lab.destination(name), lab.destination(&format!("{name}-space")));
    let tablespace = format!("space:{}", space.display());
    let args = ["restore", "--tablespace", &tablespace, "main", backup, data.to_str().unwrap()];
    lab.ok(&[&args[..], more].concat());
    own(lab, &space);
    data
}

fn own(lab: &Lab, dir: &Path) {
    let mut chown = Command::new("chown");
    chown.arg("-R").arg("--reference").arg(lab.cluster.data_dir()).arg(dir);
    assert!(chown.status().unwrap().success());
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn latest(lab: &Lab) -> String {
    lab.json(&["list-backups", "main"])["main"][0]["backup_id"].as_str().unwrap().to_owned()
}

#[test]
fn every_form_is_restored_and_read_by_barman() {
    let Some(lab) = ready() else { return };
    let _receiver = lab.receive();
    let oid = lab.cluster.value("SELECT oid FROM pg_tablespace WHERE spcname = 'space'");
    let major: u32 = lab.cluster.value("SHOW server_version_num").parse::<u32>().unwrap() / 10000;
    let mut forms = vec![
        ("backup_compression = gzip\nbackup_compression_level = 1\n", "gzip", ".gz"),
        ("backup_compression = lz4\n", "lz4", ".lz4"),
        ("backup_compression = zstd\nbackup_compression_workers = 2\n", "zstd", ".zst"),
        ("backup_compression = none\n", "none", ""),
    ];
    if major >= 15 {
        forms.push(("backup_compression = gzip\nbackup_compression_location = server\n", "gzip", ".gz"));
        forms.push((
            "backup_compression = gzip\nbackup_compression_location = server\nbackup_compression_format = plain\n",
            "None",
            "",
        ));
        // A server can be built without them, and then offers neither.
        let built = lab.cluster.command("pg_config").arg("--configure").output().unwrap();
        let built = String::from_utf8(built.stdout).unwrap();
        if built.contains("--with-lz4") {
            let form = "backup_compression = lz4\nbackup_compression_location = server\n";
            forms.push((form, "lz4", ".lz4"));
        }
        if built.contains("--with-zstd") {
            let form = "backup_compression = zstd\nbackup_compression_location = server\n\
                        backup_compression_level = 5\n";
            forms.push((form, "zstd", ".zst"));
        }
    }
    for (count, (extra, word, suffix)) in forms.into_iter().enumerate() {
        configure(&lab, extra);
        let said = lab.ok(&["backup", "main", "--wait"]);
        assert!(said.contains("Backup completed"), "{said}");
        let id = latest(&lab);
        let data = lab.server_dir().join("base").join(&id).join("data");
        let record =
            std::fs::read_to_string(lab.server_dir().join(format!("meta/{id}-backup.info"))).unwrap();
        assert!(record.contains(&format!("\ncompression={word}\n")), "{record}");
        if word == "None" {
            assert!(data.join("PG_VERSION").exists() && data.join("global/pg_control").exists());
        } else {
            let mut expected =
                [format!("{oid}.tar{suffix}"), "backup_manifest".to_owned(), format!("base.tar{suffix}")];
            expected.sort();
            assert_eq!(names(&data), expected);
        }
        let shown = lab.json(&["show-backup", "main", &id]);
        assert_eq!(shown["main"]["status"], "DONE");
        lab.ok(&["check-backup", "main", &id]);
        let restored = restore(&lab, &id, &format!("restored-{count}"), &[]);
        // What the restore checks by the manifest need not be started each time.
        if [0, 2, 4, 6, 7].contains(&count) {
            assert_eq!(lab.ask_restored(&restored, QUESTION), "5000,500500", "{extra}");
        }
        if let Some(run) = lab.barman(&["show-backup", "main", &id]) {
            assert_eq!(run.code, 0, "{run:?}");
            if word != "None" && word != "none" {
                assert!(run.stdout.contains(&format!("Backup Compression   : {word}")), "{run:?}");
            }
            // Each decoder once.
            if ![0, 1, 2].contains(&count) {
                lab.ok(&["delete", "main", &id]);
                continue;
            }
            let theirs = lab.destination(&format!("barman-{count}"));
            let space = lab.destination(&format!("barman-{count}-space"));
            let tablespace = format!("space:{}", space.display());
            let args = ["restore", "--tablespace", &tablespace, "main", &id, theirs.to_str().unwrap()];
            let run = lab.barman(&args).unwrap();
            assert_eq!(run.code, 0, "{run:?}");
            own(&lab, &space);
            if count == 1 {
                // It leaves a directory that was there as open as it was.
                std::fs::set_permissions(&theirs, std::fs::Permissions::from_mode(0o700)).unwrap();
                assert_eq!(lab.ask_restored(&theirs, QUESTION), "5000,500500", "{extra}");
            }
        }
        lab.ok(&["delete", "main", &id]);
        assert!(!data.exists());
    }
}

#[test]
fn a_compressed_backup_is_recovered_to_a_point_and_a_damaged_one_refused() {
    let Some(lab) = ready() else { return };
    let _receiver = lab.receive();
    configure(&lab, "backup_compression = gzip\n");
    lab.ok(&["backup", "main", "--wait"]);
    lab.cluster.sql("INSERT INTO outside VALUES (1000000)");
    lab.cluster.sql("SELECT pg_create_restore_point('here')");
    lab.cluster.sql("DROP TABLE inside");
    lab.ok(&["switch-wal", "--archive", "main"]);
    let more = ["--target-name", "here", "--target-action", "promote"];
    let restored = restore(&lab, "latest", "point", &more);
    assert_eq!(lab.ask_restored(&restored, QUESTION), "5000,1500500");

    // One flipped bit in the middle of the archive.
    let archive = lab.server_dir().join("base").join(latest(&lab)).join("data/base.tar.gz");
    let mut bytes = std::fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&archive, bytes).unwrap();
    let never = lab.destination("never");
    let (never, space) = (never.to_str().unwrap(), lab.destination("never-space"));
    let tablespace = format!("space:{}", space.display());
    let run = lab.run(&["restore", "--tablespace", &tablespace, "main", "latest", never]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("Restore failed: "), "{run:?}");
    assert!(!Path::new(never).join("global/pg_control").exists());
    std::fs::remove_file(&archive).unwrap();
    let gone = lab.run(&["restore", "main", "latest", lab.destination("gone").to_str().unwrap()]);
    assert!(gone.code == 1 && gone.stderr.contains("base.tar is missing"), "{gone:?}");
}

/// What Barman's `pg_basebackup` has compressed, on either side.
#[test]
fn what_barman_compressed_is_restored() {
    let Some(lab) = ready() else { return };
    let _receiver = lab.receive();
    let program = lab.cluster.command("pg_basebackup").get_program().to_owned();
    let bin = Path::new(&program).parent().unwrap().to_owned();
    let major: u32 = lab.cluster.value("SHOW server_version_num").parse::<u32>().unwrap() / 10000;
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    let forms: &[&str] = if major < 15 {
        &["gzip\n"]
    } else {
        &["gzip\n", "lz4\n", "zstd\nbackup_compression_location = server\n", "none\n"]
    };
    for (count, form) in forms.iter().enumerate() {
        configure(&lab, &format!("path_prefix = {}\nbackup_compression = {form}", bin.display()));
        let Some(run) = lab.barman(&["backup", "main", "--wait"]) else { return };
        assert_eq!(run.code, 0, "{run:?}");
        let restored = restore(&lab, "latest", &format!("theirs-{count}"), &[]);
        if count == 1 {
            assert_eq!(lab.ask_restored(&restored, QUESTION), "5000,500500", "{form}");
        }
    }
}

/// Two backups that share their files: each is whole without the other.
#[test]
fn files_are_shared_with_the_backup_before() {
    use std::os::unix::fs::MetadataExt as _;
    let Some(lab) = ready() else { return };
    let _receiver = lab.receive();
    lab.ok(&["backup", "main", "--wait"]);
    let first = latest(&lab);
    lab.cluster.sql("INSERT INTO outside VALUES (1000000)");
    configure(&lab, "reuse_backup = link\n");
    let said = lab.ok(&["backup", "main", "--wait"]);
    let line = said.lines().find(|line| line.starts_with("Backup size: ")).unwrap();
    assert!(line.contains(" Actual size on disk: ") && line.contains("% deduplication ratio)."), "{said}");
    let second = latest(&lab);
    let details = lab.json(&["show-backup", "main", &second]);
    let base = &details["main"]["base_backup_information"];
    let percent = base["resources_saved_percentage"].as_str().unwrap().trim_end_matches('%').to_owned();
    assert!(percent.parse::<f64>().unwrap() > 80.0, "{details}");
    let base = lab.server_dir().join("base");
    let file = |id: &str, name: &str| base.join(id).join("data").join(name).metadata().unwrap();
    assert_eq!(file(&first, "PG_VERSION").ino(), file(&second, "PG_VERSION").ino());
    for name in ["backup_label", "backup_manifest", "global/pg_control"] {
        assert_ne!(file(&first, name).ino(), file(&second, name).ino(), "{name}");
    }
    // The option wins; a copy would save nothing; archives have nothing to share.
    lab.ok(&["backup", "main", "--wait", "--reuse-backup", "off"]);
    let third = latest(&lab);
    assert_eq!(file(&third, "PG_VERSION").nlink(), 1);
    let refused = lab.run(&["backup", "main", "--reuse-backup", "copy"]);
    assert!(refused.code == 1 && refused.stderr.contains("reuse_backup = copy saves nothing"), "{refused:?}");
    configure(&lab, "reuse_backup = link\nbackup_compression = lz4\n");
    let refused = lab.run(&["backup", "main"]);
    assert!(refused.code == 1 && refused.stderr.contains("reuse_backup = link needs files"), "{refused:?}");
    assert_eq!(latest(&lab), third);

    configure(&lab, "");
    lab.ok(&["delete", "main", &first]);
    let restored = restore(&lab, &second, "after-first", &[]);
    assert_eq!(lab.ask_restored(&restored, QUESTION), "5000,1500500");
    lab.ok(&["verify-backup", "main", &second]);
}

/// Tablespaces that are directories inside the data directory (`allow_in_place_tablespaces`): they stay there.
#[test]
fn tablespaces_in_place_stay_in_place() {
    let Some(lab) = Lab::with(|builder| builder.wal_segment_mb(1)) else { return };
    if lab.cluster.value("SHOW server_version_num").parse::<u32>().unwrap() < 150_000 {
        return;
    }
    // Recovery wants it as well.
    lab.cluster.append("postgresql.conf", "allow_in_place_tablespaces = on\n");
    lab.cluster.restart();
    let place = lab.cluster.create_dir("space");
    lab.cluster.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", place.display()));
    lab.cluster.sql("CREATE TABLESPACE inner_space LOCATION ''");
    lab.cluster.sql(
        "CREATE TABLE inside TABLESPACE inner_space AS SELECT i, md5(i::text) FROM generate_series(1, 5000) AS i",
    );
    lab.cluster.sql("CREATE TABLE outside TABLESPACE space AS SELECT generate_series(1, 1000) AS i");
    lab.cluster.sql("CHECKPOINT");
    let _receiver = lab.receive();
    let oid = lab.cluster.value("SELECT oid FROM pg_tablespace WHERE spcname = 'inner_space'");
    let files = "backup_method = local-rsync\nautogenerate_manifest = true\n";
    for (count, extra) in ["", "backup_compression = lz4\n", files].into_iter().enumerate() {
        configure(&lab, extra);
        if extra == files {
            let config = lab.path("tapster.conf");
            let text = std::fs::read_to_string(&config).unwrap();
            std::fs::write(&config, text.replacen("backup_method = postgres\n", "", 1)).unwrap();
        }
        lab.ok(&["backup", "main", "--wait"]);
        let id = latest(&lab);
        lab.ok(&["verify-backup", "main", &id]);
        let data = restore(&lab, &id, &format!("in-place-{count}"), &[]);
        let inner = data.join("pg_tblspc").join(&oid);
        assert!(inner.is_dir() && !inner.is_symlink(), "{extra}");
        assert_eq!(lab.ask_restored(&data, QUESTION), "5000,500500", "{extra}");
    }
}
