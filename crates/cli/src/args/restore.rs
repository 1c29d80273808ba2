//! `restore`.

use std::path::PathBuf;

use super::values::{TargetAction, TargetTli, non_negative, positive, target_action, target_tli};

/// `--staging-location`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum StagingLocation {
    /// On this host.
    Local,
    /// On the host that is restored to.
    Remote,
}

/// `--combine-mode`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum CombineMode {
    /// Ordinary copies.
    Copy,
    /// Hard links.
    Link,
    /// Reflinks.
    Clone,
    /// `copy_file_range`.
    CopyFileRange,
}

impl CombineMode {
    /// As in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Link => "link",
            Self::Clone => "clone",
            Self::CopyFileRange => "copy-file-range",
        }
    }
}

/// `--sync-method`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum SyncMethod {
    /// An fsync of each file.
    Fsync,
    /// `syncfs` of the file systems.
    Syncfs,
}

impl From<SyncMethod> for tapster_copy::SyncMethod {
    fn from(method: SyncMethod) -> Self {
        match method {
            SyncMethod::Fsync => Self::Fsync,
            SyncMethod::Syncfs => Self::Syncfs,
        }
    }
}

/// How far recovery goes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Targets {
    /// timeline to recover along: a number, 'current' or 'latest'
    #[arg(long, value_parser = target_tli, allow_negative_numbers = true)]
    pub(crate) target_tli: Option<TargetTli>,
    /// recover to this time, such as "2026-11-21 00:07:20.915+00"
    #[arg(long)]
    pub(crate) target_time: Option<String>,
    /// recover to this transaction
    #[arg(long)]
    pub(crate) target_xid: Option<String>,
    /// recover to this position in the WAL
    #[arg(long)]
    pub(crate) target_lsn: Option<String>,
    /// recover to this restore point
    #[arg(long)]
    pub(crate) target_name: Option<String>,
    /// stop as soon as the backup is consistent
    #[arg(long)]
    pub(crate) target_immediate: bool,
    /// stop just before the target
    #[arg(long)]
    pub(crate) exclusive: bool,
}

