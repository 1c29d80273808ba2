use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::*;

fn shells() -> Vec<&'static str> {
    ["/bin/dash", "/bin/bash", "/bin/busybox"].into_iter().filter(|path| Path::new(path).exists()).collect()
}

fn run(shell: &str, script: &str, arguments: &[&OsStr], input: &[u8]) -> Output {
    let mut command = Command::new(shell);
    if shell.ends_with("busybox") {
        command.arg("sh");
    }
    command.arg("-c").arg(script).arg("sh").args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // A script that refuses does not read it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn put(path: &Path, text: &str) {
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_control_file_is_whole_or_not_there() {
    for shell in shells() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("it's a\tplace");
        std::fs::create_dir_all(data.join("global")).unwrap();
        std::fs::File::create(data.join("backup_manifest")).unwrap();
        let seal = |content: &[u8]| {
            let own = ["ID", "4", "640", "tok", ""].map(OsStr::new);
            let words = [&[data.as_os_str()], &own[..], &[data.as_os_str()]].concat();
            run(shell, SEAL, &words, content)
        };
        // Another restore has begun.
        for mark in [None, Some("token=tokens\n")] {
            if let Some(mark) = mark {
                put(&data.join(".tapster-restore"), mark);
            }
            let late = seal(b"abcd");
            assert!(!late.status.success() && late.stdout.is_empty(), "{shell}: {late:?}");
            assert!(data.join("backup_manifest").exists() && names(&data.join("global")).is_empty());
        }
        put(&data.join(".tapster-restore"), "destination=/x\ntoken=tok\n");
        // The connection broke.
        let cut = seal(b"abc");
        assert!(!cut.status.success() && cut.stdout.is_empty(), "{shell}: {cut:?}");
        assert!(!data.join("global/pg_control").exists(), "{shell}");
        let whole = seal(b"abcd");
        assert_eq!(whole.stdout, b"sealed\n", "{shell}: {whole:?}");
        assert_eq!(std::fs::read(data.join("global/pg_control")).unwrap(), b"abcd");
        assert!(
            data.join("backup_manifest.ID").exists() && names(&data.join("global")) == ["pg_control"],
            "{shell}"
        );
    }
}

#[test]
fn files_are_read_and_missed() {
    for shell in shells() {
        let dir = tempfile::tempdir().unwrap();
        let content = b"\n-\n12\n\0\xff no newline";
        std::fs::File::create(dir.path().join("a b'c")).unwrap().write_all(content).unwrap();
        std::fs::File::create(dir.path().join("empty")).unwrap();
        let words = [dir.path().as_os_str(), "a b'c".as_ref(), "none".as_ref(), "empty".as_ref()];
        let read = run(shell, READ, &words, &[]);
        let files = parse_files(&read.stdout, 3).unwrap();
        assert_eq!(files, [Some(content.to_vec()), None, Some(Vec::new())], "{shell}");
        assert_eq!(run(shell, MISSING, &words, &[]).stdout, b"none\n", "{shell}");
    }
    for bad in [&b""[..], b"-", b"5\nab\n", b"x\n", b"1\nab\n", b"-\n-\n", b"99999999999999999999\n"] {
        assert_eq!(parse_files(bad, 1), None, "{bad:?}");
    }
}

