//! What is run on the other host: POSIX shell, one line each, with everything that varies as an argument.

/// Bytes that the configuration files may have together.
pub(super) const MOST_READ: usize = 32 * 1024 * 1024;

/// `up`: whether a server runs in the working directory, as its `postmaster.pid` says.
macro_rules! up {
    () => {
        "up() { p=; [ -f postmaster.pid ] && read -r p _ < postmaster.pid; p=${p#-}; \
         case \"$p\" in ''|*[!0-9]*) return 1;; esac; kill -0 \"$p\" 2>/dev/null || [ -d \"/proc/$p\" ]; }; "
    };
}

/// `own`: ends the script unless each of the directories bears the mark of the restore `$token`. A script goes on when the
/// connection is cut, and by then another restore may have begun there.
macro_rules! own {
    () => {
        "own() { for o in \"$@\"; do grep -qxF \"token=$token\" \"$o/.tapster-restore\" 2>/dev/null || { \
         echo \"another restore has begun in $o, or its mark cannot be read\" >&2; exit 1; }; done; }; "
    };
}

/// `store`: brings the file systems of the files named to disk.
macro_rules! store {
    () => {
        "store() { case \"$(sync --help 2>&1)\" in *-f*) sync -f \"$@\" ;; *) sync ;; esac; }; "
    };
}

/// Where a command begins, which is what a relative path is meant from; then which of the programs are there.
pub(super) const WELCOME: &str =
    "pwd && for p in \"$@\"; do if command -v \"$p\" >/dev/null 2>&1; then echo \"$p\"; fi; done";

/// For each path: what it is, whether something can be made there, and what `df` says; then the part of it that exists, and that
/// without links.
pub(super) const LOOK: &str = "for p in \"$@\"; do \
     if [ -d \"$p\" ]; then \
     if n=$(ls -A \"$p\" | head -n 1); [ -z \"$n\" ] && [ -r \"$p\" ]; then s=empty; else s=full; fi; \
     elif [ -e \"$p\" ] || [ -L \"$p\" ]; then s=other; else s=absent; fi; \
     a=$p; while ! [ -d \"$a\" ]; do a=$(dirname \"$a\"); done; \
     if [ -w \"$a\" ] && [ -x \"$a\" ]; then w=yes; else w=no; fi; \
     echo \"$s $w $(df -Pk \"$a\" 2>/dev/null | tail -n 1)\"; \
     echo \"$a\"; (cd -P \"$a\" 2>/dev/null && pwd -P || echo \"$a\"); done";

/// `$1`: a data directory to be restored over, then number and place of each tablespace: what it is, and which tablespaces are
/// perhaps not its own: neither its links lead there, nor has a restore to it left its mark. After the number comes what is in
/// a tablespace of its own that no server has put there.
pub(super) const OVER: &str = concat!(
    up!(),
    "r=$1; shift; if cd \"$r\" 2>/dev/null; then \
     if up; then echo running; \
     elif [ -z \"$(ls -A . | head -n 1)\" ]; then echo nothing; \
     elif [ -f .tapster-restore ] || [ -f .barman-recover.info ] || { [ -f PG_VERSION ] && [ -d base ]; }; then echo cluster; \
     else echo other; fi; else cd / && echo nothing; fi; \
     while [ $# -gt 1 ]; do if [ -n \"$(ls -A \"$2\" 2>/dev/null | head -n 1)\" ]; then \
     if ! grep -qxF \"destination=$r\" \"$2/.tapster-restore\" 2>/dev/null && \
     [ \"$(readlink \"pg_tblspc/$1\")\" != \"$2\" ]; then echo \"$1\"; \
     else for f in \"$2\"/* \"$2\"/.[!.]* \"$2\"/..?*; do if [ -e \"$f\" ] || [ -L \"$f\" ]; then \
     case \"${f##*/}\" in PG_*|.tapster-restore|lost+found) ;; \
     *) printf '%s ' \"$1\"; printf %s \"${f##*/}\" | tr -cd '[:print:]'; echo; break;; esac; fi; done; fi; \
     fi; shift 2; done"
);

/// `$1`: the table of mounts as Linux has it in `/proc/self/mountinfo`; then directories that are restored over, the data
/// directory first. The file systems that are mounted below them where something would be deleted.
pub(super) const MOUNTS: &str = "t=$1; shift; \
     points() { if [ -r \"$t\" ]; then while read -r _ _ _ _ m _; do printf '%b\\n' \"$m\"; done < \"$t\"; \
     else find \"$1\" -xdev -type d -exec df -P {} + 2>/dev/null | sed -n 's/^.*[0-9]% *//p' | sort -u; fi; }; \
     for d in \"$@\"; do r=$(cd -P \"$d\" 2>/dev/null && pwd -P) || continue; \
     points \"$r\" | while read -r m; do case \"$m\" in \
     \"$r/pg_wal\"|\"$r/pg_wal/not-archived\"|\"$r/log\"|\"$r/log/\"*|\"$r/pg_log\"|\"$r/pg_log/\"*) ;; \
     \"$r\"/*) for o in \"$@\"; do if [ \"$(cd -P \"$o\" 2>/dev/null && pwd -P)\" = \"$m\" ]; then continue 2; fi; done; \
     printf '%s\\n' \"$m\";; esac; done; done";

