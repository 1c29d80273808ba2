//! What is run on the other host: POSIX shell, one line each, with everything that varies as an argument.

/// Bytes that the configuration files may have together.
pub(super) const MOST_READ: usize = 32 * 1024 * 1024;

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
/// perhaps not its own: neither its links lead there, nor has a restore to it left its mark.
pub(super) const OVER: &str = "r=$1; shift; if cd \"$r\" 2>/dev/null; then \
     p=$(head -n 1 postmaster.pid 2>/dev/null | tr -cd 0-9); \
     if [ -n \"$p\" ] && { kill -0 \"$p\" 2>/dev/null || [ -d \"/proc/$p\" ]; }; then echo running; \
     elif [ -z \"$(ls -A . | head -n 1)\" ]; then echo nothing; \
     elif [ -f .tapster-restore ] || [ -f .barman-recover.info ] || { [ -f PG_VERSION ] && [ -d base ]; }; then echo cluster; \
     else echo other; fi; else cd / && echo nothing; fi; \
     while [ $# -gt 1 ]; do if [ -n \"$(ls -A \"$2\" 2>/dev/null | head -n 1)\" ] && \
     ! grep -qxF \"destination=$r\" \"$2/.tapster-restore\" 2>/dev/null && \
     [ \"$(readlink \"pg_tblspc/$1\")\" != \"$2\" ]; then echo \"$1\"; fi; shift 2; done";

/// Makes directories for the server alone, the data directory first, and marks them as what a restore has begun. With `new` as
/// `$1` none of them may be marked yet, whoever comes at the same time; else it is `over`.
pub(super) const MAKE: &str = "umask 077; how=$1; r=$2; shift; for d in \"$@\"; do mkdir -p \"$d\" && chmod 700 \"$d\" || exit 1; \
     m=$d/.tapster-restore; if [ $how = over ]; then rm -f \"$m\"; fi; \
     if ! (set -C; printf 'destination=%s\\n' \"$r\" > \"$m\") 2>/dev/null; then \
     echo \"cannot write $m: perhaps another restore has begun\" >&2; exit 1; fi; done";

/// The same without a mark.
pub(super) const MAKE_PLAIN: &str =
    "umask 077; for d in \"$@\"; do mkdir -p \"$d\" && chmod 700 \"$d\" || exit 1; done";

/// `$1`: a data directory that is restored over: nothing in it can be started from now on.
pub(super) const UNSEAL: &str = "cd \"$1\" && rm -f global/pg_control recovery.signal standby.signal recovery.conf && \
     rm -rf barman_wal";

/// `$1`: a data directory. The segments in its `pg_wal`, unless that is a link, each with the header of its first page.
pub(super) const SEGMENTS: &str = "cd \"$1\" && [ -d pg_wal ] && ! [ -L pg_wal ] && cd pg_wal || exit 0; \
     for f in ????????????????????????; do if [ -f \"$f\" ]; then \
     echo \"$f $(head -c 40 \"$f\" | od -An -v -tx1 | tr -d ' \\n')\"; fi; done";

/// `$1`: a data directory; then names of segments. They are put aside, and those put aside before stay.
pub(super) const ASIDE: &str = "umask 077; cd \"$1/pg_wal\" && mkdir -p not-archived || exit 1; shift; for f in \"$@\"; do \
     t=not-archived/$f; n=0; while [ -e \"$t\" ]; do n=$((n + 1)); t=not-archived/$f.$n; done; \
     mv \"$f\" \"$t\" || exit 1; done";

/// Empties directories but for the mark, the logs of the server, and WAL that was put aside.
pub(super) const EMPTY: &str = "for d in \"$@\"; do cd \"$d\" || exit 1; for f in * .[!.]* ..?*; do \
     case \"$f\" in .tapster-restore|lost+found|log|pg_log) ;; \
     pg_wal) if [ -L pg_wal ]; then rm -f pg_wal; else for g in pg_wal/* pg_wal/.[!.]*; do case \"$g\" in pg_wal/not-archived) ;; \
     *) rm -rf \"./$g\" || exit 1;; esac; done; fi;; \
     *) rm -rf \"./$f\" || exit 1;; esac; done; done";

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