#[test]
fn only_a_clusters_own_tablespaces_are_gone_over() {
    for shell in shells() {
        let dir = tempfile::tempdir().unwrap();
        let (data, space) = (dir.path().join("da'ta"), dir.path().join("sp ace"));
        std::fs::create_dir_all(space.join("PG_15_1")).unwrap();
        let over = || {
            let words = [data.as_os_str(), "16385".as_ref(), space.as_os_str()];
            String::from_utf8(run(shell, OVER, &words, &[]).stdout).unwrap()
        };
        // Of whom?
        assert_eq!(over(), "nothing\n16385\n", "{shell}");
        std::fs::create_dir_all(data.join("pg_tblspc")).unwrap();
        assert_eq!(over(), "other\n16385\n", "{shell}");
        std::fs::create_dir(data.join("base")).unwrap();
        std::fs::File::create(data.join("PG_VERSION")).unwrap();
        assert_eq!(over(), "cluster\n16385\n", "{shell}");
        std::os::unix::fs::symlink(&space, data.join("pg_tblspc/16385")).unwrap();
        assert_eq!(over(), "cluster\n", "{shell}");
        std::fs::create_dir_all(space.join("PG_14_1")).unwrap();
        std::fs::create_dir_all(space.join("lost+found")).unwrap();
        assert_eq!(over(), "cluster\n", "{shell}");
        put(&space.join(".pre cious\n"), "");
        assert_eq!(over(), "cluster\n16385 .pre cious\n", "{shell}");
        std::fs::remove_file(space.join(".pre cious\n")).unwrap();
        let mut pid = std::fs::File::create(data.join("postmaster.pid")).unwrap();
        pid.write_all(format!("{}\n/x\n", std::process::id()).as_bytes()).unwrap();
        assert_eq!(over(), "running\n", "{shell}");
        // It was started since the plan was made.
        let words = ["over", "tok", "main", "ID"].map(OsStr::new);
        let late = run(shell, MAKE, &[&words[..], &[data.as_os_str()]].concat(), &[]);
        assert!(!late.status.success() && !data.join(".tapster-restore").exists(), "{shell}: {late:?}");
        // A restore to another place that broke off is not this one's.
        std::fs::remove_dir_all(&data).unwrap();
        let make = |data: &Path| {
            let words = ["over", "tok", "main", "ID"].map(OsStr::new);
            run(shell, MAKE, &[&words[..], &[data.as_os_str(), space.as_os_str()]].concat(), &[])
        };
        assert!(make(&dir.path().join("else")).status.success());
        assert_eq!(over(), "nothing\n16385\n", "{shell}");
        assert!(make(&data).status.success());
        assert_eq!(over(), "cluster\n", "{shell}");
    }
}

#[test]
fn what_a_crashed_server_leaves_is_kept() {
    for shell in shells() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("da'ta");
        for sub in [
            "pg_wal/archive_status",
            "pg_wal/not-archived",
            "pg_wal/lost+found",
            "base/1",
            "log",
            ".hidden",
            "in/side",
        ] {
            std::fs::create_dir_all(data.join(sub)).unwrap();
        }
        let segment = "000000010000000000000001";
        for (name, text) in [
            ("pg_wal/000000010000000000000001", "\x01\n\0"),
            ("pg_wal/x", ""),
            ("pg_wal/..y", ""),
            ("pg_wal/00000002.history", "1"),
            ("pg_wal/000000010000000000000002.partial", ""),
            (".tapster-restore", "token=other\n"),
        ] {
            std::fs::File::create(data.join(name)).unwrap().write_all(text.as_bytes()).unwrap();
        }
        let said = run(shell, SEGMENTS, &[data.as_os_str()], &[]);
        let expected =
            format!("{segment} 01 0a 00\n00000002.history\n000000010000000000000002.partial\nend\n");
        assert_eq!(String::from_utf8(said.stdout).unwrap(), expected, "{shell}");
        let said = run(shell, CKSUM, &[data.as_os_str(), "x".as_ref(), "00000002.history".as_ref()], &[]);
        assert_eq!(String::from_utf8(said.stdout).unwrap(), "4294967295 0\n433426081 1\n", "{shell}");
        std::fs::File::create(data.join("pg_wal/not-archived").join(segment)).unwrap();
        let aside = run(shell, ASIDE, &[data.as_os_str(), segment.as_ref()], &[]);
        assert!(aside.status.success(), "{shell}: {aside:?}");
        let space = dir.path().join("space");
        for sub in ["PG_15_1/1", "PG_14_1", "precious", "lost+found"] {
            std::fs::create_dir_all(space.join(sub)).unwrap();
        }
        let empty = || {
            let inside = data.join("in/side");
            let words = ["tok", "PG_15_"].map(OsStr::new);
            let places = [data.as_os_str(), space.as_os_str(), inside.as_os_str()];
            run(shell, EMPTY, &[&words[..], &places].concat(), &[])
        };
        // Another restore has begun, in all or one of them.
        for (root, token) in [(&data, "other"), (&space, "other"), (&data, "tok")] {
            assert!(!empty().status.success(), "{shell}");
            put(&root.join(".tapster-restore"), &format!("destination=/x\ntoken={token}\n"));
        }
        assert!(!empty().status.success() && data.join("base/1").exists() && space.join("PG_15_1").exists());
        put(&space.join(".tapster-restore"), "token=tok\n");
        put(&data.join("in/side/.tapster-restore"), "token=tok\n");
        let done = empty();
        assert!(done.status.success(), "{shell}: {done:?}");
        assert_eq!(names(&space), [".tapster-restore", "PG_14_1", "lost+found", "precious"], "{shell}");
        assert_eq!(names(&data), [".tapster-restore", "in", "log", "pg_wal"], "{shell}");
        assert_eq!(names(&data.join("pg_wal")), ["lost+found", "not-archived"], "{shell}");
        assert_eq!(
            names(&data.join("pg_wal/not-archived")),
            [segment.to_owned(), format!("{segment}.1")],
            "{shell}"
        );
        // The data directory is known by one name, and the tablespace in it by another.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&data, &link).unwrap();
        for sub in ["stale", "in/side/PG_15_1", "in/side/PG_14_1"] {
            std::fs::create_dir_all(data.join(sub)).unwrap();
        }
        for [data, inside] in [[&link, &data.join("in/side")], [&data, &link.join("in/side")]] {
            let words = ["tok", "PG_15_"].map(OsStr::new);
            let places = [data.as_os_str(), inside.as_os_str()];
            let done = run(shell, EMPTY, &[&words[..], &places].concat(), &[]);
            assert!(done.status.success(), "{shell}: {done:?}");
            assert_eq!(names(data), [".tapster-restore", "in", "log", "pg_wal"], "{shell}");
            assert_eq!(names(inside), [".tapster-restore", "PG_14_1"], "{shell}");
        }
    }
}

