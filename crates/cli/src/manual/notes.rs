//! What pages say beyond the options: exit codes, files, variables, related pages.

/// A section: its title and what it lists.
type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// The sections of a page.
pub(super) fn of(page: &str) -> &'static [Section] {
    match page {
        "tapster" => PROGRAM,
        "tapster-check" => CHECK,
        "tapster-get-wal" => GET_WAL,
        "tapster-wal-archive" => WAL_ARCHIVE,
        "tapster-wal-restore" => WAL_RESTORE,
        "tapster-run" => RUN,
        "tapster-cloud-backup" | "tapster-cloud-restore" => CLOUD_COPY,
        "tapster-cloud-check-wal-archive" => CLOUD_CHECK,
        "tapster-cloud-wal-archive" => CLOUD_WAL_ARCHIVE,
        "tapster-cloud-get-wal" => CLOUD_GET_WAL,
        "tapster-cloud-receive-wal" => CLOUD_RECEIVE,
        "tapster-cloud-wal-restore" => CLOUD_WAL_RESTORE,
        "tapster-cloud-backup-delete"
        | "tapster-cloud-backup-keep"
        | "tapster-cloud-backup-list"
        | "tapster-cloud-backup-show"
        | "tapster-cloud-list-files"
        | "tapster-cloud-verify-backup" => CLOUD,
        "tapster-basebackup" | "tapster-receivewal" | "tapster-verifybackup" | "tapster-combinebackup" => {
            TOOLS
        }
        _ => &[],
    }
}

/// The pages to read next.
pub(super) fn related(page: &str) -> &'static [&'static str] {
    match page {
        "tapster-backup" => &["tapster-list-backups(1)", "tapster-verify-backup(1)", "tapster-restore(1)"],
        "tapster-restore" => &[
            "tapster-wal-find(1)",
            "tapster-verify-restore(1)",
            "tapster-list-backups(1)",
            "tapster-get-wal(1)",
        ],
        "tapster-verify-restore" => {
            &["tapster-restore(1)", "tapster-verify-backup(1)", "tapster-wal-verify(1)"]
        }
        "tapster-verify-backup" => {
            &["tapster-verify-restore(1)", "tapster-wal-verify(1)", "tapster-generate-manifest(1)"]
        }
        "tapster-delete" => &["tapster-keep(1)", "tapster-list-backups(1)"],
        "tapster-cloud-backup-delete" => &["tapster-cloud-backup-keep(1)", "tapster-cloud-backup-list(1)"],
        "tapster-cloud-backup-keep" => &["tapster-cloud-backup-delete(1)", "tapster-cloud-backup-list(1)"],
        "tapster-cloud-backup" => &["tapster-cloud-wal-archive(1)", "tapster-cloud-restore(1)"],
        "tapster-cloud-restore" => &["tapster-cloud-wal-restore(1)", "tapster-cloud-backup-list(1)"],
        "tapster-cloud-check-wal-archive" | "tapster-cloud-wal-daemon" => &["tapster-cloud-wal-archive(1)"],
        "tapster-cloud-get-wal" => &["tapster-cloud-wal-restore(1)", "tapster-get-wal(1)"],
        "tapster-cloud-receive-wal" => {
            &["tapster-cloud-wal-restore(1)", "tapster-cloud-backup(1)", "pg_receivewal(1)"]
        }
        "tapster-cloud-wal-archive" => &["tapster-cloud-wal-daemon(1)", "tapster-cloud-wal-restore(1)"],
        "tapster-cloud-wal-restore" => &["tapster-cloud-wal-archive(1)", "tapster-cloud-restore(1)"],
        "tapster-cloud-backup-list" => &["tapster-cloud-backup-show(1)"],
        "tapster-cloud-list-files" | "tapster-cloud-verify-backup" => {
            &["tapster-cloud-backup-show(1)", "tapster-cloud-restore(1)"]
        }
        "tapster-cloud-backup-show" => &["tapster-cloud-backup-list(1)"],
        "tapster-run" => &["tapster-cron(1)", "tapster-metrics(1)", "systemd(1)"],
        "tapster-cron" => &["tapster-run(1)"],
        "tapster-receive-wal" => &["tapster-archive-wal(1)", "tapster-replication-status(1)"],
        "tapster-wal-archive" => &["tapster-put-wal(1)", "tapster-wal-restore(1)"],
        "tapster-wal-restore" => &["tapster-get-wal(1)", "tapster-wal-archive(1)"],
        "tapster-get-wal" => &["tapster-wal-restore(1)"],
        "tapster-wal-find" => &["tapster-restore(1)", "tapster-wal-index(1)", "tapster-wal-inspect(1)"],
        "tapster-export-backup" => &["tapster-import-backup(1)"],
        "tapster-import-backup" => &["tapster-export-backup(1)"],
        "tapster-basebackup" => &["pg_basebackup(1)"],
        "tapster-receivewal" => &["pg_receivewal(1)"],
        "tapster-verifybackup" => &["pg_verifybackup(1)"],
        "tapster-combinebackup" => &["pg_combinebackup(1)"],
        "tapster-wal-inspect" => &["pg_waldump(1)"],
        _ => &[],
    }
}

