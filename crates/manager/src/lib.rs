//! PostgreSQL backup and recovery as a library: configuration, and one method per verb.
//!
//! A [`Config`](config::Config) describes servers; [`Server`] does the work: [`Server::backup`], [`Server::receive_wal`],
//! [`Server::archive_wal`], [`Server::get_wal`], [`Server::plan_restore`], [`Server::check`] and the others. Verbs return reports
//! and tell an [`Observer`] what happens meanwhile; they never print, exit or read the environment.
//!
//! ```no_run
//! use tapster_manager::backup::BackupOptions;
//! use tapster_manager::config::{Config, ConfigSources};
//! use tapster_manager::{Context, Server, Silent};
//! use tapster_protocol::Environment;
//!
//! let config = Config::load(&ConfigSources::file("/etc/tapster.conf"))?;
//! let server = Server::open(&config, "main", Environment::from_process())?;
//! let report = server.backup(&BackupOptions::default(), &Context::new(&Silent))?;
//! println!("{} ended at {:?}", report.record.id, report.record.end_xlog);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Planning is separate from doing, and pure where it can be:
//!
//! ```
//! use tapster_manager::restore::settings::neutralise;
//! let old = b"archive_command = 'cp %p /archive/%f'\n";
//! let new = neutralise("postgresql.conf", old);
//! assert_eq!(new.content, b"#BARMAN#archive_command = 'cp %p /archive/%f'\narchive_command = false\n");
//! ```

pub mod backup;
pub mod check;
#[cfg(feature = "cloud")]
pub mod cloud;
pub mod config;
pub mod daemon;
pub mod diagnose;
pub mod event;
pub mod export_backup;
mod fork;
mod generate_manifest;
pub mod get_wal;
mod hooks;
pub mod import_backup;
pub mod list_backups;
pub mod list_files;
pub mod live_status;
pub mod metrics;
pub mod put_wal;
pub mod report;
pub mod restore;
pub mod show_backup;
pub mod show_server;
pub mod status;
pub mod sync;
pub mod text;
pub mod tools;
pub mod verify_restore;
pub mod wal_blocks;
pub mod wal_client;
pub mod wal_errors;
pub mod wal_find;
pub mod wal_index;
pub mod wal_inspect;
pub mod wal_usage;
pub mod wal_verify;

mod archive_index;
mod archive_wal;
mod beginning;
mod chain;
mod completeness;
mod config_switch;
mod context;
mod cron;
mod delete;
mod encryption;
mod keep;
mod object_store;
mod probe;
mod processes;
mod receive_wal;
mod remote;
mod replication_status;
mod rsync;
mod server;
mod switch_wal;
mod system_info;
mod verify_backup;
mod wal_host;
mod wal_only;
mod wal_range;

pub use archive_index::ArchiveInUse;
pub use archive_wal::{ArchiveError, ArchiveOptions};
pub use backup::{BackupError, BackupName, BackupNameError, BackupOptions, BackupReport, BackupStepError};
pub use chain::ChainError;
pub use check::{CheckLine, CheckOptions, CheckReport};
pub use completeness::CompletenessError;
pub use config_switch::{ModelSwitched, ReceiverRestart, SettingChange, SwitchModelError};
pub use context::{Context, Observer, Silent, local_now};
pub use cron::{CheckBackupError, CronError, CronJob, CronTrouble, RetentionError};
pub use diagnose::{DiagnoseError, ServerDiagnosis};
pub use event::{Event, Progress, WalSource};
pub use export_backup::{ExportError, ExportOptions, ExportReport};
pub use generate_manifest::GenerateManifestError;
pub use get_wal::{GetWalError, GetWalOptions, WalForm};
pub use hooks::HookAbort;
pub use import_backup::{ImportBackupError, ImportReport};
pub use keep::KeepError;
pub use list_backups::{BackupList, ListBackupsError, ListedBackup};
pub use list_files::{FilesTarget, ListFilesError, ListFilesOptions};
pub use object_store::ObjectStoreError;
pub use processes::{ProcessError, RunningTask, Task};
pub use receive_wal::{ReceiveReset, ReceiveWalError, SlotCreated, SlotDropped};
pub use remote::{ArchiverStatus, Remote, SlotLag, SlotStatus};
pub use replication_status::{
    ClientKind, ReplicationStatus, ReplicationStatusError, StatusSource, StreamingClient, SyncStage,
};
pub use report::{ReportOptions, ServerReport};
pub use restore::{RestoreError, RestoreOptions, RestorePlan, RestorePlanError, RestoreReport};
pub use server::{OpenError, Server, ServerConnectError};
pub use show_backup::BackupDetails;
pub use switch_wal::{SwitchError, Switched};
pub use sync::{SyncError, SyncInfoError, SyncStart, SyncWork, SyncedBackup, SyncedWals};
pub use system_info::SystemInfo;
pub use verify_backup::{BackupVerifyError, BackupVerifyOptions, BackupVerifyReport, VerifiedMember};
pub use wal_errors::{WalErrorsAction, WalErrorsError, WalErrorsOptions, WalErrorsReport};
pub use wal_find::{WalFindError, WalFindOptions, WalFindReport};
pub use wal_index::{IndexWalError, WalIndexOptions, WalIndexReport};
pub use wal_only::{BackupTrace, WalTrimError};
pub use wal_range::WalRangeFault;
pub use wal_usage::WalUsage;
pub use wal_verify::{WalVerifyError, WalVerifyOptions, WalVerifyReport};

/// Processors this process may use: how many threads work on many files at a time.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
