//! Another host, played by a program that runs the command here.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapster_copy::extract::TablespaceTarget;
use tapster_copy::remote::{Host, RemoteArchive, RemoteError, RemoteOutlet, Script, Transfer};
use tapster_copy::tar::{NewMember, member_header};
use tapster_copy::{ExtractError, ExtractOptions, TarExtractor};

/// A program that takes ssh's words, and runs the last of them.
fn ssh(dir: &Path, more: &str) -> Vec<String> {
    let path = dir.join("ssh");
    let script = format!("#!/bin/sh\nfor last; do :; done\n{more}\nexec sh -c \"$last\"\n");
    // By another process: a file that a thread of this one is just forking with cannot be executed.
    let write = "printf %s \"$1\" > \"$2\"; chmod 755 \"$2\"";
    let mut shell = std::process::Command::new("/bin/sh");
    assert!(shell.args(["-c", write, "sh", &script]).arg(&path).status().unwrap().success());
    vec![path.display().to_string(), "db".to_owned()]
}

fn connect(dir: &Path, more: &str) -> Result<Host, RemoteError> {
    Host::connect("ssh db", ssh(dir, more), &Arc::default())
}

#[test]
fn words_arrive_as_they_are_and_answers_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let host = connect(dir.path(), "").unwrap();
    assert!(!host.is_shared());
    let stop = Arc::default();
    let words = ["it's", "$(id) `id` \"x\"", "", "a\nb\\", "-n"];
    let arguments: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    let said = host.run(&Script::new("echoing", "printf '<%s>' \"$@\"", &arguments), &stop).unwrap();
    assert_eq!(String::from_utf8(said).unwrap(), words.map(|word| format!("<{word}>")).concat());
    let mut script = Script::new("counting", "wc -c", &[]);
    script.input = &[7; 300_000];
    assert_eq!(String::from_utf8(host.run(&script, &stop).unwrap()).unwrap().trim(), "300000");

    let run = |text: &'static str| host.run(&Script::new("trying", text, &[]), &stop).unwrap_err();
    let text = run("echo 'first' >&2; echo 'the \u{7}reason' >&2; exit 3").to_string();
    assert_eq!(text, "trying failed on the target host (exit status: 3): the reason");
    assert!(matches!(run("cat /dev/zero"), RemoteError::TooMuch { limit: 65536, .. }));
    let flood = run(
        "i=0; while [ $i -lt 2000 ]; do echo 0123456789012345678901234567890123456789 >&2; i=$((i+1)); done; exit 1",
    );
    assert!(flood.to_string().len() < 500, "{flood}");
    assert!(matches!(run("exit 255"), RemoteError::Broken { .. }));
    let mut script = Script::new("waiting", "sleep 60", &[]);
    script.patience = Some(Duration::from_millis(100));
    assert!(matches!(host.run(&script, &stop).unwrap_err(), RemoteError::Silent { .. }));
}

#[test]
fn a_stop_ends_what_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let host = connect(dir.path(), "").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let begin = Instant::now();
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            stop.store(true, Ordering::Relaxed);
        });
        host.run(&Script::new("waiting", "exec sleep 60", &[]), &stop)
    });
    assert!(matches!(result, Err(RemoteError::Stopped)));
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_host_that_is_not_as_it_should_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |more: &str| connect(dir.path(), more).unwrap_err();
    let closed = refused("echo 'ssh: connect to host db: Connection refused' >&2; exit 255");
    assert_eq!(
        closed.to_string(),
        "Unable to connect to the target host using the command 'ssh db': ssh: connect to host db: Connection refused"
    );
    assert!(matches!(refused("echo Welcome"), RemoteError::Noise { said } if said == "Welcome"));
    assert!(matches!(refused("cat /dev/zero"), RemoteError::Connect { .. }));
    // One that does not know how to share a connection.
    let old = "case \"$*\" in *ControlMaster*) echo 'unknown option' >&2; exit 255;; esac";
    assert!(connect(dir.path(), old).is_ok());
    let nothing = Host::connect("", Vec::new(), &Arc::default());
    assert!(matches!(nothing, Err(RemoteError::Command { .. })));
}

