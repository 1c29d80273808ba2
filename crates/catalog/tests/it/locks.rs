//! Lock files: the same as Barman's, so that each excludes the other.

use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;

use tapster_catalog::locks::{Lock, LockError, LockName};
use tapster_catalog::{ServerLayout, ServerName};

fn layout(home: &std::path::Path) -> ServerLayout {
    ServerLayout::standard(home, ServerName::new("main").unwrap())
}

#[test]
fn one_holder_at_a_time() {
    let home = tempfile::tempdir().unwrap();
    let path = layout(home.path()).lock(&LockName::BackupId("20261121T000542".parse().unwrap()));
    assert_eq!(path.file_name().unwrap(), ".main-20261121T000542.lock");
    let lock = Lock::try_acquire(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o600);
    match Lock::try_acquire(&path) {
        Err(LockError::Busy { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    assert_eq!(Lock::holder(&path).unwrap(), Some(Some(std::process::id())));
    let stopped = Lock::acquire(&path, &AtomicBool::new(true)).unwrap_err();
    assert!(matches!(stopped, LockError::Stopped { .. }), "{stopped}");
    drop(lock);
    assert!(path.exists(), "the file stays");
    assert_eq!(Lock::holder(&path).unwrap(), None);
    drop(Lock::acquire(&path, &AtomicBool::new(false)).unwrap());
}

#[test]
fn readers_share_and_keep_out_who_wants_it_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = layout(home.path()).lock(&LockName::BackupId("20261121T000542".parse().unwrap()));
    let readers = [Lock::try_share(&path).unwrap(), Lock::try_share(&path).unwrap()];
    assert_eq!(Lock::holder(&path).unwrap(), Some(Some(std::process::id())));
    assert!(matches!(Lock::try_acquire(&path), Err(LockError::Busy { .. })));
    let status = Command::new("flock").arg("--nonblock").arg(&path).arg("true").status().unwrap();
    assert!(!status.success(), "as Barman would try");
    drop(readers);
    let alone = Lock::try_acquire(&path).unwrap();
    assert!(matches!(Lock::try_share(&path), Err(LockError::Busy { .. })));
    alone.remove().unwrap();
    drop(Lock::try_share(&path).unwrap());
}

#[test]
fn a_removed_lock_file_locks_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = layout(home.path()).lock(&LockName::Backup);
    let first = Lock::try_acquire(&path).unwrap();
    first.remove().unwrap();
    let second = Lock::try_acquire(&path).unwrap();
    assert!(path.exists());
    assert!(Lock::try_acquire(&path).is_err());
    drop(second);
}

/// The system's own `flock` on the file stands for Barman, which calls the same.
#[test]
fn other_programs_and_we_exclude_one_another() {
    let home = tempfile::tempdir().unwrap();
    let path = layout(home.path()).lock(&LockName::Xlogdb);
    let held = Lock::try_acquire(&path).unwrap();
    let status = Command::new("flock").arg("--nonblock").arg(&path).arg("true").status().unwrap();
    assert!(!status.success());
    drop(held);

    let mut other = Command::new("flock")
        .arg(&path)
        .args(["sh", "-c", "echo got; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut got = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(other.stdout.take().unwrap()), &mut got)
        .unwrap();
    assert!(matches!(Lock::try_acquire(&path), Err(LockError::Busy { .. })));
    drop(other.stdin.take());
    other.wait().unwrap();
    Lock::try_acquire(&path).unwrap();
}