/// Found out while nothing has been touched.
#[test]
fn wal_that_cannot_be_read_is_not_passed_over() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for shell in shells() {
        let dir = tempfile::tempdir().unwrap();
        mode(dir.path(), 0o755);
        let wal = dir.path().join("pg_wal");
        std::fs::create_dir(&wal).unwrap();
        let look = || {
            let mut command = Command::new("setpriv");
            // Root may read everything.
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
            if !rustix::process::geteuid().is_root() {
                command = Command::new("env");
            }
            command.arg(shell).args(shell.ends_with("busybox").then_some("sh"));
            command.arg("-c").arg(SEGMENTS).arg("sh").arg(dir.path()).output().unwrap()
        };
        for name in ["00000002.history", "000000010000000000000001.partial", "000000010000000000000001"] {
            put(&wal.join(name), "x");
            assert!(look().status.success(), "{shell}: {name}");
            mode(&wal.join(name), 0);
            let said = look();
            assert!(!said.status.success() && !said.stdout.ends_with(b"end\n"), "{shell}: {said:?}");
            std::fs::remove_file(wal.join(name)).unwrap();
        }
        mode(&wal, 0o711);
        assert!(!look().status.success(), "{shell}");
        mode(&wal, 0o755);
    }
}

#[test]
fn nothing_is_unsealed_behind_a_link_under_a_server_or_for_another() {
    for shell in shells() {
        let dir = tempfile::tempdir().unwrap();
        let (data, global) = (dir.path().join("data"), dir.path().join("global"));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::create_dir_all(&global).unwrap();
        put(&global.join("pg_control"), "x");
        put(&data.join(".tapster-restore"), "token=tok\n");
        std::os::unix::fs::symlink(&global, data.join("global")).unwrap();
        let unseal =
            |token: &str| run(shell, UNSEAL, &[token.as_ref(), data.as_os_str()], &[]).status.success();
        assert!(!unseal("tok") && global.join("pg_control").exists(), "{shell}");
        std::fs::remove_file(data.join("global")).unwrap();
        std::fs::create_dir(data.join("global")).unwrap();
        put(&data.join("global/pg_control"), "x");
        put(&data.join("postmaster.pid"), &format!("{}\n", std::process::id()));
        assert!(!unseal("tok"), "{shell}");
        put(&data.join("postmaster.pid"), "");
        assert!(!unseal("to") && data.join("global/pg_control").exists(), "{shell}");
        assert!(unseal("tok") && !data.join("global/pg_control").exists(), "{shell}");
    }
}