/// Restore a backup, to its end or to a later point in time.
///
/// First it is planned: which WAL files are needed, whether they are there, and whether the target can be reached. Nothing is
/// written before the plan holds; --dry-run shows it.
#[derive(Clone, Debug, clap::Parser)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// put a tablespace elsewhere; may be repeated
    #[arg(long, value_name = "NAME:LOCATION")]
    pub(crate) tablespace: Vec<String>,
    /// restore to another host through this ssh command
    #[arg(long, value_name = "SSH_COMMAND")]
    pub(crate) remote_ssh_command: Option<String>,
    /// where the WAL of a point-in-time recovery goes instead of barman_wal in the destination
    #[arg(long)]
    pub(crate) staging_wal_directory: Option<PathBuf>,
    /// at most this many kilobytes per second; 0 means no limit
    #[arg(long, value_name = "KBPS", value_parser = non_negative, allow_negative_numbers = true)]
    pub(crate) bwlimit: Option<u64>,
    /// how often a failed copy is tried again
    #[arg(long, value_parser = non_negative, allow_negative_numbers = true)]
    retry_times: Option<u64>,
    /// seconds between the tries
    #[arg(long, value_parser = non_negative, allow_negative_numbers = true)]
    pub(crate) retry_sleep: Option<u64>,
    /// do not try again
    #[arg(long, overrides_with = "retry_times")]
    no_retry: bool,
    /// copy with this many workers
    #[arg(long, short, value_name = "NJOBS", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs: Option<u64>,
    /// seconds over which one batch of workers is started
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs_start_batch_period: Option<u64>,
    /// workers started in one batch
    #[arg(long, value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs_start_batch_size: Option<u64>,
    /// let the restored server fetch its WAL with get-wal
    #[arg(long, overrides_with = "no_get_wal")]
    get_wal: bool,
    /// copy the WAL now
    #[arg(long, overrides_with = "get_wal")]
    no_get_wal: bool,
    /// when the WAL is copied, also take what has arrived of an incomplete file
    #[arg(long)]
    pub(crate) partial_wal: bool,
    /// compress what goes to the other host
    #[arg(long, overrides_with = "no_network_compression")]
    network_compression: bool,
    /// do not
    #[arg(long, overrides_with = "network_compression")]
    no_network_compression: bool,
    /// what the server does at the target: pause, shutdown or promote
    #[arg(long, value_parser = target_action)]
    pub(crate) target_action: Option<TargetAction>,
    /// start the restored server as a standby
    #[arg(long)]
    pub(crate) standby_mode: bool,
    /// with --standby-mode, where the standby streams from: its primary_conninfo
    #[arg(long, value_name = "CONNINFO", hide_short_help = true)]
    pub(crate) primary_conninfo: Option<String>,
    /// with --standby-mode, the replication slot it uses there: its primary_slot_name
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(crate) primary_slot_name: Option<String>,
    /// deprecated: --staging-path on the host that is restored to
    #[arg(long)]
    pub(crate) recovery_staging_path: Option<PathBuf>,
    /// deprecated: --staging-path on this host
    #[arg(long)]
    pub(crate) local_staging_path: Option<PathBuf>,
    /// scratch directory for decompressing, decrypting and combining
    #[arg(long)]
    pub(crate) staging_path: Option<PathBuf>,
    /// the host --staging-path is on
    #[arg(long, value_enum)]
    pub(crate) staging_location: Option<StagingLocation>,
    /// how files of incremental backups are combined
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) combine_mode: Option<CombineMode>,
    /// file that gets the recovery settings (default: postgresql.auto.conf)
    #[arg(long)]
    pub(crate) recovery_conf_filename: Option<String>,
    /// ssh port in the generated restore_command
    #[arg(long)]
    pub(crate) recovery_option_port: Option<String>,
    /// use this restore_command instead of the generated one; only with get-wal
    #[arg(long)]
    pub(crate) restore_command: Option<String>,
    /// reuse what the destination already holds
    #[arg(long, overrides_with = "no_delta_restore")]
    delta_restore: bool,
    /// demand an empty destination
    #[arg(long, overrides_with = "delta_restore")]
    no_delta_restore: bool,
    /// how the files are brought to disk here: all at once, with what others write there, or one by one
    #[arg(long, value_enum, value_name = "METHOD", default_value = "syncfs", hide_short_help = true)]
    pub(crate) sync_method: SyncMethod,
    /// say what would be done and whether it can be, without writing anything
    #[arg(long, hide_short_help = true)]
    pub(crate) dry_run: bool,
    /// instance that has the disks made from the snapshots
    #[arg(long)]
    pub(crate) snapshot_recovery_instance: Option<String>,
    /// deprecated: --gcp-zone
    #[arg(long)]
    pub(crate) snapshot_recovery_zone: Option<String>,
    /// zone of that instance and its disks
    #[arg(long)]
    pub(crate) gcp_zone: Option<String>,
    /// resource group of that instance and its disks
    #[arg(long)]
    pub(crate) azure_resource_group: Option<String>,
    /// region of that instance and its disks
    #[arg(long)]
    pub(crate) aws_region: Option<String>,
    /// the server
    #[arg(value_name = "server_name")]
    pub(crate) server: String,
    /// an id, a name, a word such as 'latest', or 'auto' to choose by the target
    #[arg(value_name = "backup_id")]
    pub(crate) backup: String,
    /// directory of the new server
    #[arg(value_name = "destination_directory")]
    pub(crate) destination: PathBuf,
}

impl RestoreArgs {
    /// Whether the server fetches WAL itself, if that was said.
    pub(crate) fn get_wal(&self) -> Option<bool> {
        super::switch(self.get_wal, self.no_get_wal)
    }

    /// Further attempts of a copy that failed, if that was said.
    pub(crate) fn retry_times(&self) -> Option<u64> {
        if self.no_retry { Some(0) } else { self.retry_times }
    }

    /// Whether to compress on the network, if that was said.
    pub(crate) fn network_compression(&self) -> Option<bool> {
        super::switch(self.network_compression, self.no_network_compression)
    }

    /// Whether to reuse the destination, if that was said.
    pub(crate) fn delta_restore(&self) -> Option<bool> {
        super::switch(self.delta_restore, self.no_delta_restore)
    }
}
