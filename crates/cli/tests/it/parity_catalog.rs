//! One catalog, two programs: what Tapster writes real Barman 3.19.1 lists, shows, verifies and restores, and what
//! Barman writes Tapster does.

use tapster_catalog::locks::Lock;

use crate::lab::Lab;
use crate::program::Run;

/// Both programs print the same for the same arguments.
fn alike(lab: &Lab, args: &[&str]) {
    let theirs = lab.barman(args).unwrap();
    assert_eq!(lab.run(args), theirs, "{args:?}");
}

fn succeeded(run: &Run) -> &str {
    assert_eq!(run.code, 0, "{run:?}");
    &run.stdout
}

/// Both say the same about a damaged backup and a missing manifest, and ours also misses WAL.
fn damaged_alike(lab: &Lab, id: &str) {
    let verify = ["verify", "main", id];
    let data = lab.server_dir().join(format!("base/{id}/data"));
    let (file, manifest) = (data.join("PG_VERSION"), data.join("backup_manifest"));
    let version = std::fs::read(&file).unwrap();
    std::fs::write(&file, "99\n").unwrap();
    alike(lab, &verify);
    std::fs::write(&file, version).unwrap();
    alike(lab, &["generate-manifest", "main", id]);

    std::fs::rename(&manifest, lab.path("kept")).unwrap();
    let (ours, theirs) = (lab.run(&verify), lab.barman(&verify).unwrap());
    assert_eq!((ours.stdout, ours.code), (theirs.stdout, theirs.code));
    assert!(ours.stderr.ends_with(&theirs.stderr), "{} {}", ours.stderr, theirs.stderr);
    alike_manifests(lab, id, &manifest);
    std::fs::rename(lab.path("kept"), &manifest).unwrap();

    let wals = lab.server_dir().join("wals");
    let aside = lab.path("wals-aside");
    std::fs::rename(&wals, &aside).unwrap();
    let run = lab.run(&verify);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("WAL parsing failed for timeline 1"), "{run:?}");
    lab.ok(&["verify-backup", "--no-wal", "main", id]);
    std::fs::rename(aside, wals).unwrap();
    lab.ok(&verify);
}

/// Ours and theirs list the same files in the same way, and each verifies with the other program.
fn alike_manifests(lab: &Lab, id: &str, manifest: &std::path::Path) {
    let make = ["generate-manifest", "main", id];
    // Two at once would write one file.
    let other = Lock::try_share(&lab.path(&format!("home/.main-{id}.lock"))).unwrap();
    let run = lab.run(&make);
    assert!(run.code == 1 && run.stderr.contains("is in use"), "{run:?}");
    drop(other);
    let mut made = Vec::new();
    for ours in [true, false] {
        let run = if ours { lab.run(&make) } else { lab.barman(&make).unwrap() };
        let text = format!("Backup manifest for backup '{id}' successfully generated for server ['main']\n");
        assert_eq!(succeeded(&run), text);
        alike(lab, &["verify-backup", "main", id]);
        let text = std::fs::read_to_string(manifest).unwrap();
        let mut lines: Vec<String> = text
            .lines()
            .filter(|l| l.starts_with("{\"C"))
            .map(|l| l[..l.rfind('}').unwrap()].to_owned())
            .collect();
        lines.sort();
        assert!(lines.len() > 900);
        made.push(lines);
        std::fs::remove_file(manifest).unwrap();
    }
    assert!(made[0] == made[1], "not the same files");
}

const LOOKS: [&[&str]; 10] = [
    &["list-backups", "main"],
    &["list-backups", "main", "--minimal"],
    &["-f", "json", "list-backups", "main"],
    &["show-backup", "main", "latest"],
    &["-f", "json", "show-backup", "main", "oldest"],
    &["show-backup", "main", "nope"],
    &["list-servers"],
    &["-f", "json", "list-servers"],
    &["get-wal", "main", "000000010000000000000099"],
    &["get-wal", "main", "NOTAWAL"],
];