#[test]
fn what_is_mounted_below_is_found() {
    for shell in shells() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (data, table) = (root.join("da ta"), root.join("mountinfo"));
        std::fs::create_dir_all(data.join("space")).unwrap();
        let mut text = String::new();
        for below in ["", "/pg_wal", "/space", "/base/its\\040own", "/log/x", "x"] {
            let path = format!("{}/da\\040ta{below}", root.display());
            text.push_str(&format!("36 35 98:0 / {path} rw,noatime - ext4 /dev/x rw\n"));
        }
        put(&table, &text);
        let mounts = |table: &Path| {
            let space = data.join("space");
            let words = [table.as_os_str(), data.as_os_str(), space.as_os_str(), "/no/where".as_ref()];
            String::from_utf8(run(shell, MOUNTS, &words, &[]).stdout).unwrap()
        };
        assert_eq!(mounts(&table), format!("{}/base/its own\n", data.display()), "{shell}");
        assert_eq!(mounts(Path::new("/no/table")), "", "{shell}");
    }
}

#[test]
fn tablespaces_are_linked() {
    for shell in shells() {
        let dir = tempfile::tempdir().unwrap();
        let (data, space) = (dir.path().join("da ta"), dir.path().join("spa'ce/x"));
        let make = |how: &str| {
            let words = [how, "tok", "main", "ID"].map(OsStr::new);
            let made = run(shell, MAKE, &[&words[..], &[data.as_os_str(), space.as_os_str()]].concat(), &[]);
            made.status.success()
        };
        assert!(make("new") && make("over") && !make("new"), "{shell}");
        for _ in 0..2 {
            let words = [data.as_os_str(), "750".as_ref(), "16385".as_ref(), space.as_os_str()];
            assert!(run(shell, LINK, &words, &[]).status.success(), "{shell}");
            assert_eq!(std::fs::read_link(data.join("pg_tblspc/16385")).unwrap(), space);
        }
    }
}

const TOKENS: [&str; 3] = [
    "12-0123456789abcdef0123456789abcdef",
    "13-0123456789abcdef0123456789abcdef",
    "14-0123456789abcdef0123456789abcdef",
];

/// As the restore with this token runs its scripts.
fn as_restore(shell: &str, token: &str, data: &Path, script: &str) -> Command {
    let mut command = Command::new(shell);
    if shell.ends_with("busybox") {
        command.arg("sh");
    }
    command.env("TAPSTER_RESTORE", token).env("TAPSTER_RESTORE_IN", data).arg("-c").arg(script).arg("sh");
    command
}

/// A process that was forked shows what it will be only when it runs that.
fn wait_until(is_so: impl Fn() -> bool) {
    let comes = (0..2000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        is_so()
    });
    assert!(comes);
}

