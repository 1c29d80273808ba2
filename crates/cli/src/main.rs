//! The program `tapster`; called by the name `barman`, `barman-wal-archive` or `barman-wal-restore` it is that program.
//!
//! Arguments, output and exit codes, nothing else: the work is done by the libraries.

mod args;
mod commands;
mod environment;
mod failure;
mod format;
mod invocation;
mod logging;
mod manual;
mod observer;
mod output;
mod recovery;
mod session;
mod startup;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use args::global::GlobalArgs;
use args::{Command, Outcome};
use failure::Failure;
use invocation::Program;
use session::Session;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = Program::from_argv0(words.next().as_deref());
    let words: Vec<OsString> = words.collect();
    let stop = recovery::stop_code(program, &words);
    ExitCode::from(recovery::contain(stop, || run(program, &words, stop)))
}

fn run(program: Program, words: &[OsString], stop: Option<u8>) -> u8 {
    let session = match args::parse(program, words) {
        Ok(Outcome::Run(global, command)) => {
            let session = Session::new(program, *global);
            if let Err(failure) = dispatch(command, &session) {
                session.output.failure(&failure);
            }
            session
        }
        Ok(Outcome::Print(text)) => {
            let session = Session::new(program, GlobalArgs::default());
            session.output.raw_line(text);
            session
        }
        Err(mut failure) => {
            if let Some(stop) = stop.filter(|_| recovery::is_fatal(words, Path::new("."))) {
                failure.exit_code = stop;
            }
            let session = Session::new(program, GlobalArgs::default());
            session.output.failure(&failure);
            session
        }
    };
    session.output.finish()
}

fn dispatch(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::ArchiveWal(args) => commands::archive_wal::run(&args, session),
        Command::Backup(args) => commands::backup::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudBackupDelete(args) => commands::cloud::backup_delete::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudBackupKeep(args) => commands::cloud::backup_keep::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudBackupList(args) => commands::cloud::backup_list::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudBackupShow(args) => commands::cloud::backup_show::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudCheckWalArchive(args) => commands::cloud::check_wal_archive::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudGetWal(args) => commands::cloud::get_wal::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::ConfiguredWalArchive(args) => commands::cloud_wal::archive(&args, session),
        #[cfg(feature = "cloud")]
        Command::ConfiguredWalRestore(args) => commands::cloud_wal::restore(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudListFiles(args) => commands::cloud::list_files::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudReceiveWal(args) => commands::cloud::receive_wal::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudVerifyBackup(args) => commands::cloud::verify_backup::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudWalArchive(args) => commands::cloud::wal_archive::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudWalDaemon(args) => commands::cloud::wal_daemon::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudWalRestore(args) => commands::cloud::wal_restore::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudBackup(args) => commands::cloud::backup::run(&args, session),
        #[cfg(feature = "cloud")]
        Command::CloudRestore(args) => commands::cloud::restore::run(&args, session),
        Command::Check(args) => commands::check::run(&args, session),
        Command::CheckBackup(args) => commands::check_backup::run(&args, session),
        Command::CheckWalArchive(args) => commands::check_wal_archive::run(&args, session),
        Command::ConfigSwitch(args) => commands::config_switch::run(&args, session),
        Command::ConfigUpdate(args) => commands::config_update::run(&args, session),
        Command::Cron(args) => commands::cron::run(&args, session),
        Command::LockDirectoryCleanup(_) => commands::cron::lock_directory_cleanup(session),
        Command::Delete(args) => commands::delete::run(&args, session),
        Command::Diagnose(args) => commands::diagnose::run(&args, session),
        Command::ExportBackup(args) => commands::export_backup::export(&args, session),
        Command::ImportBackup(args) => commands::export_backup::import(&args, session),
        Command::GenerateManifest(args) => commands::generate_manifest::run(&args, session),
        Command::GetWal(args) => commands::get_wal::run(&args, session),
        Command::Keep(args) => commands::keep::run(&args, session),
        Command::ListBackups(args) => commands::list_backups::run(&args, session),
        Command::ListFiles(args) => commands::list_files::run(&args, session),
        Command::ListProcesses(args) => commands::processes::list(&args, session),
        Command::ListServers(args) => commands::list_servers::run(&args, session),
        Command::RebuildXlogdb(args) => commands::rebuild_xlogdb::run(&args, session),
        Command::ReceiveWal(args) => commands::receive_wal::run(&args, session),
        Command::ReplicationStatus(args) => commands::replication_status::run(&args, session),
        Command::Report(args) => commands::report::run(&args, session),
        Command::Restore(args) => commands::restore::run(&args, session),
        Command::ShowBackup(args) => commands::show_backup::run(&args, session),
        Command::ShowServers(args) => commands::show_servers::run(&args, session),
        Command::Status(args) => commands::status::run(&args, session),
        Command::SwitchWal(args) => commands::switch_wal::run(&args, session),
        Command::SyncBackup(args) => commands::sync::backup(&args, session),
        Command::SyncInfo(args) => commands::sync::info(&args, session),
        Command::SyncWals(args) => commands::sync::wals(&args, session),
        Command::TerminateProcess(args) => commands::processes::terminate(&args, session),
        Command::BaseBackup(args) => commands::basebackup::run(&args, session),
        Command::Man(args) => commands::man::run(&args, session),
        Command::Metrics(args) => commands::metrics::run(&args, session),
        Command::Run(args) => commands::run::run(&args, session),
        Command::PgCombineBackup(args) => commands::combinebackup::run(&args, session),
        Command::Completions(args) => commands::completions::run(&args, session),
        Command::PgReceiveWal(args) => commands::receivewal::run(&args, session),
        Command::PutWal(args) => commands::put_wal::run(&args, session),
        Command::VerifyBackup(args) => commands::verify_backup::run(&args, session),
        Command::VerifyRestore(args) => commands::verify_restore::run(&args, session),
        Command::PgVerifyBackup(args) => commands::verifybackup::run(&args, session),
        Command::WalBlocks(args) => commands::wal::blocks::run(&args, session),
        Command::WalFind(args) => commands::wal::find::run(&args, session),
        Command::WalIndex(args) => commands::wal::index::run(&args, session),
        Command::WalInspect(args) => commands::wal::inspect::run(&args, session),
        Command::WalErrors(args) => commands::wal::errors::run(&args, session),
        Command::WalVerify(args) => commands::wal::verify::run(&args, session),
        Command::LocalWalArchive(args) => commands::wal_archive::run_local(&args, session),
        Command::WalArchive(args) => commands::wal_archive::run(&args, session),
        Command::WalRestore(args) => commands::wal_restore::run(&args, session),
        Command::LocalWalRestore(args) => commands::wal_restore::run_local(&args, session),
    }
}
