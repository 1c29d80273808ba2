//! Command lines in, typed arguments out. One small file per command.
//!
//! Parsing has two steps, as argparse's sub-parsers have: the options before the command, then the command's own. So
//! only the called command's description is built, and an error is reported in the name of the parser that found it.

pub(crate) mod archive_wal;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod check_backup;
pub(crate) mod check_wal_archive;
#[cfg(feature = "cloud")]
pub(crate) mod cloud;
#[cfg(feature = "cloud")]
pub(crate) mod cloud_wal;
pub(crate) mod completions;
pub(crate) mod config_switch;
pub(crate) mod config_update;
pub(crate) mod cron;
pub(crate) mod delete;
mod description;
pub(crate) mod diagnose;
mod errors;
mod examples;
pub(crate) mod export_backup;
pub(crate) mod generate_manifest;
pub(crate) mod get_wal;
pub(crate) mod global;
pub(crate) mod keep;
pub(crate) mod list_backups;
pub(crate) mod list_files;
pub(crate) mod list_servers;
pub(crate) mod man;
pub(crate) mod metrics;
mod parse;
pub(crate) mod pg;
pub(crate) mod processes;
pub(crate) mod put_wal;
pub(crate) mod rebuild_xlogdb;
pub(crate) mod receive_wal;
pub(crate) mod replication_status;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod show_backup;
pub(crate) mod show_servers;
pub(crate) mod status;
pub(crate) mod switch_wal;
pub(crate) mod sync;
mod tree;
mod usage;
pub(crate) mod values;
pub(crate) mod verify_backup;
pub(crate) mod verify_restore;
pub(crate) mod wal;
pub(crate) mod wal_archive;
pub(crate) mod wal_restore;

pub(crate) use description::complete_tree;
pub(crate) use examples::examples;
pub(crate) use parse::{Outcome, parse};
#[cfg(test)]
pub(crate) use usage::positional_name;
pub(crate) use usage::{Spelling, synopsis};

