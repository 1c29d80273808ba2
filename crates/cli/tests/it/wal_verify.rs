//! `wal verify`: what it says of a sound archive, and of one with a gap.

use crate::lab::Lab;

#[test]
fn a_gap_is_an_error_with_a_line_of_its_own() {
    let Some(lab) = Lab::new() else { return };
    let receiver = lab.receive();
    let tapster = |args: &[&str]| {
        let config = lab.path("tapster.conf");
        crate::program::run_as("tapster", &[&["-c", config.to_str().unwrap()], args].concat())
    };
    let nothing = tapster(&["wal", "verify", "main"]);
    assert_eq!(
        (nothing.code, nothing.stderr.as_str()),
        (1, "ERROR: there is no WAL of server 'main' to verify\n")
    );

    lab.ok(&["switch-wal", "--force", "--archive", "main"]);
    lab.ok(&["backup", "main", "--wait", "--name", "morning"]);
    for number in 1..4 {
        lab.cluster.sql(&format!("CREATE TABLE t{number} AS SELECT 1"));
        lab.ok(&["switch-wal", "--archive", "main"]);
    }
    let committed = lab.cluster.value("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')");
    drop(receiver);
    let sound = tapster(&["wal", "verify", "main"]);
    assert_eq!((sound.code, sound.stderr.as_str()), (0, ""), "{sound:?}");
    assert!(sound.stdout.starts_with("Read "), "{sound:?}");
    for part in
        [" WAL segments (", "Timeline 1 from 0/", "\tvalid from 0/", &format!("last commit at {committed}")]
    {
        assert!(sound.stdout.contains(part), "{part}: {sound:?}");
    }
    let backup = sound.stdout.lines().last().unwrap();
    assert!(backup.starts_with("Backup ") && backup.contains(" can be recovered up to 0/"), "{backup}");

    let json = tapster(&["-f", "json", "wal", "verify", "main", "morning", "-j", "1"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let line = &json["main"]["timelines"][0];
    assert_eq!((&json["main"]["sound"], &line["problems"]), (&true.into(), &serde_json::json!([])));
    let (end, reached) =
        (&line["ranges"][0]["end_lsn"], &json["main"]["backups"][0]["recoverable"]["end_lsn"]);
    assert!(end.is_string() && end == reached, "{json}");
    assert_eq!(json["main"]["backups"][0]["problems"], serde_json::json!([]));

    // The label names a record that is no checkpoint.
    let id = json["main"]["backups"][0]["backup_id"].as_str().unwrap();
    let info = lab.server_dir().join("meta").join(format!("{id}-backup.info"));
    let text = std::fs::read_to_string(&info).unwrap();
    let checkpoint = text.split("CHECKPOINT LOCATION: ").nth(1).unwrap().split('\\').next().unwrap();
    std::fs::write(&info, text.replace(&format!("LOCATION: {checkpoint}"), "LOCATION: 0/1000028")).unwrap();
    let lost = tapster(&["wal", "verify", "main", "morning"]);
    let begin = &json["main"]["backups"][0]["begin_lsn"].as_str().unwrap();
    let problem = format!(
        "the checkpoint that begins at {begin} stands at {checkpoint}, by its backup_label at 0/1000028"
    );
    assert_eq!((lost.code, lost.stderr), (1, format!("ERROR: backup {id} cannot be recovered: {problem}\n")));
    let lost = tapster(&["-f", "json", "wal", "verify", "main", "morning"]);
    let lost_json: serde_json::Value = serde_json::from_str(&lost.stdout).unwrap();
    let backup = &lost_json["main"]["backups"][0];
    assert_eq!((lost.code, &backup["recoverable"]), (1, &serde_json::Value::Null), "{lost_json}");
    let expected = serde_json::json!([{
        "kind": "checkpoint", "redo": begin, "expected": "0/1000028", "found": checkpoint, "message": problem,
    }]);
    assert_eq!(backup["problems"], expected);
    std::fs::write(&info, text).unwrap();

    let last = lab.cluster.value("SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
    let log = u64::from_str_radix(&last[16..], 16).unwrap();
    let name = format!("{}{:08X}", &last[..16], log - 2);
    std::fs::remove_file(lab.server_dir().join("wals").join(&name[..16]).join(&name)).unwrap();
    let gap = tapster(&["wal", "verify", "main"]);
    assert_eq!((gap.code, gap.stderr), (1, format!("ERROR: timeline 1: segment {name} is missing\n")));
    assert_eq!(gap.stdout.matches("\tvalid from ").count(), 2, "{}", gap.stdout);
    let unknown = tapster(&["wal", "verify", "main", "yesterday"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
}

#[test]
fn the_group_explains_itself() {
    let help = crate::program::run_as("tapster", &["wal", "--help"]);
    assert_eq!(help.code, 0);
    assert!(
        help.stdout.starts_with("usage: tapster wal [-h] {") && help.stdout.contains("\n  verify "),
        "{help:?}"
    );
    assert_eq!(help, crate::program::run_as("tapster", &["help", "wal"]));
    let wrong = crate::program::run_as("tapster", &["wal", "prove"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.stderr.contains("tapster wal: error: argument command: invalid choice: 'prove'"),
        "{wrong:?}"
    );
    // Not one of Barman's.
    assert_eq!(crate::program::run_as("barman", &["wal"]).code, 2);
}