#[test]
fn nobody_takes_over_from_a_restore_of_which_a_process_is_left() {
    for shell in shells() {
        let dir = tempfile::tempdir().unwrap();
        let (data, space) = (dir.path().join("da ta"), dir.path().join("sp ace"));
        let make = |how: &str, token: &str| {
            let mut command = as_restore(shell, token, &data, &MAKE.replace("wait=2", "wait=0"));
            let output = command.args([how, token, "main", "ID"]).args([&data, &space]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let [first, second, third] = TOKENS;
        assert_eq!(make("new", first), "made\n", "{shell}");
        let guarded = |token: &str| as_restore(shell, token, &data, GUARD).output().unwrap().status.success();
        assert!(guarded(first) && !guarded(second), "{shell}");
        let stay = |token: &str| {
            let mut command = as_restore(shell, token, &data, &format!("{GUARD} && {STAY}"));
            command.stdin(Stdio::piped()).spawn().unwrap()
        };
        let mut stays = stay(first);
        let pid = stays.id();
        let busy = format!("busy {pid}\n");
        let number = "16385".as_ref();
        let look = || {
            let script = OVER.replace("wait=2", "wait=0");
            let said = run(shell, &script, &[data.as_os_str(), number, space.as_os_str()], &[]);
            String::from_utf8(said.stdout).unwrap()
        };
        let begun = || String::from_utf8(run(shell, BEGUN, &[data.as_os_str()], &[]).stdout).unwrap();
        wait_until(|| begun() == busy);
        assert_eq!((make("over", second), look()), (busy.clone(), busy), "{shell}");
        let mark = std::fs::read_to_string(data.join(".tapster-restore")).unwrap();
        assert!(mark.ends_with(&format!("token={first}\n")) && guarded(first), "{shell}: {mark}");
        drop(stays.stdin.take());
        stays.wait().unwrap();
        assert_eq!(begun(), format!("unfinished\n{mark}"), "{shell}");
        assert_eq!(look(), "cluster\n", "{shell}");
        // One that was there before, and of which only a tablespace has the mark, put aside by one that was killed then.
        let mut stays = stay(first);
        let busy = format!("busy {}\n", stays.id());
        wait_until(|| begun() == busy);
        let aside = space.join(format!(".tapster-restore.{second}"));
        tapster_copy::publish::rename(&space.join(".tapster-restore"), &aside).unwrap();
        std::fs::remove_file(data.join(".tapster-restore")).unwrap();
        assert_eq!(make("over", third), busy, "{shell}");
        stays.kill().unwrap();
        stays.wait().unwrap();
        assert_eq!(make("over", third), "made\n", "{shell}");
        assert!(guarded(third) && !guarded(first), "{shell}");
        assert_eq!(
            (names(&data), names(&space)),
            (vec![".tapster-restore".into()], vec![".tapster-restore".into()])
        );
        // A host on which it cannot see itself says nothing about others either.
        let words = ["over", first, "main", "ID"].map(OsStr::new);
        let blind = run(shell, MAKE, &[&words[..], &[data.as_os_str()]].concat(), &[]);
        assert!(!blind.status.success() && guarded(third), "{shell}: {blind:?}");
    }
}

#[test]
fn what_a_directory_holds_is_listed() {
    for shell in shells() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("da'ta");
        let list = || run(shell, NAMES, &[data.as_os_str()], &[]);
        assert_eq!(list().stdout, b"end\0", "{shell}");
        std::fs::create_dir_all(data.join("base/1")).unwrap();
        std::fs::create_dir_all(data.join("log")).unwrap();
        std::fs::create_dir_all(data.join("global")).unwrap();
        put(&data.join("base/1/12 59\n%s"), "x");
        put(&data.join("global/pg_control"), &"c".repeat(8192));
        put(&data.join("log/big"), &"x".repeat(1 << 20));
        std::os::unix::fs::symlink("/no/where", data.join("pg_wal")).unwrap();
        let listed = list();
        assert!(listed.status.success(), "{shell}: {listed:?}");
        let mut found: Vec<_> = listed.stdout.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        assert_eq!(found[found.len() - 2..], ["end", ""], "{shell}");
        let first = found.iter().position(|name| name.starts_with('f')).unwrap();
        assert!(found[..first].iter().all(|name| name.starts_with('d')), "{shell}: {found:?}");
        found.sort();
        let expected = [
            "",
            "d.",
            "d./base",
            "d./base/1",
            "d./global",
            "d./log",
            "end",
            "f./base/1/12 59\n%s",
            "f./global/pg_control",
            "f./log/big",
            "o./pg_wal",
        ];
        assert_eq!(found, expected, "{shell}");
        let sizes = String::from_utf8(run(shell, SIZES, &[data.as_os_str()], &[]).stdout).unwrap();
        let sizes: Vec<u64> = sizes.lines().map(|line| line.parse().unwrap()).collect();
        assert!(
            sizes.len() == 2 && sizes[1] >= 1024 && sizes[0] > sizes[1] && sizes[0] < 2048,
            "{shell}: {sizes:?}"
        );
        assert_eq!(run(shell, LINKS, &[data.as_os_str()], &[]).stdout, b"pg_wal\n/no/where\n", "{shell}");
        assert_eq!(run(shell, CONTROL, &[data.as_os_str()], &[]).stdout.len(), 8192, "{shell}");
        assert_eq!(run(shell, CONTROL, &[data.join("base").as_os_str()], &[]).stdout, b"", "{shell}");
    }
}