/// `$1`: the data directory, `$2`: the backup, `$3` and `$4`: size and mode of the control file, which is on standard input; then
/// the directories whose file systems are brought to disk. A connection that breaks must not leave half a control file.
pub(super) const SEAL: &str = "cd \"$1\" || exit 1; id=$2; size=$3; mode=$4; shift 4; \
     store() { case \"$(sync --help 2>&1)\" in *-f*) sync -f \"$@\" ;; *) sync ;; esac; }; \
     if [ -f backup_manifest ]; then mv -f backup_manifest \"backup_manifest.$id\" || exit 1; fi; \
     umask 077; new=global/.pg_control.new; cat > \"$new\" && [ \"$(wc -c < \"$new\")\" -eq \"$size\" ] && \
     chmod \"$mode\" \"$new\" && store \"$@\" && mv -f \"$new\" global/pg_control && \
     { store \"$@\" || { rm -f global/pg_control; false; }; } && \
     for d in \"$@\"; do rm -f \"$d/.tapster-restore\"; done && echo sealed";

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
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    #[test]
    fn the_control_file_is_whole_or_not_there() {
        for shell in shells() {
            let dir = tempfile::tempdir().unwrap();
            let data = dir.path().join("it's a\tplace");
            std::fs::create_dir_all(data.join("global")).unwrap();
            std::fs::File::create(data.join("backup_manifest")).unwrap();
            let seal = |content: &[u8]| {
                let words = [data.as_os_str(), "ID".as_ref(), "4".as_ref(), "640".as_ref(), data.as_os_str()];
                run(shell, SEAL, &words, content)
            };
            // The connection broke.
            let cut = seal(b"abc");
            assert!(!cut.status.success() && cut.stdout.is_empty(), "{shell}: {cut:?}");
            assert!(!data.join("global/pg_control").exists(), "{shell}");
            let whole = seal(b"abcd");
            assert_eq!(whole.stdout, b"sealed\n", "{shell}: {whole:?}");
            assert_eq!(std::fs::read(data.join("global/pg_control")).unwrap(), b"abcd");
            assert!(
                data.join("backup_manifest.ID").exists() && !data.join("global/.pg_control.new").exists()
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
            let mut pid = std::fs::File::create(data.join("postmaster.pid")).unwrap();
            pid.write_all(format!("{}\n/x\n", std::process::id()).as_bytes()).unwrap();
            assert_eq!(over(), "running\n", "{shell}");
            // A restore to another place that broke off is not this one's.
            std::fs::remove_dir_all(&data).unwrap();
            let make =
                |data: &Path| run(shell, MAKE, &["over".as_ref(), data.as_os_str(), space.as_os_str()], &[]);
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
            for sub in ["pg_wal/archive_status", "pg_wal/not-archived", "base/1", "log", ".hidden"] {
                std::fs::create_dir_all(data.join(sub)).unwrap();
            }
            let segment = "000000010000000000000001";
            for (name, text) in
                [("pg_wal/000000010000000000000001", "\x01\n\0"), ("pg_wal/x", ""), (".tapster-restore", "")]
            {
                std::fs::File::create(data.join(name)).unwrap().write_all(text.as_bytes()).unwrap();
            }
            let said = run(shell, SEGMENTS, &[data.as_os_str()], &[]);
            assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("{segment} 010a00\n"), "{shell}");
            std::fs::File::create(data.join("pg_wal/not-archived").join(segment)).unwrap();
            let aside = run(shell, ASIDE, &[data.as_os_str(), segment.as_ref()], &[]);
            assert!(aside.status.success(), "{shell}: {aside:?}");
            assert!(run(shell, EMPTY, &[data.as_os_str()], &[]).status.success(), "{shell}");
            let names = |dir: &str| {
                let mut names: Vec<_> = std::fs::read_dir(data.join(dir))
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect();
                names.sort();
                names
            };
            assert_eq!(names(""), [".tapster-restore", "log", "pg_wal"], "{shell}");
            assert_eq!(names("pg_wal"), ["not-archived"], "{shell}");
            assert_eq!(names("pg_wal/not-archived"), [segment.to_owned(), format!("{segment}.1")], "{shell}");
        }
    }

    #[test]
    fn tablespaces_are_linked() {
        for shell in shells() {
            let dir = tempfile::tempdir().unwrap();
            let (data, space) = (dir.path().join("da ta"), dir.path().join("spa'ce/x"));
            let make = |how: &str| {
                let made = run(shell, MAKE, &[how.as_ref(), data.as_os_str(), space.as_os_str()], &[]);
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
