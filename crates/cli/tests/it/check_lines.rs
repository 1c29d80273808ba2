//! The lines of `check`, compared with Barman's, and those that Barman does not have.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tapster_protocol::testing::Builder;

use crate::chaos::wait_for;
use crate::lab::Lab;
use crate::program::Run;

/// What stands in for ssh: the command is run here, by itself or after something that a login has said.
fn shell(lab: &Lab, name: &str, says: &str) -> String {
    let path = lab.path(name);
    fs::write(&path, format!("#!/bin/sh\nfor last; do :; done\n{says}\nexec sh -c \"$last\"\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Servers in many states, all on one cluster.
fn configure(lab: &Lab) {
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    let text = fs::read_to_string(lab.path("tapster.conf")).unwrap();
    let (barman, main) = text.split_once("[main]\n").unwrap();
    let bin = lab
        .cluster
        .command("pg_basebackup")
        .get_program()
        .to_str()
        .unwrap()
        .trim_end_matches("/pg_basebackup")
        .to_owned();
    let to = |conninfo: &str| {
        format!("conninfo = {conninfo}\nstreaming_conninfo = {conninfo}\nbackup_method = postgres\n")
    };
    let (plain, down) = (to(&conninfo), to("host=/nonexistent user=x dbname=x"));
    let (copied, copied_down) =
        (plain.replace("= postgres\n", "= local-rsync\n"), down.replace("= postgres\n", "= rsync\n"));
    let concurrent = "archiver = on\nbackup_options = concurrent_backup\n";
    let exclusive = "archiver = on\nbackup_options = exclusive_backup\n";
    let (ssh, noisy) = (shell(lab, "ssh", ""), shell(lab, "noisy", "echo welcome"));
    let limits = "archiver = on\nlast_backup_maximum_age = 1 DAYS\nlast_wal_maximum_age = 1 HOURS\n\
        last_backup_minimum_size = 1k\nminimum_redundancy = 1\n";
    let user = |name: &str| conninfo.replace("user=postgres", &format!("user={name}"));
    let sections = [
        ("main", main.to_owned()),
        (
            "limits",
            format!(
                "{plain}streaming_archiver = on\nslot_name = tapster\nlast_backup_maximum_age = 1 DAYS\nlast_backup_minimum_size = 1Gi\n\
                 last_wal_maximum_age = 1 HOURS\nminimum_redundancy = 2\nmax_incoming_wals_queue = 1\nretention_policy = NONSENSE 3\n"
            ),
        ),
        ("files", format!("{plain}archiver = on\nslot_name = tapster\n")),
        ("rsync", format!("{copied}{concurrent}")),
        (
            "standby",
            format!("{plain}streaming_archiver = on\nslot_name = nothing\nprimary_conninfo = {conninfo}\n"),
        ),
        ("inactive", format!("{plain}active = off\narchiver = on\n")),
        ("disabled", "backup_method = postgres\narchiver = on\n".to_owned()),
        ("down", format!("{down}archiver = on\nstreaming_archiver = on\nslot_name = a\n")),
        ("passive", format!("primary_ssh_command = {ssh} barman@nowhere\n")),
        ("unreachable", "primary_ssh_command = /bin/false nobody@nowhere\n".to_owned()),
        ("waiting", format!("{plain}{limits}")),
        ("failed", format!("{plain}{limits}")),
        ("empty", format!("{plain}{limits}")),
        ("old", format!("{plain}{limits}")),
        ("of_another", format!("{plain}archiver = on\n")),
        ("no_directory", format!("{plain}archiver = on\nincoming_wals_directory = /proc/nothing/incoming\n")),
        (
            "queues",
            format!(
                "{plain}archiver = on\nstreaming_archiver = on\nslot_name = none\nmax_incoming_wals_queue = 1\n"
            ),
        ),
        ("no_stream", format!("{plain}streaming_conninfo = host=/nonexistent user=x\narchiver = on\n")),
        ("no_normal", format!("{down}streaming_conninfo = {conninfo}\narchiver = on\n")),
        ("no_rights", format!("{}archiver = on\n", to(&user("nobody")))),
        ("monitor", format!("{}archiver = on\n", to(&user("monitor")))),
        (
            "wal_host",
            format!(
                "{plain}wal_conninfo = {} connect_timeout=9\nwal_streaming_conninfo = {conninfo}\nstreaming_archiver = on\n\
                 slot_name = none\n",
                user("nobody")
            ),
        ),
        ("ssh", format!("{}ssh_command = {ssh} x\n{concurrent}", copied.replace("local-", ""))),
        ("noisy", format!("{}ssh_command = {noisy} x\n{concurrent}", copied.replace("local-", ""))),
        ("exclusive", format!("{copied}{exclusive}")),
        ("exclusive_down", format!("{copied_down}ssh_command = {ssh} x\n{exclusive}")),
        ("label", format!("{copied_down}ssh_command = {ssh} x\n{concurrent}")),
        ("no_label", format!("{copied_down}ssh_command = {ssh} x\n{concurrent}")),
        ("inactive_rsync", format!("{copied_down}ssh_command = {ssh} x\n{concurrent}active = off\n")),
    ];
    let servers: String = sections
        .iter()
        .map(|(name, text)| {
            // The one without WAL waits for some, a third of the time; none of them is to be late on a busy host.
            let timeout = if *name == "limits" { 9 } else { 60 };
            format!("[{name}]\npath_prefix = {bin}\ncheck_timeout = {timeout}\n{text}\n")
        })
        .collect();
    fs::write(lab.path("tapster.conf"), format!("{barman}{servers}")).unwrap();
}

/// Servers that have what `main` has, with something changed in the record of the backup or beside it.
fn furnish(lab: &Lab) {
    let home = |below: &str| lab.path("home").join(below);
    let stale = lab.path("stale");
    fs::create_dir(&stale).unwrap();
    fs::write(stale.join("backup_label"), "").unwrap();
    let stale = format!("pgdata={}", stale.display());
    let records = [
        ("files", "", ""),
        ("rsync", "", ""),
        ("standby", "", ""),
        ("inactive", "", ""),
        ("down", "", ""),
        ("passive", "", ""),
        ("unreachable", "", ""),
        ("waiting", "status=", "status=WAITING_FOR_WALS"),
        ("failed", "status=", "status=FAILED"),
        ("empty", "status=", "status=EMPTY"),
        ("old", "end_time=", "end_time=2020-10-01 10:00:00.000000+00:00"),
        ("of_another", "", ""),
        ("no_directory", "", ""),
        ("queues", "", ""),
        ("no_stream", "", ""),
        ("no_normal", "", ""),
        ("no_rights", "", ""),
        ("monitor", "", ""),
        ("wal_host", "", ""),
        ("ssh", "", ""),
        ("noisy", "", ""),
        ("exclusive", "", ""),
        ("exclusive_down", "", ""),
        ("label", "pgdata=", &stale),
        ("no_label", "", ""),
        ("inactive_rsync", "", ""),
    ];
    for (name, field, value) in records {
        for dir in ["base", "errors", "incoming", "streaming"] {
            fs::create_dir_all(home(name).join(dir)).unwrap();
        }
        // Nobody looks at the files of the backup.
        let parts = ["meta", "wals", "identity.json"].map(|part| home("main").join(part));
        assert!(Command::new("cp").arg("-a").args(parts).arg(home(name)).status().unwrap().success());
        fs::rename(home(name).join("wals/main-xlog.db"), home(name).join(format!("wals/{name}-xlog.db")))
            .unwrap();
        let record = fs::read_dir(home(name).join("meta")).unwrap().map(|entry| entry.unwrap().path());
        let record =
            record.into_iter().find(|path| path.extension().is_some_and(|end| end == "info")).unwrap();
        let text = fs::read_to_string(&record).unwrap();
        let lines = text.lines().map(|line| match line {
            _ if line.starts_with("server_name=") => format!("server_name={name}\n"),
            _ if !field.is_empty() && line.starts_with(field) => format!("{value}\n"),
            _ => format!("{line}\n"),
        });
        fs::write(&record, lines.collect::<String>()).unwrap();
    }
    fs::create_dir_all(home("limits/errors")).unwrap();
    for file in [
        "files/streaming/000000010000000000000001",
        "files/streaming/000000010000000000000002",
        "limits/errors/x.unknown",
        "main/errors/.hidden",
        "passive/streaming/only_one",
        "queues/incoming/a",
        "queues/incoming/b",
        "queues/incoming/c.tmp",
        "queues/streaming/a",
        "queues/streaming/b",
        "queues/streaming/c",
        "queues/streaming/.d",
    ] {
        fs::write(home(file), "").unwrap();
    }
    fs::write(home("of_another/identity.json"), "{\"systemid\": \"77\", \"version\": \"15\"}\n").unwrap();
}

#[test]
fn lines_are_barmans() {
    let archiving = |builder: Builder| builder.config("archive_mode = on").config("archive_command = 'true'");
    let Some(lab) = Lab::with(archiving) else { return };
    if lab.barman(&["--version"]).is_none() {
        return;
    }
    lab.cluster.sql("CREATE ROLE nobody LOGIN; CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor");
    configure(&lab);
    let receiver = lab.receive();
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.ok(&["backup", "--wait", "main"]);
    furnish(&lab);
    wait_for("archived WAL", || lab.cluster.value("SELECT archived_count > 0 FROM pg_stat_archiver") == "t");
    alike(&lab, &["check", "all"]);
    // Whatever it has archived before.
    lab.cluster.sql("ALTER SYSTEM SET archive_command = ''");
    lab.cluster.reload();
    wait_for("the setting", || lab.cluster.value("SHOW archive_command").is_empty());
    alike(&lab, &["check", "files"]);
    // One summary line and the exit code.
    for names in [&["main", "files", "inactive"][..], &["main"], &["inactive"], &["nosuch"]] {
        let args = [&["check", "--nagios"], names].concat();
        let (ours, theirs) = (lab.run(&args), lab.barman(&args).unwrap());
        assert_eq!(ours, theirs, "{names:?}");
    }
    let json = |run: Run| -> serde_json::Value { serde_json::from_str(&run.stdout).unwrap() };
    let args = ["-f", "json", "check", "main", "files", "exclusive", "inactive_rsync"];
    assert_eq!(json(lab.run(&args)), json(lab.barman(&args).unwrap()));
    let args = ["check", "--check-timeout", "1", "down"];
    assert_eq!(lab.run(&args).code, 1);
    drop(receiver);
}

/// Both programs print the same lines in the same order.
fn alike(lab: &Lab, args: &[&str]) {
    let (ours, theirs) = (lab.run(args), lab.barman(args).unwrap());
    assert_eq!((ours.code, ours.stderr.as_str()), (theirs.code, ""), "{theirs:?}");
    assert!(!theirs.stderr.contains("EXCEPTION"), "{theirs:?}");
    let wrong: Vec<String> = lines(&ours)
        .iter()
        .zip(lines(&theirs))
        .filter(|(ours, theirs)| *ours != theirs)
        .map(|(ours, theirs)| format!("{ours}\n  instead of {theirs}"))
        .collect();
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), ours.stdout);
    assert_eq!(lines(&ours).len(), lines(&theirs).len(), "{ours:?} {theirs:?}");
}

/// The lines, each with its server, as far as they are to be the same: Barman has programs of PostgreSQL's, and says less of why
/// something fails.
fn lines(run: &Run) -> Vec<String> {
    let mut server = "";
    let mut down = false;
    let mut lines = Vec::new();
    for line in run.stdout.lines() {
        if let Some(name) = line.strip_prefix("Server ") {
            (server, down) = (name, false);
        }
        let plain = match line.trim_start().split_once(": ") {
            Some(("PostgreSQL", rest)) => {
                down = rest != "OK";
                format!("PostgreSQL: {}", rest.split(' ').next().unwrap())
            }
            Some(("replication slot", rest)) if down => {
                format!("replication slot: {}", rest.split(' ').next().unwrap())
            }
            Some(("pg_basebackup compatible" | "pg_receivexlog compatible", _)) => line
                .split(" version: built in")
                .next()
                .unwrap()
                .replace(" version: 1", "\0")
                .split('\0')
                .next()
                .unwrap()
                .to_owned(),
            Some((_, rest)) if rest.contains("latest ") && rest.contains(" age: ") => {
                // Some seconds pass between the two.
                let (text, age) = line.rsplit_once(" age: ").unwrap();
                format!("{text} {}", age.trim_end_matches(|c: char| c != 'y'))
            }
            Some(("systemid coherence", _)) => line.split("identity.json\"").next().unwrap().to_owned(),
            Some(("ssh", rest)) => {
                rest.split(": ssh failed").next().unwrap().trim_end_matches(')').to_owned()
            }
            _ => line.to_owned(),
        };
        lines.push(format!("{server} {plain}"));
    }
    lines
}

#[test]
fn what_barman_does_not_look_at() {
    let Some(lab) = Lab::new() else { return };
    lab.cluster.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '64MB'");
    lab.cluster.reload();
    // A server that has just been set up, without a segment yet, is not called wrong for that.
    lab.ok(&["receive-wal", "--create-slot", "main"]);
    let young = lab.run(&["check", "--check-timeout", "3", "main"]);
    assert!(young.stdout.contains("\tWAL archive: FAILED ("), "nothing receives: {young:?}");
    let receiver = lab.receive();
    receiver.freeze();
    let young = lab.run(&["check", "--check-timeout", "3", "main"]);
    assert!(!young.stdout.contains("WAL archive"), "{young:?}");
    drop(receiver);
    wait_for("the end of its session", || {
        lab.cluster.sql("SELECT 1 FROM pg_replication_slots WHERE active").is_empty()
    });
    let receiver = lab.receive();
    lab.ok(&["backup", "--wait", "main"]);
    lab.ok(&["backup", "--wait", "main"]);
    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    let extended = |lab: &Lab| lab.run(&["check", "--extended", "main"]);
    let line = |run: &Run, name: &str| {
        let found = run.stdout.lines().find(|line| line.starts_with(&format!("\t{name}: ")));
        found.unwrap_or_else(|| panic!("{run:?}")).trim().to_owned()
    };
    let run = extended(&lab);
    assert_eq!(line(&run, "WAL of backups"), "WAL of backups: OK (nothing is missing for 2 backups)");
    assert!(line(&run, "free space").starts_with("free space: OK ("), "{run:?}");
    assert!(line(&run, "slot lag").contains(" behind, reserved, in danger after "), "{run:?}");
    let none = "last verified restore: FAILED (none; 'tapster verify-restore main latest' makes one)";
    assert_eq!((line(&run, "last verified restore").as_str(), run.code), (none, 1));
    // What goes to the end of Barman's lines is all there is more.
    let plain = lab.run(&["check", "main"]);
    assert!(plain.code == 0 && run.stdout.starts_with(&plain.stdout), "{plain:?} {run:?}");
    let nagios = lab.run(&["check", "--nagios", "--extended", "main"]).stdout;
    assert!(nagios.contains(" main_free=") && nagios.contains("B main_slot_lag="), "{nagios}");
    // Proven, and proven long ago.
    let test = |days: u64, proven: bool| {
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
            - days * 86_400;
        format!(
            r#"{{"backup_id": "20260101T000000", "time": {time}, "proven": {proven}, "reached_lsn": null, "timeline": 1,
            "last_transaction": null, "elapsed_seconds": 1, "amcheck": false, "sql": false, "failure": "it did not start"}}"#
        )
    };
    let memory = lab.server_dir().join("meta/restore-tests.json");
    for (days, proven, ok, said) in [
        (2, true, "OK", "backup 20260101T000000, 2 days"),
        (40, true, "FAILED", "backup 20260101T000000, 40 days"),
        (2, false, "FAILED", ": it did not start)"),
    ] {
        let (last, good) = (test(days, proven), test(days, true));
        fs::write(&memory, format!("{{\"last\": {last}, \"last_proven\": {good}}}")).unwrap();
        let line = line(&extended(&lab), "last verified restore");
        assert!(line.starts_with(&format!("last verified restore: {ok} (")) && line.contains(said), "{line}");
    }
    // WAL that only the older backup needs is missing: Barman's lines, and ours for the latest backup, say nothing of it.
    let ids: Vec<String> =
        lab.ok(&["list-backups", "--minimal", "main"]).lines().map(str::to_owned).collect();
    let begin = |id: &str| {
        let record = fs::read_to_string(lab.server_dir().join(format!("meta/{id}-backup.info"))).unwrap();
        record.lines().find_map(|line| line.strip_prefix("begin_wal=").map(str::to_owned)).unwrap()
    };
    let (older, newer) = (begin(&ids[1]), begin(&ids[0]));
    assert!(older < newer);
    fs::remove_file(lab.server_dir().join("wals").join(&older[..16]).join(&older)).unwrap();
    let run = extended(&lab);
    assert_eq!(
        line(&run, "WAL of backups"),
        format!("WAL of backups: FAILED (missing: {older} for backup {})", ids[1])
    );
    assert!(!run.stdout.contains("WAL continuity"), "{run:?}");
    // A slot that nobody reads: first in danger, then lost.
    receiver.freeze();
    lab.cluster.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active");
    for _ in 0..8 {
        lab.cluster.sql("SELECT pg_logical_emit_message(false, 'x', 'y'), pg_switch_wal()");
    }
    lab.cluster.sql("CHECKPOINT");
    let run = extended(&lab);
    assert!(line(&run, "slot lag").starts_with("slot lag: FAILED ("), "{run:?}");
}