const PROGRAM: &[Section] = &[
    (
        "SERVERS AND BACKUPS",
        &[
            (
                "server_name",
                "The name of a section of the configuration. Where several can be given, 'all' stands for every active one.",
            ),
            (
                "backup_id",
                "The id of a backup such as 20261121T030000, the name it was given with backup --name, or one of the \
                 words 'latest' (or 'last'), 'oldest' (or 'first'), 'latest-full' (or 'last-full'), 'last-failed'.",
            ),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            ("0", "No error was reported; warnings do not count."),
            (
                "1",
                "At least one error was reported, even if the rest of the work was done. Of check, that a check of an active server failed.",
            ),
            (
                "2",
                "The command line was wrong. The tools that take the options of PostgreSQL's exit with 1 then, as those do.",
            ),
            ("others", "See the pages of check, get-wal, wal-archive and wal-restore."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("BARMAN_CONFIG_FILE", "The configuration file, unless --config names one."),
            ("NO_COLOR", "When set to anything, nothing is coloured."),
            ("TZ", "The time zone of the times that are printed, and of given times that have none."),
            (
                "PGPASSFILE, PGSSLMODE, PGSERVICEFILE, PG...",
                "As in libpq: what connection strings leave open.",
            ),
        ],
    ),
    (
        "FILES",
        &[
            (
                "/etc/tapster.conf, ~/.barman.conf, /etc/barman.conf, /etc/barman/barman.conf",
                "The first of these that exists is the configuration.",
            ),
            (
                "/var/lib/barman",
                "The usual barman_home: one directory for each server, in the layout of Barman 3.19.",
            ),
            ("~/.pgpass", "Passwords of PostgreSQL, readable by its owner alone."),
        ],
    ),
    (
        "NAMES",
        &[
            (
                "barman",
                "Called by this name, the program has the commands of Barman 3.19 alone, with its texts and exit codes.",
            ),
            ("barman-wal-archive", "Called by this name, it is tapster wal-archive with a host."),
            ("barman-wal-restore", "Called by this name, it is tapster wal-restore with a host."),
            ("barman-cloud-...", "Called by such a name, it is the command of that name in the group cloud."),
        ],
    ),
];

const CHECK: &[Section] = &[(
    "EXIT STATUS",
    &[
        ("0", "Every check of every active server passed."),
        ("1", "One failed. With --nagios, never."),
        ("2", "With --nagios: one failed. Without: the command line was wrong."),
    ],
)];

const GET_WAL: &[Section] = &[(
    "EXIT STATUS",
    &[
        ("0", "The file was sent."),
        ("1", "There is no such file, or another error was reported."),
        ("2", "The command line was wrong."),
        ("3", "That is not the name of a WAL file, or the output file cannot be opened."),
        (
            "200",
            "The file may well be there and cannot be sent. To a restore_command codes up to 125 say that the archive ends here; this one stops recovery.",
        ),
    ],
)];

const WAL_ARCHIVE: &[Section] = &[(
    "EXIT STATUS",
    &[
        ("0", "The file is stored, and on disk. Only then may PostgreSQL remove it."),
        ("2", "The command line was wrong, or the file cannot be read."),
        ("3", "The connection failed."),
        ("others", "What the backup host reported."),
    ],
)];

const WAL_RESTORE: &[Section] = &[(
    "EXIT STATUS",
    &[
        ("0", "The file was fetched."),
        ("1", "The archive has no such file."),
        (
            "2",
            "The connection failed, or the command line was wrong. PostgreSQL takes it for the end of the archive: see --fail-hard.",
        ),
        ("3", "The destination cannot be written."),
        ("255", "With --fail-hard, or where recovery would end for good: anything but 0 and 1."),
    ],
)];

const RUN: &[Section] = &[(
    "SIGNALS",
    &[
        (
            "SIGHUP",
            "Read the configuration again. Servers whose settings changed are started anew, the others go on.",
        ),
        ("SIGTERM, SIGINT", "End: what was received is synced, the segments in hand are archived."),
    ],
)];

const CLOUD: &[Section] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "It is done."),
            (
                "1",
                "The store was reached, and what was asked cannot be done: no such backup, one that is kept. Of verify-backup: something is wrong with the backup.",
            ),
            UNREACHABLE,
            WRONG,
            OTHERWISE,
        ],
    ),
    CLOUD_ENVIRONMENT,
];

const CLOUD_COPY: &[Section] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "It is done."),
            (
                "1",
                "Of backup: there is none, or none that is whole. Of restore: no such backup, one that is not whole, or a destination that is not empty.",
            ),
            UNREACHABLE,
            WRONG,
            OTHERWISE,
        ],
    ),
    CLOUD_ENVIRONMENT,
];