/// Makes directories for the server alone, the data directory first, and marks them as what the restore `$2` has begun. With
/// `new` as `$1` none of them may be marked yet, whoever comes at the same time; else it is `over`.
pub(super) const MAKE: &str = concat!(
    up!(),
    "umask 077; how=$1; token=$2; shift 2; r=$1; \
     if [ $how = over ] && (cd \"$r\" 2>/dev/null && up); then echo \"a server runs in $r\" >&2; exit 1; fi; \
     for d in \"$@\"; do mkdir -p \"$d\" && chmod 700 \"$d\" || exit 1; \
     m=$d/.tapster-restore; if [ $how = over ]; then rm -f \"$m\"; fi; \
     if ! (set -C; printf 'destination=%s\\ntoken=%s\\n' \"$r\" \"$token\" > \"$m\") 2>/dev/null; then \
     echo \"cannot write $m: perhaps another restore has begun\" >&2; exit 1; fi; done"
);

/// `$1`: a restore; then its directories, which must still be its own.
pub(super) const HOLD: &str = concat!(own!(), "token=$1; shift; own \"$@\"");

/// The same without a mark.
pub(super) const MAKE_PLAIN: &str =
    "umask 077; for d in \"$@\"; do mkdir -p \"$d\" && chmod 700 \"$d\" || exit 1; done";

/// `$1`: the restore, `$2`: the data directory that is restored over, then its tablespaces: nothing in it can be started from now
/// on, even when the host crashes.
pub(super) const UNSEAL: &str = concat!(
    up!(),
    own!(),
    store!(),
    "token=$1; shift; cd \"$1\" || exit 1; own \"$@\"; \
     if up; then echo \"a server runs in $1\" >&2; exit 1; fi; \
     if [ -L global ]; then echo \"$1/global is a symbolic link, which is not followed\" >&2; exit 1; fi; \
     rm -f global/pg_control recovery.signal standby.signal recovery.conf && store . && rm -rf barman_wal"
);

/// `$1`: a data directory. What in its `pg_wal`, unless that is a link, may be WAL that is nowhere else, segments with the header
/// of their first page; then `end`.
pub(super) const SEGMENTS: &str = "cd \"$1\" || exit 1; if [ -d pg_wal ] && ! [ -L pg_wal ]; then cd pg_wal || exit 1; \
     for f in ????????????????????????; do if [ -f \"$f\" ]; then \
     h=$(od -An -v -tx1 -N 40 \"$f\") || exit 1; echo \"$f\" $h; fi; done; \
     for f in ????????.history ????????????????????????.partial; do if [ -f \"$f\" ]; then echo \"$f\"; fi; done; fi; \
     echo end";

/// `$1`: a data directory; then names in its `pg_wal`. The checksum and size of each.
pub(super) const CKSUM: &str =
    "cd \"$1/pg_wal\" || exit 1; shift; for f in \"$@\"; do cksum < \"$f\" || exit 1; done";

/// `$1`: a data directory; then names of segments. They are put aside, and those put aside before stay.
pub(super) const ASIDE: &str = "umask 077; cd \"$1/pg_wal\" && mkdir -p not-archived || exit 1; shift; for f in \"$@\"; do \
     t=not-archived/$f; n=0; while [ -e \"$t\" ]; do n=$((n + 1)); t=not-archived/$f.$n; done; \
     mv \"$f\" \"$t\" || exit 1; done";

/// `$1`: the restore, `$2`: how the directories of its major version in tablespaces begin; then the data directory and the
/// tablespaces. Empties the data directory but for the mark, the logs of the server, and WAL that was put aside, and removes
/// from tablespaces what is of that version.
pub(super) const EMPTY: &str = concat!(
    own!(),
    "token=$1; v=$2; shift 2; r=$1; for d in \"$@\"; do cd \"$d\" || exit 1; for f in * .[!.]* ..?*; do \
     if [ \"$d\" != \"$r\" ]; then case \"$f\" in \"$v\"*) own \"$@\"; rm -rf \"./$f\" || exit 1;; esac; continue; fi; \
     for t in \"$@\"; do case \"$t\" in \"$r/$f\"|\"$r/$f\"/*) continue 2;; esac; done; \
     case \"$f\" in .tapster-restore|lost+found|log|pg_log) ;; \
     pg_wal) if [ -L pg_wal ]; then own \"$@\"; rm -f pg_wal; \
     else for g in pg_wal/* pg_wal/.[!.]* pg_wal/..?*; do case \"$g\" in pg_wal/not-archived|pg_wal/lost+found) ;; \
     *) own \"$@\"; rm -rf \"./$g\" || exit 1;; esac; done; fi;; \
     *) own \"$@\"; rm -rf \"./$f\" || exit 1;; esac; done; done"
);