#[test]
fn files_are_unpacked_while_they_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let host = connect(dir.path(), "").unwrap();
    for compress in [false, true] {
        let to = dir.path().join(format!("it's here {compress}"));
        fs::create_dir(&to).unwrap();
        let mut transfer = Transfer::default();
        transfer.compress = compress;
        let mut archive = RemoteArchive::open(&host, &to, &transfer).unwrap();
        let mut member = NewMember::file("a b".as_ref(), 3_000_000);
        member.mode = 0o640;
        archive.start(&member).unwrap();
        archive.data(&vec![7; 3_000_000]).unwrap();
        archive.finish().unwrap();
        let found = to.join("a b");
        assert_eq!(fs::read(&found).unwrap(), vec![7; 3_000_000]);
        assert_eq!(found.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        // What goes wrong there is the reason, not the broken pipe it leaves here.
        let mut archive = RemoteArchive::open(&host, &dir.path().join("nowhere"), &transfer).unwrap();
        archive.start(&NewMember::file("x".as_ref(), 1 << 30)).unwrap();
        let error = (0..4096).find_map(|_| archive.data(&[1; 65536]).err()).unwrap();
        assert!(error.to_string().contains("No such file or directory"), "{error}");
        // Broken off, nothing is complete.
        let mut archive = RemoteArchive::open(&host, &to, &transfer).unwrap();
        archive.start(&NewMember::file("cut".as_ref(), 100)).unwrap();
        assert!(matches!(archive.finish(), Err(RemoteError::Io { .. })));
    }
}

/// The relay has the rules of the extractor, whatever is behind it.
#[test]
fn a_base_backup_goes_through() {
    let dir = tempfile::tempdir().unwrap();
    let host = Arc::new(connect(dir.path(), "").unwrap());
    let (data, space) = (dir.path().join("data"), dir.path().join("sp ace"));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&space).unwrap();
    let relay = || {
        let mut options = ExtractOptions::default();
        options.tablespaces.insert(5, TablespaceTarget::Directory(space.clone()));
        options.skip = vec!["tablespace_map".to_owned()];
        let outlet = RemoteOutlet { host: Arc::clone(&host), transfer: Transfer::default() };
        TarExtractor::relay(&data, options, Box::new(outlet)).unwrap()
    };
    let mut extractor = relay();
    let feed = |extractor: &mut TarExtractor, name: &str, content: &[u8]| {
        let mode = if name.ends_with('/') { 0o700 } else { 0o600 };
        extractor.feed(&member_header(name, content.len() as u64, mode, 0).unwrap())?;
        let mut padded = content.to_vec();
        padded.resize(content.len().next_multiple_of(512), 0);
        extractor.feed(&padded)
    };
    extractor.start_archive(Some(5)).unwrap();
    feed(&mut extractor, "PG_15_1/", b"").unwrap();
    feed(&mut extractor, "PG_15_1/f", b"there").unwrap();
    extractor.start_archive(None).unwrap();
    for name in ["global/", "pg_tblspc/", "pg_wal/"] {
        feed(&mut extractor, name, b"").unwrap();
    }
    feed(&mut extractor, "tablespace_map", b"5 /x\n").unwrap();
    feed(&mut extractor, "global/pg_control", &[9; 512]).unwrap();
    feed(&mut extractor, "PG_VERSION", b"15\n").unwrap();
    let (report, control) = extractor.finish_without_control().unwrap();
    assert_eq!((report.files, control.content.len()), (4, 512));
    assert_eq!(fs::read(space.join("PG_15_1/f")).unwrap(), b"there");
    assert_eq!(fs::read(data.join("PG_VERSION")).unwrap(), b"15\n");
    assert_eq!(fs::read_link(data.join("pg_tblspc/5")).unwrap(), space);
    let absent = |name: &str| !data.join(name).exists();
    assert!(absent("global/pg_control") && absent("tablespace_map") && data.join("pg_wal").is_dir());

    let mut extractor = relay();
    extractor.start_archive(None).unwrap();
    let refused = feed(&mut extractor, "../escape", b"x").unwrap_err();
    assert!(matches!(refused, ExtractError::Tar(_)), "{refused}");
    fs::remove_dir_all(&data).unwrap();
    let mut extractor = relay();
    extractor.start_archive(None).unwrap();
    let gone = feed(&mut extractor, "f", b"x").and_then(|()| {
        feed(&mut extractor, "global/pg_control", &[9; 512])?;
        extractor.finish_without_control().map(drop)
    });
    let text = chain(&gone.unwrap_err());
    assert!(text.contains("No such file or directory"), "{text}");
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn the_socket_of_the_connection_is_private() {
    let dir = tempfile::tempdir().unwrap();
    // It makes the socket it is told to, as ssh does.
    let socket = "for word; do case $word in ControlPath=*) : > \"${word#ControlPath=}\"; ls -ld \"$(dirname \"${word#ControlPath=}\")\" \
                  >> \"$(dirname \"$0\")/seen\";; esac; done";
    let host = connect(dir.path(), socket).unwrap();
    assert!(host.is_shared());
    let seen = fs::read_to_string(dir.path().join("seen")).unwrap();
    assert!(seen.starts_with("drwx------"), "{seen}");
    let command = host.ssh_command(false);
    let path = command.split("ControlPath=").nth(1).map(PathBuf::from).unwrap();
    assert!(path.exists() && command.starts_with("ssh db "), "{command}");
    assert!(!host.ssh_command(true).contains("ControlPath"));
    drop(host);
    assert!(!path.exists());
}
