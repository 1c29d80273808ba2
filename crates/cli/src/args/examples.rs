//! Examples, for `--help` and the manual pages. A test reads each as the program would.

/// What is shown of one command.
struct Examples {
    /// As in the table of commands.
    command: &'static str,
    /// What it is for, and the arguments after the command's name.
    lines: &'static [(&'static str, &'static str)],
}

/// Examples of a command: what each is for, and the words after the command's name.
pub(crate) fn examples(command: &str) -> &'static [(&'static str, &'static str)] {
    EXAMPLES.iter().find(|examples| examples.command == command).map_or(&[], |examples| examples.lines)
}

/// Their part of a help text, empty where there are none. `name` is what the command is called by.
pub(super) fn help(command: &str, name: &str) -> String {
    let lines = examples(command).iter().map(|(why, words)| {
        let words = if words.is_empty() { String::new() } else { format!(" {words}") };
        format!("\n  # {why}\n  {name}{words}")
    });
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\n\nexamples:{lines}") }
}

/// Sorted by command.
const EXAMPLES: &[Examples] = &[
    Examples {
        command: "backup",
        lines: &[
            ("a backup that can be restored when the command returns", "--wait main"),
            (
                "of PostgreSQL 17 or later, only what changed since the last backup",
                "--incremental latest main",
            ),
            ("of all servers, but not faster than 50 MB/s", "--bwlimit 50000 all"),
        ],
    },
    Examples {
        command: "basebackup",
        lines: &[
            ("a standby that starts at once", "-h db1 -U replicator -D /srv/standby -R -X stream -c fast -P"),
            ("tar archives, compressed by the server", "-h db1 -D /srv/backup -F t -Z server-zstd:3"),
        ],
    },
    Examples {
        command: "check",
        lines: &[
            ("everything, in one line for the monitoring", "--nagios all"),
            ("one server, giving up after ten seconds", "--check-timeout 10 main"),
        ],
    },
    Examples {
        command: "check-backup",
        lines: &[("has all WAL of the newest backup arrived?", "main latest")],
    },
    Examples {
        command: "combinebackup",
        lines: &[(
            "a full backup and two incrementals become one directory",
            "-o /srv/combined /srv/full /srv/incremental1 /srv/incremental2",
        )],
    },
    Examples {
        command: "completions",
        lines: &[
            ("for all users (as root)", "bash > /usr/share/bash-completion/completions/tapster"),
            (
                "for the link named barman",
                "--program barman zsh > /usr/local/share/zsh/site-functions/_barman",
            ),
        ],
    },
    Examples {
        command: "config-switch",
        lines: &[
            ("the server fails over: use the settings of its model", "main main:replica"),
            ("and back", "--reset main"),
        ],
    },
    Examples {
        command: "config-update",
        lines: &[(
            "compress WAL with zstd from now on",
            r#"'[{"scope": "server", "server_name": "main", "compression": "zstd"}]'"#,
        )],
    },
    Examples {
        command: "delete",
        lines: &[
            ("what would be deleted, and what would be kept for other backups?", "--dry-run main oldest"),
            ("the oldest backup and the WAL that no other one needs", "main oldest"),
        ],
    },
    Examples {
        command: "export-backup",
        lines: &[("one file that can be imported anywhere", "--compression gzip main latest /mnt/offsite")],
    },
    Examples {
        command: "get-wal",
        lines: &[
            ("into a file of the same name", "--output-directory /tmp main 000000010000000000000042"),
            ("the names of the next ten files", "--peek 10 main 000000010000000000000042"),
        ],
    },
    Examples {
        command: "import-backup",
        lines: &[("what export-backup wrote on another host", "main /mnt/offsite/main.tar.gz")],
    },
    Examples {
        command: "keep",
        lines: &[
            ("for ever, as it was when it was taken", "--target standalone main 20261121T030000"),
            ("let the retention policy decide again", "--release main 20261121T030000"),
        ],
    },
    Examples {
        command: "list-files",
        lines: &[("all WAL files a restore of the newest backup may want", "--target wal main latest")],
    },
    Examples {
        command: "man",
        lines: &[
            ("read it here and now", "restore | man -l -"),
            ("on the settings", "tapster.conf | man -l -"),
        ],
    },
    Examples {
        command: "metrics",
        lines: &[("of all servers, in Prometheus' text format", ""), ("of one", "main")],
    },
    Examples {
        command: "receive-wal",
        lines: &[
            ("create the slot named slot_name, unless it is there", "--create-slot --if-not-exists main"),
            ("stream until stopped; 'cron' and 'run' start this themselves", "main"),
            ("the slot was lost: begin again where the server is now", "--reset main"),
        ],
    },
    Examples {
        command: "receivewal",
        lines: &[("into a directory, compressed, with a slot", "-h db1 -D /srv/wal -S archive -Z gzip:6")],
    },
    Examples {
        command: "report",
        lines: &[
            ("all servers on one page, for a web server or a mail", "--html /var/www/html/backups.html"),
            ("one server in a few lines, without asking PostgreSQL", "--no-check main"),
        ],
    },
    Examples {
        command: "restore",
        lines: &[
            ("can it be done, and what would be? Nothing is written", "--dry-run main latest /srv/restored"),
            ("the newest backup, with all WAL there is", "main latest /srv/restored"),
            (
                "as it was just before noon, and open for writing then",
                "--target-time '2026-11-21 12:00:00+01' --target-action promote main auto /srv/restored",
            ),
            (
                "on the database host, as a standby that fetches its WAL from here",
                "--remote-ssh-command 'ssh postgres@db2' --get-wal --standby-mode main latest /var/lib/postgresql/data",
            ),
        ],
    },
    Examples {
        command: "run",
        lines: &[(
            "with metrics for Prometheus, and a check every hour",
            "--check-interval 3600 --metrics-listen 127.0.0.1:9714",
        )],
    },
    Examples {
        command: "show-backup",
        lines: &[
            ("the newest one", "main latest"),
            ("the newest one that is not incremental", "main latest-full"),
        ],
    },
    Examples {
        command: "switch-wal",
        lines: &[("prove that WAL arrives here", "--force --archive --archive-timeout 60 main")],
    },
    Examples {
        command: "verify-backup",
        lines: &[("every file of the newest backup, by its checksum", "main latest")],
    },
    Examples {
        command: "verify-restore",
        lines: &[
            ("the newest backup, started, replayed and asked", "main latest"),
            ("and every table and index of it read", "--amcheck main latest"),
        ],
    },
    Examples { command: "verifybackup", lines: &[("a directory that pg_basebackup made", "/srv/backup")] },
    Examples {
        command: "wal blocks",
        lines: &[("what changed between two positions", "--start 0/3000028 --end 0/9A41F10 main")],
    },
    Examples {
        command: "wal errors",
        lines: &[
            ("what was refused, and why", "main"),
            ("throw away what the archive has with the same content", "--discard main"),
        ],
    },
    Examples {
        command: "wal find",
        lines: &[
            (
                "who dropped the table? Relations go by tablespace/database/file",
                "--dropped 1663/16384/24577 main",
            ),
            ("the commits around a time", "--time '2026-11-21 12:00:00+01' --around 5 main"),
        ],
    },
    Examples {
        command: "wal inspect",
        lines: &[
            ("what one transaction did", "--server main --xid 7421 000000010000000000000042"),
            (
                "what fills the log",
                "--stats=record --path /var/lib/postgresql/15/main/pg_wal 000000010000000000000042",
            ),
        ],
    },
    Examples {
        command: "wal verify",
        lines: &[("everything from the oldest backup on", "main"), ("from the newest one on", "main latest")],
    },
    Examples {
        command: "wal-archive",
        lines: &[("in postgresql.conf, as archive_command = '…'", "--io-timeout 60 backup1 main %p")],
    },
    Examples {
        command: "wal-restore",
        lines: &[(
            "in postgresql.conf, as restore_command = '…'; four files at a time",
            "--parallel 4 --fail-hard backup1 main %f %p",
        )],
    },
];

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::{Outcome, parse};
    use super::*;
    use crate::invocation::Program;

    #[test]
    fn every_example_is_a_command_line_that_is_understood() {
        assert!(EXAMPLES.is_sorted_by_key(|examples| examples.command));
        for Examples { command, lines } in EXAMPLES {
            for (_, line) in *lines {
                // What the shell makes of it.
                let words = line.split(['|', '>']).next().unwrap();
                let line: Vec<OsString> = shlex::split(&format!("{command} {words}"))
                    .unwrap()
                    .into_iter()
                    .map(OsString::from)
                    .collect();
                assert!(matches!(parse(Program::Tapster, &line), Ok(Outcome::Run(..))), "{command} {words}");
            }
        }
    }

    #[test]
    fn examples_of_the_clients_are_theirs() {
        for (program, command) in
            [(Program::BarmanWalArchive, "wal-archive"), (Program::BarmanWalRestore, "wal-restore")]
        {
            for (_, line) in examples(command) {
                let line: Vec<OsString> =
                    shlex::split(line).unwrap().into_iter().map(OsString::from).collect();
                assert!(matches!(parse(program, &line), Ok(Outcome::Run(..))), "{command} {line:?}");
            }
        }
    }
}