/// `$1`: the data directory, `$2`: its mode; then number and place of each tablespace.
pub(super) const LINK: &str = "cd \"$1\" && chmod \"$2\" . || exit 1; mode=$2; shift 2; \
     while [ $# -gt 1 ]; do mkdir -p pg_tblspc && chmod \"$mode\" \"$2\" && rm -f \"pg_tblspc/$1\" && \
     ln -s \"$2\" \"pg_tblspc/$1\" || exit 1; shift 2; done";

/// `$1`: the data directory; then names in it. For each its size and content, or a dash.
pub(super) const READ: &str = "cd \"$1\" || exit 1; shift; for f in \"$@\"; do \
     if [ -f \"$f\" ]; then wc -c < \"$f\" && cat \"$f\" && echo || exit 1; else echo -; fi; done";

/// `$1`: the data directory; then names in it. Those that are not there.
pub(super) const MISSING: &str =
    "cd \"$1\" || exit 1; shift; for f in \"$@\"; do if ! [ -e \"$f\" ]; then echo \"$f\"; fi; done";

/// `$1`: the data directory, `$2`: the backup, `$3` and `$4`: size and mode of the control file, which is on standard input,
/// `$5`: the restore, `$6`: where its WAL is, if elsewhere; then the data directory and the tablespaces. Their file systems are
/// brought to disk. A connection that breaks must not leave half a control file.
pub(super) const SEAL: &str = concat!(
    own!(),
    store!(),
    "cd \"$1\" || exit 1; id=$2; size=$3; mode=$4; token=$5; wal=$6; shift 6; own \"$@\"; \
     if [ -f backup_manifest ]; then mv -f backup_manifest \"backup_manifest.$id\" || exit 1; fi; \
     umask 077; new=global/.pg_control.$token; \
     cat > \"$new\" && [ \"$(wc -c < \"$new\")\" -eq \"$size\" ] && \
     chmod \"$mode\" \"$new\" && store \"$@\" ${wal:+\"$wal\"} && (own \"$@\") || { rm -f \"$new\"; exit 1; }; \
     mv -f \"$new\" global/pg_control && \
     { store \"$@\" || { rm -f global/pg_control; false; }; } && \
     for d in \"$@\"; do rm -f \"$d/.tapster-restore\"; done && echo sealed"
);

/// What [`READ`] says about so many files.
pub(super) fn parse_files(mut said: &[u8], count: usize) -> Option<Vec<Option<Vec<u8>>>> {
    let mut files = Vec::with_capacity(count);
    for _ in 0..count {
        let end = said.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = (said.get(..end)?, said.get(end + 1..)?);
        if line == b"-" {
            files.push(None);
            said = rest;
            continue;
        }
        let size: usize = std::str::from_utf8(line).ok()?.trim().parse().ok()?;
        let (content, rest) = rest.split_at_checked(size)?;
        files.push(Some(content.to_vec()));
        said = rest.strip_prefix(b"\n")?;
    }
    said.is_empty().then_some(files)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::io::Write;
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    use super::*;

    fn shells() -> Vec<&'static str> {
        ["/bin/dash", "/bin/bash", "/bin/busybox"]
            .into_iter()
            .filter(|path| Path::new(path).exists())
            .collect()
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
            let words = ["over", "tok"].map(OsStr::new);
            let late = run(shell, MAKE, &[&words[..], &[data.as_os_str()]].concat(), &[]);
            assert!(!late.status.success() && !data.join(".tapster-restore").exists(), "{shell}: {late:?}");
            // A restore to another place that broke off is not this one's.
            std::fs::remove_dir_all(&data).unwrap();
            let make = |data: &Path| {
                run(shell, MAKE, &["over".as_ref(), "tok".as_ref(), data.as_os_str(), space.as_os_str()], &[])
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
            assert!(
                !empty().status.success() && data.join("base/1").exists() && space.join("PG_15_1").exists()
            );
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
                let made = run(
                    shell,
                    MAKE,
                    &[how.as_ref(), "tok".as_ref(), data.as_os_str(), space.as_os_str()],
                    &[],
                );
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
}