/// What a command line asks for.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// `archive-wal`
    ArchiveWal(archive_wal::ArchiveWalArgs),
    /// `backup`
    Backup(Box<backup::BackupArgs>),
    /// `basebackup`
    BaseBackup(Box<pg::basebackup::BaseBackup>),
    /// `check`
    Check(check::CheckArgs),
    /// `check-backup`
    CheckBackup(check_backup::CheckBackupArgs),
    /// `check-wal-archive`
    CheckWalArchive(check_wal_archive::CheckWalArchiveArgs),
    /// `cloud backup`, `barman-cloud-backup`
    #[cfg(feature = "cloud")]
    CloudBackup(Box<cloud::backup::CloudBackupArgs>),
    /// `cloud restore`, `barman-cloud-restore`
    #[cfg(feature = "cloud")]
    CloudRestore(Box<cloud::restore::CloudRestoreArgs>),
    /// `cloud backup-delete`, `barman-cloud-backup-delete`
    #[cfg(feature = "cloud")]
    CloudBackupDelete(Box<cloud::backup_delete::CloudBackupDeleteArgs>),
    /// `cloud backup-keep`, `barman-cloud-backup-keep`
    #[cfg(feature = "cloud")]
    CloudBackupKeep(Box<cloud::backup_keep::CloudBackupKeepArgs>),
    /// `cloud backup-list`, `barman-cloud-backup-list`
    #[cfg(feature = "cloud")]
    CloudBackupList(Box<cloud::backup_list::CloudBackupListArgs>),
    /// `cloud backup-show`, `barman-cloud-backup-show`
    #[cfg(feature = "cloud")]
    CloudBackupShow(Box<cloud::backup_show::CloudBackupShowArgs>),
    /// `cloud check-wal-archive`, `barman-cloud-check-wal-archive`
    #[cfg(feature = "cloud")]
    CloudCheckWalArchive(Box<cloud::check_wal_archive::CloudCheckWalArchiveArgs>),
    /// `cloud get-wal`
    #[cfg(feature = "cloud")]
    CloudGetWal(Box<cloud::get_wal::CloudGetWalArgs>),
    /// `cloud list-files`
    #[cfg(feature = "cloud")]
    CloudListFiles(Box<cloud::list_files::CloudListFilesArgs>),
    /// `cloud receive-wal`
    #[cfg(feature = "cloud")]
    CloudReceiveWal(Box<cloud::receive_wal::CloudReceiveWalArgs>),
    /// `cloud verify-backup`
    #[cfg(feature = "cloud")]
    CloudVerifyBackup(Box<cloud::verify_backup::CloudVerifyBackupArgs>),
    /// `cloud wal-archive`, `barman-cloud-wal-archive`
    #[cfg(feature = "cloud")]
    CloudWalArchive(Box<cloud::wal_archive::CloudWalArchiveArgs>),
    /// `cloud wal-daemon`
    #[cfg(feature = "cloud")]
    CloudWalDaemon(Box<cloud::wal_archive::CloudWalDaemonArgs>),
    /// `cloud wal-restore`, `barman-cloud-wal-restore`
    #[cfg(feature = "cloud")]
    CloudWalRestore(Box<cloud::wal_restore::CloudWalRestoreArgs>),
    /// `cloud-wal-archive`
    #[cfg(feature = "cloud")]
    ConfiguredWalArchive(cloud_wal::CloudWalArchiveArgs),
    /// `cloud-wal-restore`
    #[cfg(feature = "cloud")]
    ConfiguredWalRestore(cloud_wal::CloudWalRestoreArgs),
    /// `combinebackup`
    PgCombineBackup(Box<pg::combinebackup::CombineBackup>),
    /// `completions`
    Completions(completions::CompletionsArgs),
    /// `config-switch`
    ConfigSwitch(config_switch::ConfigSwitchArgs),
    /// `config-update`
    ConfigUpdate(config_update::ConfigUpdateArgs),
    /// `cron`
    Cron(cron::CronArgs),
    /// `delete`
    Delete(delete::DeleteArgs),
    /// `diagnose`
    Diagnose(diagnose::DiagnoseArgs),
    /// `export-backup`
    ExportBackup(export_backup::ExportBackupArgs),
    /// `generate-manifest`
    GenerateManifest(generate_manifest::GenerateManifestArgs),
    /// `get-wal`
    GetWal(get_wal::GetWalArgs),
    /// `import-backup`
    ImportBackup(export_backup::ImportBackupArgs),
    /// `keep`
    Keep(keep::KeepArgs),
    /// `list-backups`
    ListBackups(list_backups::ListBackupsArgs),
    /// `list-files`
    ListFiles(list_files::ListFilesArgs),
    /// `list-processes`
    ListProcesses(processes::ListProcessesArgs),
    /// `list-servers`
    ListServers(list_servers::ListServersArgs),
    /// `lock-directory-cleanup`
    LockDirectoryCleanup(cron::LockDirectoryCleanupArgs),
    /// `man`
    Man(man::ManArgs),
    /// `metrics`
    Metrics(metrics::MetricsArgs),
    /// `put-wal`
    PutWal(put_wal::PutWalArgs),
    /// `rebuild-xlogdb`
    RebuildXlogdb(rebuild_xlogdb::RebuildXlogdbArgs),
    /// `receive-wal`
    ReceiveWal(receive_wal::ReceiveWalArgs),
    /// `receivewal`
    PgReceiveWal(Box<pg::receivewal::ReceiveWal>),
    /// `replication-status`
    ReplicationStatus(replication_status::ReplicationStatusArgs),
    /// `report`
    Report(report::ReportArgs),
    /// `restore`
    Restore(Box<restore::RestoreArgs>),
    /// `show-backup`
    ShowBackup(show_backup::ShowBackupArgs),
    /// `show-servers`
    ShowServers(show_servers::ShowServersArgs),
    /// `status`
    Status(status::StatusArgs),
    /// `switch-wal`
    SwitchWal(switch_wal::SwitchWalArgs),
    /// `sync-backup`
    SyncBackup(sync::SyncBackupArgs),
    /// `sync-info`
    SyncInfo(sync::SyncInfoArgs),
    /// `sync-wals`
    SyncWals(sync::SyncWalsArgs),
    /// `terminate-process`
    TerminateProcess(processes::TerminateProcessArgs),
    /// `verify-backup`
    VerifyBackup(verify_backup::VerifyBackupArgs),
    /// `verify-restore`
    VerifyRestore(Box<verify_restore::VerifyRestoreArgs>),
    /// `verifybackup`
    PgVerifyBackup(Box<pg::verifybackup::VerifyBackupTool>),
    /// `wal blocks`
    WalBlocks(Box<wal::blocks::WalBlocksArgs>),
    /// `run`
    Run(run::RunArgs),
    /// `wal find`
    WalFind(Box<wal::find::WalFindArgs>),
    /// `wal index`
    WalIndex(wal::index::WalIndexArgs),
    /// `wal inspect`
    WalInspect(Box<wal::inspect::WalInspectArgs>),
    /// `wal verify`
    WalVerify(wal::verify::WalVerifyArgs),
    /// `wal errors`
    WalErrors(wal::errors::WalErrorsArgs),
    /// `tapster wal-archive` without a host
    LocalWalArchive(wal_archive::LocalWalArchiveArgs),
    /// `barman-wal-archive`, `tapster wal-archive` with a host
    WalArchive(Box<wal_archive::WalArchiveArgs>),
    /// `barman-wal-restore`, `tapster wal-restore`
    WalRestore(Box<wal_restore::WalRestoreArgs>),
    /// `wal-restore` without a host.
    LocalWalRestore(wal_restore::LocalWalRestoreArgs),
}

/// `--x` and `--no-x`: which of the two was given last, if any.
fn switch(on: bool, off: bool) -> Option<bool> {
    match (on, off) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}
