//! Which commands there are, under which names, in which program.

use std::ffi::OsString;

use clap::{CommandFactory, Error, FromArgMatches};

use super::usage::Spelling;
use super::{
    Command, archive_wal, backup, check, check_backup, check_wal_archive, completions, config_switch,
    config_update, cron, delete, diagnose, export_backup, generate_manifest, get_wal, keep, list_backups,
    list_files, list_servers, man, metrics, pg, processes, put_wal, rebuild_xlogdb, receive_wal,
    replication_status, report, restore, run, show_backup, show_servers, status, switch_wal, sync,
    verify_backup, verify_restore, wal, wal_archive, wal_restore,
};
#[cfg(feature = "cloud")]
use super::{cloud, cloud_wal};
use crate::invocation::Program;

/// How a command reports wrong arguments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dialect {
    /// As Python's argparse: exit 2.
    Argparse(Spelling),
    /// As Barman's cloud tools: argparse without `-h`, exit 3.
    #[cfg(feature = "cloud")]
    Cloud,
    /// As PostgreSQL's own programs (getopt_long): exit 1.
    Getopt(&'static pg::Tool),
}

impl Dialect {
    /// How options are spelled in a usage line of argparse.
    pub(super) const fn spelling(self) -> Spelling {
        match self {
            Self::Argparse(spelling) => spelling,
            #[cfg(feature = "cloud")]
            Self::Cloud => Spelling::LongHelp,
            Self::Getopt(_) => Spelling::LongFirst,
        }
    }

    /// The exit code for wrong arguments.
    pub(super) const fn usage_exit(self) -> u8 {
        match self {
            Self::Argparse(_) => 2,
            #[cfg(feature = "cloud")]
            Self::Cloud => 3,
            Self::Getopt(_) => pg::USAGE_EXIT,
        }
    }
}

/// Commands that share their first word.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
}

const GROUPS: &[Group] = &[
    #[cfg(feature = "cloud")]
    Group { name: "cloud", about: cloud::ABOUT },
    Group { name: "wal", about: wal::ABOUT },
];

impl Group {
    /// The group a command belongs to, and its name there.
    pub(super) fn of(entry: &Entry) -> Option<(&'static Self, &'static str)> {
        GROUPS.iter().find_map(|group| Some((group, entry.name.strip_prefix(group.name)?.strip_prefix(' ')?)))
    }

    /// Its commands and their names in it.
    pub(super) fn entries(&self, program: Program) -> impl Iterator<Item = (&'static str, &'static Entry)> {
        entries(program).filter_map(|entry| {
            let (group, name) = Self::of(entry)?;
            (group.name == self.name).then_some((name, entry))
        })
    }

    /// clap's description of what stands before its commands: nothing but help.
    pub(super) fn describe(&self) -> clap::Command {
        clap::Command::new(self.name).about(self.about).no_binary_name(true).disable_help_subcommand(true)
    }
}

/// One command.
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// Other names Barman takes for it.
    pub(super) aliases: &'static [&'static str],
    /// Not one of Barman's.
    pub(super) own: bool,
    pub(super) dialect: Dialect,
    /// clap's description.
    pub(super) describe: fn() -> clap::Command,
    /// From the arguments after the name.
    pub(super) read: fn(&clap::Command, &[OsString]) -> Result<Command, ReadError>,
}

/// Why the arguments of a command were refused.
pub(crate) enum ReadError {
    /// By clap.
    Clap(Error),
    /// By the checks that follow (PostgreSQL's tools); the text to print after `PROGRAM: error: `.
    Message {
        /// The text.
        text: String,
        /// Whether the original points to its help.
        hint: bool,
    },
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Clap(error)
    }
}

/// Settings all descriptions share.
pub(super) fn describe<T: CommandFactory>() -> clap::Command {
    T::command()
        .no_binary_name(true)
        .infer_long_args(true)
        .args_override_self(true)
        .disable_version_flag(true)
        .version("")
        .color(clap::ColorChoice::Never)
}

/// The arguments of one command as clap reads them.
pub(super) fn read<T: FromArgMatches>(description: &clap::Command, args: &[OsString]) -> Result<T, Error> {
    T::from_arg_matches(&description.clone().try_get_matches_from(args)?)
}

