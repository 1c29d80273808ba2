//! Manifests for backups without one, judged by PostgreSQL's own program.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use tapster_copy::manifest::{
    GenerateError, GenerateOptions, GenerateReport, VerifyOptions, generate, verify,
};
use tapster_copy::{ChecksumAlgorithm, Silent};

fn made(root: &Path, threads: usize) -> Result<GenerateReport, GenerateError> {
    let mut options = GenerateOptions::default();
    options.threads = threads;
    generate(root, &options, &Silent, &AtomicBool::new(false))
}

fn sample() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::create_dir_all(root.join("base/1")).unwrap();
    std::fs::create_dir_all(root.join("global/empty")).unwrap();
    std::fs::write(root.join("PG_VERSION"), "15\n").unwrap();
    for number in 0..300 {
        std::fs::write(root.join(format!("base/1/{number}")), vec![1; number * 37]).unwrap();
    }
    std::fs::write(root.join("base/größe \"x\"\\\u{1F600}\u{7f}"), "x").unwrap();
    std::fs::write(root.join(OsStr::from_bytes(b"base/no\xfftext")), "x").unwrap();
    dir
}

/// The sum of this file comes from `sha256sum`, the shape from a manifest that Barman 3.19 made.
#[test]
fn lines_are_barmans() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("PG_VERSION");
    std::fs::write(&file, "15\n").unwrap();
    let touched = Command::new("touch").args(["-d", "2026-11-21 00:03:38 UTC"]).arg(&file).status().unwrap();
    assert!(touched.success());
    made(dir.path(), 2).unwrap();
    let text = std::fs::read_to_string(dir.path().join("backup_manifest")).unwrap();
    let (body, last) = text.rsplit_once("\"Manifest-Checksum\": ").unwrap();
    let line = format!(
        "{{\"Checksum\": \"{}\", \"Checksum-Algorithm\": \"SHA256\", \
         \"Last-Modified\": \"2026-11-21 00:03:38\", \"Path\": \"PG_VERSION\", \"Size\": 3}}",
        sha256sum(&file)
    );
    assert_eq!(body, format!("{{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n{line}],\n"));
    assert_eq!(last.len(), "\"\"}\n".len() + 64);
}

fn sha256sum(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

#[test]
fn a_manifest_verifies_what_it_was_made_of_and_is_always_the_same() {
    let dir = sample();
    let root = dir.path();
    let manifest = root.join("backup_manifest");
    let report = made(root, 3).unwrap();
    assert_eq!(report.files, 303);
    let first = std::fs::read(&manifest).unwrap();
    assert!(matches!(made(root, 3), Err(GenerateError::Exists { .. })));
    assert_eq!(std::fs::read(&manifest).unwrap(), first, "the one that is there stays");
    std::fs::remove_file(&manifest).unwrap();
    made(root, 1).unwrap();
    assert_eq!(std::fs::read(&manifest).unwrap(), first);

    let check =
        || verify(&manifest, root, &VerifyOptions::default(), &Silent, &AtomicBool::new(false)).unwrap();
    let verified = check();
    assert!(verified.is_ok(), "{:?}", verified.problems);
    assert_eq!((verified.files, verified.bytes), (report.files, report.bytes));
    if let Some(program) = pg_verifybackup() {
        let output = Command::new(&program).arg("-n").arg(root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    std::fs::write(root.join("base/1/7"), vec![2; 7 * 37]).unwrap();
    assert_eq!(check().problem_count, 1);
}

fn pg_verifybackup() -> Option<std::path::PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut programs = versions.map(|entry| entry.unwrap().path().join("bin/pg_verifybackup"));
    programs.find(|program| program.exists())
}

#[test]
fn nothing_is_left_of_a_manifest_that_was_not_made() {
    let dir = sample();
    let stopped = generate(dir.path(), &GenerateOptions::default(), &Silent, &AtomicBool::new(true));
    assert!(matches!(stopped, Err(GenerateError::Stopped)));
    let pipe = Command::new("mkfifo").arg(dir.path().join("base/pipe")).status().unwrap();
    assert!(pipe.success());
    assert!(matches!(made(dir.path(), 2), Err(GenerateError::Kind { .. })));
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with("backup_manifest")), "{names:?}");
}

#[test]
fn links_of_tablespaces_are_followed_and_others_are_not() {
    let (dir, outside) = (sample(), sample());
    let root = dir.path();
    std::fs::create_dir(root.join("pg_tblspc")).unwrap();
    std::os::unix::fs::symlink(outside.path(), root.join("pg_tblspc/16385")).unwrap();
    std::os::unix::fs::symlink(outside.path(), root.join("pg_wal")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("dangling")).unwrap();
    let mut options = GenerateOptions::default();
    options.algorithm = ChecksumAlgorithm::Crc32c;
    let report = generate(root, &options, &Silent, &AtomicBool::new(false)).unwrap();
    assert_eq!(report.files, 606);
}

/// Two that wrote into one temporary file would publish a mixture of both.
#[test]
fn only_one_run_at_a_time_makes_a_manifest() {
    let dir = sample();
    let temporary = dir.path().join("backup_manifest.tmp");
    std::fs::write(&temporary, "of another run").unwrap();
    let other = std::fs::File::open(&temporary).unwrap();
    other.lock().unwrap();
    assert!(matches!(made(dir.path(), 2), Err(GenerateError::Busy { .. })));
    assert_eq!(std::fs::read(&temporary).unwrap(), b"of another run");
    // A run that was killed holds no lock.
    drop(other);
    std::fs::write(&temporary, vec![b'x'; 1 << 20]).unwrap();
    let files = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| made(dir.path(), 2))).collect();
        let files = runs.into_iter().filter_map(|run| match run.join().unwrap() {
            Ok(report) => Some(report.files),
            Err(GenerateError::Busy { .. } | GenerateError::Exists { .. }) => None,
            Err(error) => panic!("{error}"),
        });
        files.collect::<Vec<_>>()
    });
    assert_eq!(files, [303]);
    assert!(!temporary.exists());
    let (manifest, stop) = (dir.path().join("backup_manifest"), AtomicBool::new(false));
    let report = verify(&manifest, dir.path(), &VerifyOptions::default(), &Silent, &stop).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
}