#[test]
fn barman_reads_verifies_and_restores_what_tapster_wrote() {
    let Some(lab) = Lab::new() else { return };
    if lab.barman(&["--version"]).is_none() {
        return;
    }
    let receiver = lab.receive();
    lab.cluster.sql("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g");
    lab.ok(&["backup", "main", "--wait", "--name", "ours"]);
    lab.cluster.sql("INSERT INTO t SELECT g FROM generate_series(101, 200) g");
    lab.ok(&["switch-wal", "--archive", "main"]);
    for args in LOOKS {
        alike(&lab, args);
    }
    alike(&lab, &["check", "main"]);
    alike(&lab, &["-f", "json", "check", "main"]);
    alike(&lab, &["check", "--nagios", "main"]);
    let record = lab.json(&["show-backup", "main", "latest"]);
    let wal = record["main"]["wal_information"]["last_available"].as_str().unwrap().to_owned();
    alike(&lab, &["get-wal", "--peek", "3", "main", &wal]);
    let (ours, theirs) = (lab.path("ours"), lab.path("theirs"));
    for (directory, run) in [(&ours, true), (&theirs, false)] {
        std::fs::create_dir(directory).unwrap();
        let args = ["get-wal", "-o", directory.to_str().unwrap(), "main", &wal];
        succeeded(&if run { lab.run(&args) } else { lab.barman(&args).unwrap() });
    }
    assert!(std::fs::read(ours.join(&wal)).unwrap() == std::fs::read(theirs.join(&wal)).unwrap());

    let config = lab.configure(
        "tapster.conf",
        &lab.cluster.conninfo().to_conninfo_string(),
        "path_prefix = /usr/lib/postgresql/15/bin\n",
    );
    assert!(config.exists());
    let verified = lab.barman(&["verify-backup", "main", "latest"]).unwrap();
    assert!(succeeded(&verified).contains("backup successfully verified"), "{verified:?}");
    for format in ["console", "json"] {
        alike(&lab, &["-f", format, "verify-backup", "main", "latest"]);
    }
    damaged_alike(&lab, record["main"]["backup_id"].as_str().unwrap());
    let data = lab.destination("by-barman");
    succeeded(&lab.barman(&["restore", "main", "latest", data.to_str().unwrap()]).unwrap());
    assert_eq!(lab.ask_restored(&data, "SELECT count(*) FROM t"), "200");
    drop(receiver);

    let id = record["main"]["backup_id"].as_str().unwrap();
    let restoring = Lock::try_share(&lab.path(&format!("home/.main-{id}.lock"))).unwrap();
    for run in [lab.run(&["delete", "main", id]), lab.barman(&["delete", "main", id]).unwrap()] {
        let refused = format!("ERROR: Another process is holding the lock for backup {id} of server main.");
        assert_eq!((run.stderr.lines().next(), run.code), (Some(refused.as_str()), 1), "{run:?}");
    }
    drop(restoring);
    succeeded(&lab.barman(&["delete", "main", "latest"]).unwrap());
    assert_eq!(lab.ok(&["list-backups", "main"]), "");
}

#[test]
fn tapster_reads_restores_and_deletes_what_barman_wrote() {
    let Some(lab) = Lab::new() else { return };
    if lab.barman(&["--version"]).is_none() {
        return;
    }
    lab.configure(
        "tapster.conf",
        &lab.cluster.conninfo().to_conninfo_string(),
        "path_prefix = /usr/lib/postgresql/15/bin\n",
    );
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.cluster.sql("CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 100) g");
    succeeded(&lab.barman(&["backup", "main", "--wait"]).unwrap());
    for args in LOOKS {
        alike(&lab, args);
    }
    let data = lab.destination("by-tapster");
    lab.ok(&["restore", "main", "latest", data.to_str().unwrap()]);
    assert_eq!(lab.ask_restored(&data, "SELECT count(*) FROM t"), "100");
    drop(receiver);
    lab.ok(&["delete", "main", "latest"]);
    assert_eq!(succeeded(&lab.barman(&["list-backups", "main"]).unwrap()), "");
    assert!(std::fs::read_dir(lab.server_dir().join("base")).unwrap().next().is_none());
}