macro_rules! entry {
    ($name:literal $(| $alias:literal)*, $args:ty, $make:expr) => {
        entry!($name $(| $alias)*, $args, $make, false, Dialect::Argparse(Spelling::LongFirst))
    };
    ($name:literal $(| $alias:literal)*, $args:ty, $make:expr, $own:literal, $dialect:expr) => {
        Entry {
            name: $name,
            aliases: &[$($alias),*],
            own: $own,
            dialect: $dialect,
            describe: describe::<$args>,
            read: |description, args| Ok($make(read::<$args>(description, args)?)),
        }
    };
}

const CLIENT: Dialect = Dialect::Argparse(Spelling::ShortFirst);

/// Every command, sorted by name. A command of a [`Group`] has the group's name and its own, with a blank between.
pub(super) const ENTRIES: &[Entry] = &[
    entry!("archive-wal", archive_wal::ArchiveWalArgs, Command::ArchiveWal),
    entry!("backup", backup::BackupArgs, |args| Command::Backup(Box::new(args))),
    Entry {
        name: "basebackup",
        aliases: &[],
        own: true,
        dialect: Dialect::Getopt(&pg::basebackup::TOOL),
        describe: describe::<pg::basebackup::BaseBackupArgs>,
        read: |description, args| {
            let args = read::<pg::basebackup::BaseBackupArgs>(description, args)?;
            Ok(Command::BaseBackup(Box::new(args.check()?)))
        },
    },
    entry!("check", check::CheckArgs, Command::Check),
    entry!("check-backup", check_backup::CheckBackupArgs, Command::CheckBackup),
    entry!("check-wal-archive", check_wal_archive::CheckWalArchiveArgs, Command::CheckWalArchive),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud backup",
        cloud::backup::CloudBackupArgs,
        |args| Command::CloudBackup(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud backup-delete",
        cloud::backup_delete::CloudBackupDeleteArgs,
        |args| Command::CloudBackupDelete(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud backup-keep",
        cloud::backup_keep::CloudBackupKeepArgs,
        |args| Command::CloudBackupKeep(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud backup-list",
        cloud::backup_list::CloudBackupListArgs,
        |args| Command::CloudBackupList(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud backup-show",
        cloud::backup_show::CloudBackupShowArgs,
        |args| Command::CloudBackupShow(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud check-wal-archive",
        cloud::check_wal_archive::CloudCheckWalArchiveArgs,
        |args| Command::CloudCheckWalArchive(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud get-wal",
        cloud::get_wal::CloudGetWalArgs,
        |args| Command::CloudGetWal(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud list-files",
        cloud::list_files::CloudListFilesArgs,
        |args| Command::CloudListFiles(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud receive-wal",
        cloud::receive_wal::CloudReceiveWalArgs,
        |args| Command::CloudReceiveWal(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud restore",
        cloud::restore::CloudRestoreArgs,
        |args| Command::CloudRestore(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud verify-backup",
        cloud::verify_backup::CloudVerifyBackupArgs,
        |args| Command::CloudVerifyBackup(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud wal-archive",
        cloud::wal_archive::CloudWalArchiveArgs,
        |args| Command::CloudWalArchive(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud wal-daemon",
        cloud::wal_archive::CloudWalDaemonArgs,
        |args| Command::CloudWalDaemon(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!(
        "cloud wal-restore",
        cloud::wal_restore::CloudWalRestoreArgs,
        |args| Command::CloudWalRestore(Box::new(args)),
        true,
        Dialect::Cloud
    ),
    #[cfg(feature = "cloud")]
    entry!("cloud-wal-archive", cloud_wal::CloudWalArchiveArgs, Command::ConfiguredWalArchive),
    #[cfg(feature = "cloud")]
    entry!("cloud-wal-restore", cloud_wal::CloudWalRestoreArgs, Command::ConfiguredWalRestore),
    Entry {
        name: "combinebackup",
        aliases: &[],
        own: true,
        dialect: Dialect::Getopt(&pg::combinebackup::TOOL),
        describe: describe::<pg::combinebackup::CombineBackupArgs>,
        read: |description, args| {
            let args = read::<pg::combinebackup::CombineBackupArgs>(description, args)?;
            Ok(Command::PgCombineBackup(Box::new(args.check()?)))
        },
    },
    entry!(
        "completions",
        completions::CompletionsArgs,
        Command::Completions,
        true,
        Dialect::Argparse(Spelling::LongFirst)
    ),
    entry!("config-switch", config_switch::ConfigSwitchArgs, Command::ConfigSwitch),
    entry!("config-update", config_update::ConfigUpdateArgs, Command::ConfigUpdate),
    entry!("cron", cron::CronArgs, Command::Cron),
    entry!("delete", delete::DeleteArgs, Command::Delete),
    entry!("diagnose", diagnose::DiagnoseArgs, Command::Diagnose),
    entry!("export-backup", export_backup::ExportBackupArgs, Command::ExportBackup),
    entry!("generate-manifest", generate_manifest::GenerateManifestArgs, Command::GenerateManifest),
    entry!("get-wal", get_wal::GetWalArgs, Command::GetWal),
    entry!("import-backup", export_backup::ImportBackupArgs, Command::ImportBackup),
    entry!("keep", keep::KeepArgs, Command::Keep, false, CLIENT),
    entry!("list-backups" | "list-backup", list_backups::ListBackupsArgs, Command::ListBackups),
    entry!("list-files", list_files::ListFilesArgs, Command::ListFiles),
    entry!("list-processes" | "list-process", processes::ListProcessesArgs, Command::ListProcesses),
    entry!("list-servers" | "list-server", list_servers::ListServersArgs, Command::ListServers),
    entry!("lock-directory-cleanup", cron::LockDirectoryCleanupArgs, Command::LockDirectoryCleanup),
    entry!("man", man::ManArgs, Command::Man, true, Dialect::Argparse(Spelling::LongFirst)),
    entry!("metrics", metrics::MetricsArgs, Command::Metrics, true, Dialect::Argparse(Spelling::LongFirst)),
    entry!("put-wal", put_wal::PutWalArgs, Command::PutWal),
    entry!("rebuild-xlogdb", rebuild_xlogdb::RebuildXlogdbArgs, Command::RebuildXlogdb),
    entry!("receive-wal", receive_wal::ReceiveWalArgs, Command::ReceiveWal),
    Entry {
        name: "receivewal",
        aliases: &[],
        own: true,
        dialect: Dialect::Getopt(&pg::receivewal::TOOL),
        describe: describe::<pg::receivewal::ReceiveWalArgs>,
        read: |description, args| {
            let args = read::<pg::receivewal::ReceiveWalArgs>(description, args)?;
            Ok(Command::PgReceiveWal(Box::new(args.check()?)))
        },
    },
    entry!("replication-status", replication_status::ReplicationStatusArgs, Command::ReplicationStatus),
    entry!("report", report::ReportArgs, Command::Report, true, Dialect::Argparse(Spelling::LongFirst)),
    entry!("restore" | "recover", restore::RestoreArgs, |args| Command::Restore(Box::new(args))),
    entry!("run", run::RunArgs, Command::Run, true, Dialect::Argparse(Spelling::LongFirst)),
    entry!("show-backup" | "show-backups", show_backup::ShowBackupArgs, Command::ShowBackup),
    entry!("show-servers" | "show-server", show_servers::ShowServersArgs, Command::ShowServers),
    entry!("status", status::StatusArgs, Command::Status),
    entry!("switch-wal" | "switch-xlog", switch_wal::SwitchWalArgs, Command::SwitchWal),
    entry!("sync-backup", sync::SyncBackupArgs, Command::SyncBackup),
    entry!("sync-info", sync::SyncInfoArgs, Command::SyncInfo),
    entry!("sync-wals", sync::SyncWalsArgs, Command::SyncWals),
    entry!("terminate-process", processes::TerminateProcessArgs, Command::TerminateProcess),
    entry!("verify-backup" | "verify", verify_backup::VerifyBackupArgs, Command::VerifyBackup),
    entry!(
        "verify-restore",
        verify_restore::VerifyRestoreArgs,
        |args| Command::VerifyRestore(Box::new(args)),
        true,
        Dialect::Argparse(Spelling::LongFirst)
    ),
    Entry {
        name: "verifybackup",
        aliases: &[],
        own: true,
        dialect: Dialect::Getopt(&pg::verifybackup::TOOL),
        describe: describe::<pg::verifybackup::VerifyBackupToolArgs>,
        read: |description, args| {
            let args = read::<pg::verifybackup::VerifyBackupToolArgs>(description, args)?;
            Ok(Command::PgVerifyBackup(Box::new(args.check()?)))
        },
    },
    entry!(
        "wal blocks",
        wal::blocks::WalBlocksArgs,
        |args| Command::WalBlocks(Box::new(args)),
        true,
        Dialect::Argparse(Spelling::LongFirst)
    ),
    entry!(
        "wal errors",
        wal::errors::WalErrorsArgs,
        Command::WalErrors,
        true,
        Dialect::Argparse(Spelling::LongFirst)
    ),
    entry!(
        "wal find",
        wal::find::WalFindArgs,
        |args| Command::WalFind(Box::new(args)),
        true,
        Dialect::Argparse(Spelling::LongFirst)
    ),
    entry!(
        "wal index",
        wal::index::WalIndexArgs,
        Command::WalIndex,
        true,
        Dialect::Argparse(Spelling::LongFirst)
    ),
    Entry {
        name: "wal inspect",
        aliases: &[],
        own: true,
        dialect: CLIENT,
        describe: describe::<wal::inspect::WalInspectArgs>,
        read: |description, args| {
            let args = read::<wal::inspect::WalInspectArgs>(description, args);
            Ok(Command::WalInspect(Box::new(args.map_err(wal::inspect::refusal)?)))
        },
    },
    entry!(
        "wal verify",
        wal::verify::WalVerifyArgs,
        Command::WalVerify,
        true,
        Dialect::Argparse(Spelling::LongFirst)
    ),
    entry!(
        "wal-archive",
        wal_archive::OwnWalArchiveArgs,
        |args: wal_archive::OwnWalArchiveArgs| args.into_command(),
        true,
        CLIENT
    ),
    entry!(
        "wal-restore",
        wal_restore::OwnWalRestoreArgs,
        |args: wal_restore::OwnWalRestoreArgs| args.into_command(),
        true,
        CLIENT
    ),
];

/// `barman-wal-archive`, whose host is not optional.
static WAL_ARCHIVE: Entry = entry!(
    "wal-archive",
    wal_archive::WalArchiveArgs,
    |args| Command::WalArchive(Box::new(args)),
    true,
    CLIENT
);

/// `barman-wal-restore`, likewise.
static WAL_RESTORE: Entry = entry!(
    "wal-restore",
    wal_restore::WalRestoreArgs,
    |args| Command::WalRestore(Box::new(args)),
    true,
    CLIENT
);

/// The commands of `program`.
pub(super) fn entries(program: Program) -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().filter(move |entry| !entry.own || program == Program::Tapster)
}

/// The command called `name` in `program`.
pub(super) fn find(program: Program, name: &str) -> Option<&'static Entry> {
    entries(program).find(|entry| entry.name == name || entry.aliases.contains(&name))
}

/// The group called `name` in `program`.
pub(super) fn find_group(program: Program, name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name && group.entries(program).next().is_some())
}

/// The groups `program` has.
pub(super) fn groups(program: Program) -> impl Iterator<Item = &'static Group> {
    GROUPS.iter().filter(move |group| group.entries(program).next().is_some())
}

/// The command a client program consists of.
pub(super) fn client(program: Program) -> Option<&'static Entry> {
    match program {
        Program::BarmanWalArchive => Some(&WAL_ARCHIVE),
        Program::BarmanWalRestore => Some(&WAL_RESTORE),
        Program::Tapster | Program::Barman => None,
        cloud => {
            let name = cloud.cloud_command()?;
            ENTRIES.iter().find(|entry| entry.name.strip_prefix("cloud ") == Some(name))
        }
    }
}
