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

/// `marks`: the restores whose marks are in the directories, those too that a restore which took over has put aside. `busy`: waits
/// `$wait` seconds for the end of all processes of the restores in `$old`, which have them in their environment; says whether
/// there is still one, which is `$p`.
macro_rules! busy {
    () => {
        "marks() { for d in \"$@\"; do for m in \"$d/.tapster-restore\" \"$d\"/.tapster-restore.*; do \
         if [ -f \"$m\" ]; then sed -n 's/^token=\\([0-9a-f-]\\{16,\\}\\)$/\\1/p' \"$m\"; fi; done; done | sort -u; }; \
         whose() { if [ -r /proc/self/environ ]; then \
         grep -lsF \"TAPSTER_RESTORE=$1\" /proc/[0-9]*/environ | sed -n 's,^/proc/\\([0-9]*\\)/.*$,\\1,p'; \
         else ps axeww 2>/dev/null | grep -F \"TAPSTER_RESTORE=$1\" | grep -vF 'grep -F' | sed -n 's/^ *\\([0-9]*\\) .*$/\\1/p'; \
         fi; }; \
         busy() { n=0; while p=$(for t in $old; do whose \"$t\"; done | head -n 1); [ -n \"$p\" ]; do \
         [ $n -lt \"$wait\" ] || return 0; n=$((n + 1)); sleep 1; done; return 1; }; "
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

/// For each path: what it is (`bare` when nothing but `lost+found` is in it), whether something can be made there, and what `df` says; then the part of it that exists, and that
/// without links.
pub(super) const LOOK: &str = "for p in \"$@\"; do \
     if [ -d \"$p\" ]; then \
     if n=$(ls -A \"$p\" | head -n 2); [ -z \"$n\" ] && [ -r \"$p\" ]; then s=empty; \
     elif [ \"$n\" = lost+found ]; then s=bare; else s=full; fi; \
     elif [ -e \"$p\" ] || [ -L \"$p\" ]; then s=other; else s=absent; fi; \
     a=$p; while ! [ -d \"$a\" ]; do a=$(dirname \"$a\"); done; \
     if [ -w \"$a\" ] && [ -x \"$a\" ]; then w=yes; else w=no; fi; \
     echo \"$s $w $(df -Pk \"$a\" 2>/dev/null | tail -n 1)\"; \
     echo \"$a\"; (cd -P \"$a\" 2>/dev/null && pwd -P || echo \"$a\"); done";

/// `$1`: a data directory to be restored over, then number and place of each tablespace: what it is, and which tablespaces are
/// perhaps not its own: neither its links lead there, nor has a restore to it left its mark. After the number comes what is in
/// a tablespace of its own that no server has put there. A restore of which a process is still there comes before all else.
pub(super) const OVER: &str = concat!(
    up!(),
    busy!(),
    "wait=2; old=$(marks \"$1\"; while [ $# -gt 2 ]; do marks \"$3\"; shift 2; done); \
     if busy; then echo \"busy $p\"; exit; fi; \
     r=$1; shift; if cd \"$r\" 2>/dev/null; then \
     if up; then echo running; \
     elif [ -z \"$(ls -A . | head -n 1)\" ]; then echo nothing; \
     elif [ -f .tapster-restore ] || [ -f .barman-recover.info ] || { [ -f PG_VERSION ] && [ -d base ]; }; then echo cluster; \
     else echo other; fi; else cd / && echo nothing; fi; \
     while [ $# -gt 1 ]; do if [ -n \"$(ls -A \"$2\" 2>/dev/null | head -n 1)\" ]; then \
     if ! grep -qxF \"destination=$r\" \"$2/.tapster-restore\" 2>/dev/null && \
     [ \"$(readlink \"pg_tblspc/$1\")\" != \"$2\" ]; then echo \"$1\"; \
     else for f in \"$2\"/* \"$2\"/.[!.]* \"$2\"/..?*; do if [ -e \"$f\" ] || [ -L \"$f\" ]; then \
     case \"${f##*/}\" in PG_*|.tapster-restore*|lost+found) ;; \
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

/// Makes directories for the server alone, the data directory first, and marks them as what the restore `$2` of the server `$3`
/// and the backup `$4` has begun; then says `made`. With `new` as `$1` none of them may be marked yet, whoever comes at the same
/// time; else it is `over`, and says `busy` and does nothing while there is a process of the restore that was there before. A
/// process that begins now finds the new mark, and does nothing either; one that has looked at the mark just before is seen
/// by the second look.
pub(super) const MAKE: &str = concat!(
    up!(),
    busy!(),
    "umask 077; wait=2; how=$1; token=$2; server=$3; backup=$4; shift 4; r=$1; old=; \
     if [ $how = over ]; then \
     if (cd \"$r\" 2>/dev/null && up); then echo \"a server runs in $r\" >&2; exit 1; fi; \
     old=$(marks \"$@\"); if [ -n \"$old\" ] && [ -z \"$(whose \"$token\")\" ]; then \
     echo \"this host does not say which processes run, and one of the restore before may: look, and remove $r/.tapster-restore\" >&2; \
     exit 1; fi; \
     if busy; then echo \"busy $p\"; exit; fi; fi; \
     for d in \"$@\"; do mkdir -p \"$d\" && chmod 700 \"$d\" || exit 1; \
     m=$d/.tapster-restore; if [ $how = over ] && [ -f \"$m\" ]; then mv -f \"$m\" \"$m.$token\"; fi; \
     if ! (set -C; printf 'server=%s\\nbackup=%s\\ndestination=%s\\ntoken=%s\\n' \"$server\" \"$backup\" \"$r\" \"$token\" > \"$m\") \
     2>/dev/null; then echo \"cannot write $m: perhaps another restore has begun\" >&2; exit 1; fi; done; \
     if [ $how = over ]; then old=$(marks \"$@\" | grep -vxF \"$token\"); \
     if busy; then echo \"busy $p\"; exit; fi; \
     for d in \"$@\"; do rm -f \"$d\"/.tapster-restore.*; done; fi; echo made"
);

/// What every process of a restore looks at before it writes: `TAPSTER_RESTORE` is the restore, and the mark of its data
/// directory `TAPSTER_RESTORE_IN` says whether it still goes on.
pub(super) const GUARD: &str = "if ! grep -qxF \"token=$TAPSTER_RESTORE\" \"$TAPSTER_RESTORE_IN/.tapster-restore\" 2>/dev/null; then \
     echo \"another restore has begun in $TAPSTER_RESTORE_IN, or its mark cannot be read\" >&2; (exit 1); fi";

/// A process that is there as long as the connection, whatever the restore does meanwhile.
pub(super) const STAY: &str = "exec cat > /dev/null";

/// `$1`: a data directory that is not empty: `busy` with a process of a restore that goes on there, or `unfinished` and the mark of
/// one that broke off.
pub(super) const BEGUN: &str = concat!(
    busy!(),
    "wait=0; old=$(marks \"$1\"); if busy; then echo \"busy $p\"; exit; fi; \
     if [ -f \"$1/.tapster-restore\" ] && ! [ -e \"$1/global/pg_control\" ]; then echo unfinished; \
     dd if=\"$1/.tapster-restore\" bs=16384 count=1 2>/dev/null; fi"
);

/// `$1`: a data directory. The beginning of its control file, or nothing.
pub(super) const CONTROL: &str = "if [ -f \"$1/global/pg_control\" ] && [ -r \"$1/global/pg_control\" ]; then \
     dd if=\"$1/global/pg_control\" bs=8192 count=1 2>/dev/null; fi; exit 0";

/// `$1`: a directory. All names in it, each after a letter and ended by a zero byte: directories, then files, then all else; at
/// last `end`. One that is not there holds nothing.
pub(super) const NAMES: &str = "cd \"$1\" 2>/dev/null || { [ -d \"$1\" ] && exit 1; printf 'end\\000'; exit; }; \
     find . -type d -exec sh -c 'printf \"d%s\\000\" \"$@\"' sh {} + && \
     find . -type f -exec sh -c 'printf \"f%s\\000\" \"$@\"' sh {} + && \
     find . ! -type d ! -type f -exec sh -c 'printf \"o%s\\000\" \"$@\"' sh {} + && printf 'end\\000'";

/// `$1`: a data directory; then tablespaces elsewhere. The kilobytes in them, and then those of it that stay whatever happens.
pub(super) const SIZES: &str = "k() { n=$(du -sk \"$1\" 2>/dev/null | sed -n 's/^\\([0-9]*\\).*$/\\1/p'); echo $((${n:-0})); }; \
     r=$1; t=0; for d in \"$@\"; do t=$((t + $(k \"$d\"))); done; echo $t; \
     t=0; for d in log pg_log pg_wal/not-archived; do t=$((t + $(k \"$r/$d\"))); done; echo $t";

/// `$1`: a data directory. Those links in it that a server follows, each with where it leads, which is not touched.
pub(super) const LINKS: &str = "cd \"$1\" 2>/dev/null || exit 0; for f in pg_tblspc/* pg_wal log pg_log; do \
     if [ -L \"$f\" ]; then for t in \"$f\" \"$(readlink \"$f\")\"; do printf %s \"$t\" | tr -d '[:cntrl:]'; echo; done; fi; done";

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

/// Directories. Each as it is without links.
pub(super) const REAL: &str = "for d in \"$@\"; do (cd -P \"$d\" && pwd -P) || exit 1; done";

/// `$1`: a data directory. What in its `pg_wal`, unless that is a link, may be WAL that is nowhere else, segments with the header
/// of their first page; then `end`. Nothing is said when one cannot be read, by whatever reads it later.
pub(super) const SEGMENTS: &str = "cd \"$1\" || exit 1; if [ -d pg_wal ] && ! [ -L pg_wal ]; then cd pg_wal || exit 1; \
     r() { [ -r \"$1\" ] || { echo \"cannot read $1 in pg_wal\" >&2; exit 1; }; }; r .; \
     for f in ????????????????????????; do if [ -f \"$f\" ]; then \
     h=$(od -An -v -tx1 -N 40 \"$f\") || exit 1; echo \"$f\" $h; fi; done; \
     for f in ????????.history ????????????????????????.partial; do if [ -f \"$f\" ]; then r \"$f\"; echo \"$f\"; fi; done; fi; \
     echo end";

/// `$1`: a data directory; then names in its `pg_wal`. The checksum and size of each.
pub(super) const CKSUM: &str =
    "cd \"$1/pg_wal\" || exit 1; shift; for f in \"$@\"; do cksum < \"$f\" || exit 1; done";

/// `$1`: a data directory; then names of segments. They are put aside, and those put aside before stay.
pub(super) const ASIDE: &str = "umask 077; cd \"$1/pg_wal\" && mkdir -p not-archived || exit 1; shift; for f in \"$@\"; do \
     t=not-archived/$f; n=0; while [ -e \"$t\" ]; do n=$((n + 1)); t=not-archived/$f.$n; done; \
     mv \"$f\" \"$t\" || exit 1; done";

/// `$1`: the restore, `$2`: how the directories of its major version in tablespaces begin; then the data directory and the
/// tablespaces. Empties the data directory but for the mark, the logs of the server, WAL that was put aside, and tablespaces in it,
/// whichever way they are named, and removes from tablespaces what is of that version.
pub(super) const EMPTY: &str = concat!(
    own!(),
    "token=$1; v=$2; shift 2; r=$1; p=$(cd -P \"$r\" && pwd -P) || exit 1; for d in \"$@\"; do cd \"$d\" || exit 1; for f in * .[!.]* ..?*; do \
     if [ \"$d\" != \"$r\" ]; then case \"$f\" in \"$v\"*) own \"$@\"; rm -rf \"./$f\" || exit 1;; esac; continue; fi; \
     for t in \"$@\"; do x=$(cd -P \"$t\" && pwd -P) || exit 1; \
     for n in \"$t\" \"$x\"; do case \"$n\" in \"$r/$f\"|\"$r/$f\"/*|\"$p/$f\"|\"$p/$f\"/*) continue 3;; esac; done; done; \
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
mod tests;