const CLOUD_CHECK: &[Section] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "A new cluster, or one that begins the timeline, may archive to this place."),
            ("1", "It must not: there is WAL, or the place is another cluster's."),
            ("2", "The store cannot be reached."),
            WRONG,
            OTHERWISE,
        ],
    ),
    CLOUD_ENVIRONMENT,
];

const CLOUD_WAL_ARCHIVE: &[Section] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "The store has the file, and has made it durable. Only then may PostgreSQL remove it."),
            ("1", "With --test: there is no such bucket."),
            UNREACHABLE,
            WRONG,
            ("4", "The file is not archived, or another content is archived under its name, which stays."),
        ],
    ),
    (
        "CONFIGURED SERVERS",
        &[(
            "tapster cloud-wal-archive [-p N] server_name wal_path",
            "The same for a server of the configuration whose wals_directory is an address, with backup_method = local-to-cloud. What it \
             archives is listed in the server's index of WAL. Its exit status is 0 or 1, or 2 when the command line was wrong.",
        )],
    ),
    CLOUD_ENVIRONMENT,
];

const CLOUD_GET_WAL: &[Section] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "The file was sent, or the names were printed."),
            ("1", "The store was reached, and has no such file."),
            ("2", "With --test: the store cannot be reached."),
            WRONG,
            ("4", "With --test: the store cannot be used."),
            (
                "200",
                "The file may well be there and cannot be sent, or the store cannot be opened. To a restore_command codes up to 125 say that the archive ends here; this one stops recovery.",
            ),
        ],
    ),
    CLOUD_ENVIRONMENT,
];

const CLOUD_RECEIVE: &[Section] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "It was told to stop, or the slot was made or dropped."),
            ("1", "The slot exists, or does not."),
            UNREACHABLE,
            WRONG,
            (
                "4",
                "WAL cannot be received or archived, and trying again would not help. What was received is in the spool.",
            ),
        ],
    ),
    (
        "WHAT CAN BE LOST",
        &[
            (
                "--acknowledge spool",
                "Of a server that is lost, nothing that the spool has. Of a spool that is lost, what the bucket did not have yet, for the \
                 server need not keep it: up to the seconds of --partial-interval, and more while the store is away.",
            ),
            (
                "--acknowledge store",
                "Of a spool that is lost, nothing: the server keeps it until the bucket has it, and needs room for that while the store is \
                 away. Of both lost at once, up to the seconds of --partial-interval.",
            ),
        ],
    ),
    (
        "SIGNALS",
        &[(
            "SIGTERM, SIGINT",
            "End: what was received is synced, segments that are on their way to the store arrive, and the beginning of the one in hand goes \
             there if all before it is there. The next run brings what is left. A second one ends it at once.",
        )],
    ),
    (
        "WHEN THE STORE FAILS",
        &[
            (
                "away, or refusing",
                "At the start a store that cannot be reached is waited for, and one that refuses ends it. Later it is asked again in any \
                 case, with a warning each time, and meanwhile the spool grows up to --spool-max-size; then the server keeps what comes.",
            ),
            (
                "the server's shutdown",
                "PostgreSQL waits for a receiver to acknowledge everything before it ends. With --acknowledge store it waits for the \
                 store: stop the receiver first, if that is away.",
            ),
            (
                "a beginning that is there",
                "The .partial object of a segment is replaced only by one that holds all of it. Where it is something else, such as the one \
                 that a promoted server archives itself, it stays, with a warning.",
            ),
        ],
    ),
    CLOUD_ENVIRONMENT,
];

const CLOUD_WAL_RESTORE: &[Section] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "The file was fetched."),
            ("1", "The store was reached, and has no such file."),
            UNREACHABLE,
            WRONG,
            (
                "4",
                "The file may well be there, and was not fetched. PostgreSQL takes it for the end of the archive: see --fail-hard.",
            ),
            ("255", "With --fail-hard, or where recovery would end for good: anything but 0 and 1."),
        ],
    ),
    (
        "CONFIGURED SERVERS",
        &[(
            "tapster cloud-wal-restore [-p N] [--spool-dir DIR] server_name wal_name wal_dest",
            "The same for a server of the configuration whose wals_directory is an address. Its exit status is 0, 1 when the store has no \
             such file, and 255, at which PostgreSQL stops, for anything else.",
        )],
    ),
    CLOUD_ENVIRONMENT,
];

const UNREACHABLE: (&str, &str) = ("2", "With --test: the store cannot be reached.");
const WRONG: (&str, &str) = ("3", "The command line was wrong.");
const OTHERWISE: (&str, &str) = ("4", "Anything else.");

const CLOUD_ENVIRONMENT: Section = (
    "ENVIRONMENT",
    &[
        (
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_REGION, AWS_...",
            "As in Amazon's own tools; so are the files in ~/.aws.",
        ),
        ("AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY, AZURE_...", "As in Microsoft's."),
        ("GOOGLE_APPLICATION_CREDENTIALS", "As in Google's."),
    ],
);

const TOOLS: &[Section] =
    &[("EXIT STATUS", &[("0", "It is done."), ("1", "It is not, or the command line was wrong.")])];
