//! Scripts around a backup.

use crate::lab::Lab;

#[test]
fn scripts_run_around_a_backup_and_one_before_it_can_stop_it() {
    let Some(lab) = Lab::with(|builder| builder.wal_segment_mb(1)) else { return };
    let _receiver = lab.receive();
    let conninfo = lab.cluster.conninfo().to_conninfo_string();
    let log = lab.path("hooks");
    let line = "$BARMAN_PHASE $BARMAN_HOOK $BARMAN_RETRY $BARMAN_BACKUP_ID $BARMAN_PREVIOUS_ID/$BARMAN_NEXT_ID $BARMAN_STATUS";
    let write = format!("echo \"{line} $BARMAN_ERROR\" >> {}", log.display());
    let names = ["pre_backup", "pre_backup_retry", "post_backup_retry", "post_backup"];
    let scripts: String = names.iter().map(|name| format!("{name}_script = {write}\n")).collect();
    lab.configure("tapster.conf", &conninfo, &scripts);
    lab.ok(&["backup", "main", "--wait"]);
    let ids = || -> Vec<String> {
        let list = lab.json(&["list-backups", "main"]);
        let list = list["main"].as_array().unwrap();
        list.iter().map(|backup| backup["backup_id"].as_str().unwrap().to_owned()).collect()
    };
    let first = ids()[0].clone();
    assert_eq!(
        std::fs::read_to_string(&log).unwrap(),
        format!(
            "pre backup_script 0 {first} / EMPTY \npre backup_retry_script 1 {first} / EMPTY \n\
             post backup_retry_script 1 {first} / DONE \npost backup_script 0 {first} / DONE \n"
        )
    );
    std::fs::remove_file(&log).unwrap();

    // 63 before: no backup. A script that fails changes nothing, and 63 after it means nothing.
    let stop = format!("pre_backup_retry_script = exit 63\npost_backup_script = {write}\n");
    lab.configure("tapster.conf", &conninfo, &stop);
    let run = lab.run(&["backup", "main"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("Backup failed starting backup."), "{run:?}");
    assert!(
        run.stderr.contains("Abort 'pre_backup_retry_script' retry hook script (exit 63, exit code: 63)"),
        "{run:?}"
    );
    let second = ids()[0].clone();
    let said = std::fs::read_to_string(&log).unwrap();
    let expected =
        format!("post backup_script 0 {second} {first}/ FAILED failure starting backup (Abort 'pre_");
    assert!(said.starts_with(&expected), "{said}");
    let wrong = "pre_backup_script = echo oops; exit 5\npost_backup_retry_script = exit 63\n";
    lab.configure("tapster.conf", &conninfo, wrong);
    let run = lab.run(&["backup", "main"]);
    assert_eq!(run.code, 0, "{run:?}");
    let warnings = &run.stderr;
    assert!(warnings.contains("WARNING: echo oops; exit 5 returned 5\nOutput details:\noops\n"), "{run:?}");
    assert!(warnings.contains("Ignoring stop request after receiving abort (exit code 63)"), "{run:?}");
}
