//! Every key of a server section: those of Barman 3.19.1, and ours.

use super::value::Kind;

/// What is known of one key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KeySpec {
    /// Its name, in lower case.
    pub name: &'static str,
    /// What its values look like.
    pub kind: Kind,
    /// Whether `[barman]` can set it for all servers. Elsewhere there it is accepted and has no effect.
    pub global: bool,
    /// Whether a model can override it.
    pub model: bool,
    /// The default, before `%(…)s` expansion.
    pub default: Option<&'static str>,
}

const fn key(
    name: &'static str,
    kind: Kind,
    global: bool,
    model: bool,
    default: Option<&'static str>,
) -> KeySpec {
    KeySpec { name, kind, global, model, default }
}

/// The keys that only `[barman]` has.
pub const GLOBAL_KEYS: &[&str] = &[
    "barman_home",
    "barman_lock_directory",
    "barman_user",
    "config_changes_queue",
    "configuration_files_directory",
    "lock_directory_cleanup",
    "log_file",
    "log_level",
];

/// What the names of the keys begin with that Barman does not have. Of each it finds it says that it does not know it, and goes
/// on.
pub const OWN_PREFIX: &str = "tapster_";

/// What is known of a server key.
pub fn server_key(name: &str) -> Option<&'static KeySpec> {
    SERVER_KEYS.binary_search_by(|spec| spec.name.cmp(name)).ok().and_then(|at| SERVER_KEYS.get(at))
}

/// The keys of a model section, `model` itself left out.
pub fn model_keys() -> impl Iterator<Item = &'static KeySpec> {
    SERVER_KEYS.iter().filter(|spec| spec.model)
}

/// The keys of a server section, ours among them, sorted by name, which is also the order in which their values are judged.
///
/// The columns: name, kind, settable in `[barman]`, settable in a model, default.
#[rustfmt::skip]
pub const SERVER_KEYS: &[KeySpec] = &[
    key("active", Kind::Bool, false, true, Some("true")),
    key("archiver", Kind::Bool, true, true, Some("off")),
    key("archiver_batch_size", Kind::Int, true, true, Some("0")),
    key("autogenerate_manifest", Kind::Bool, true, true, Some("false")),
    key("aws_await_snapshots_timeout", Kind::Int, true, true, Some("3600")),
    key("aws_check_object_lock", Kind::Bool, true, true, Some("off")),
    key("aws_encryption", Kind::AwsEncryption, true, true, None),
    key("aws_profile", Kind::Text, true, true, None),
    key("aws_read_timeout", Kind::Int, true, true, None),
    key("aws_region", Kind::Text, true, true, None),
    key("aws_snapshot_lock_cool_off_period", Kind::Int, true, true, None),
    key("aws_snapshot_lock_duration", Kind::Int, true, true, None),
    key("aws_snapshot_lock_expiration_date", Kind::Text, true, true, None),
    key("aws_snapshot_lock_mode", Kind::Text, true, true, None),
    key("aws_sse_kms_key_id", Kind::Text, true, true, None),
    key("azure_credential", Kind::Text, true, true, None),
    key("azure_resource_group", Kind::Text, true, true, None),
    key("azure_subscription_id", Kind::Text, true, true, None),
    key("backup_compression", Kind::BackupCompression, true, true, None),
    key("backup_compression_format", Kind::BackupCompressionFormat, true, true, None),
    key("backup_compression_level", Kind::Int, true, true, None),
    key("backup_compression_location", Kind::BackupCompressionLocation, true, true, None),
    key("backup_compression_workers", Kind::Int, true, true, None),
    key("backup_directory", Kind::Text, false, false, Some("%(barman_home)s/%(name)s")),
    key("backup_method", Kind::BackupMethod, true, true, Some("rsync")),
    key("backup_options", Kind::BackupOptions, true, true, Some("")),
    key("bandwidth_limit", Kind::Text, true, true, None),
    key("basebackup_retry_sleep", Kind::Int, true, true, Some("30")),
    key("basebackup_retry_times", Kind::Int, true, true, Some("0")),
    key("basebackups_directory", Kind::PathOrUrl, false, false, Some("%(backup_directory)s/base")),
    key("check_timeout", Kind::Int, true, true, Some("30")),
    key("cloud_delete_batch_size", Kind::Int, true, true, None),
    key("cloud_staging_directory", Kind::AbsolutePath, true, true, Some("/tmp/barman/cloud-staging")),
    key("cloud_staging_max_size", Kind::Size, true, true, Some("30Gi")),
    key("cloud_upload_max_archive_size", Kind::Size, false, true, Some("100Gi")),
    key("cloud_upload_min_chunk_size", Kind::Size, false, true, None),
    key("cloud_wal_archive_parallel", Kind::Int, true, true, Some("0")),
    key("cloud_wal_restore_parallel", Kind::Int, true, true, Some("0")),
    key("cluster", Kind::Text, false, true, Some("%(name)s")),
    key("combine_mode", Kind::CombineMode, true, true, Some("copy")),
    key("compression", Kind::Compression, true, true, None),
    key("compression_level", Kind::CompressionLevel, true, true, Some("medium")),
    key("conninfo", Kind::Text, false, true, None),
    key("create_slot", Kind::CreateSlot, true, true, Some("manual")),
    key("custom_compression_filter", Kind::Text, true, true, None),
    key("custom_compression_magic", Kind::Text, true, true, None),
    key("custom_decompression_filter", Kind::Text, true, true, None),
    key("description", Kind::Text, false, true, None),
    key("disabled", Kind::Bool, false, true, Some("false")),
    key("encryption", Kind::Encryption, true, true, Some("none")),
    key("encryption_key_id", Kind::Text, true, true, None),
    key("encryption_passphrase_command", Kind::Text, true, true, None),
    key("errors_directory", Kind::Text, false, false, Some("%(backup_directory)s/errors")),
    key("forward_config_path", Kind::Bool, true, true, Some("false")),
    key("gcp_project", Kind::Text, true, true, None),
    key("gcp_zone", Kind::Text, false, true, None),
    key("immediate_checkpoint", Kind::Bool, true, true, Some("false")),
    key("incoming_wals_directory", Kind::Text, false, false, Some("%(backup_directory)s/incoming")),
    key("keepalive_interval", Kind::Int, false, true, Some("60")),
    key("last_backup_maximum_age", Kind::Interval, true, true, None),
    key("last_backup_minimum_size", Kind::Size, true, true, None),
    key("last_wal_maximum_age", Kind::Interval, true, true, None),
    key("local_staging_path", Kind::AbsolutePath, true, true, None),
    key("max_incoming_wals_queue", Kind::Int, true, true, None),
    key("minimum_redundancy", Kind::Text, true, true, Some("0")),
    key("network_compression", Kind::Bool, true, true, Some("false")),
    key("parallel_jobs", Kind::Int, true, true, Some("1")),
    key("parallel_jobs_start_batch_period", Kind::Int, true, true, Some("1")),
    key("parallel_jobs_start_batch_size", Kind::Int, true, true, Some("10")),
    key("path_prefix", Kind::Text, true, true, None),
    key("post_archive_retry_script", Kind::Text, true, false, None),
    key("post_archive_script", Kind::Text, true, false, None),
    key("post_backup_retry_script", Kind::Text, true, false, None),
    key("post_backup_script", Kind::Text, true, false, None),
    key("post_delete_retry_script", Kind::Text, true, false, None),
    key("post_delete_script", Kind::Text, true, false, None),
    key("post_recovery_retry_script", Kind::Text, true, false, None),
    key("post_recovery_script", Kind::Text, true, false, None),
    key("post_wal_delete_retry_script", Kind::Text, true, false, None),
    key("post_wal_delete_script", Kind::Text, true, false, None),
    key("pre_archive_retry_script", Kind::Text, true, false, None),
    key("pre_archive_script", Kind::Text, true, false, None),
    key("pre_backup_retry_script", Kind::Text, true, false, None),
    key("pre_backup_script", Kind::Text, true, false, None),
    key("pre_delete_retry_script", Kind::Text, true, false, None),
    key("pre_delete_script", Kind::Text, true, false, None),
    key("pre_recovery_retry_script", Kind::Text, true, false, None),
    key("pre_recovery_script", Kind::Text, true, false, None),
    key("pre_wal_delete_retry_script", Kind::Text, true, false, None),
    key("pre_wal_delete_script", Kind::Text, true, false, None),
    key("primary_checkpoint_timeout", Kind::Int, false, true, Some("0")),
    key("primary_conninfo", Kind::Text, false, true, None),
    key("primary_ssh_command", Kind::Text, true, true, None),
    key("recovery_options", Kind::RecoveryOptions, true, true, Some("")),
    key("recovery_staging_path", Kind::AbsolutePath, true, true, None),
    key("retention_policy", Kind::Text, true, true, None),
    key("retention_policy_mode", Kind::Text, true, true, Some("auto")),
    key("reuse_backup", Kind::ReuseBackup, true, true, None),
    key("slot_name", Kind::SlotName, true, true, None),
    key("snapshot_disks", Kind::List, false, true, None),
    key("snapshot_gcp_project", Kind::Text, true, true, None),
    key("snapshot_instance", Kind::Text, false, true, None),
    key("snapshot_provider", Kind::Text, true, true, None),
    key("snapshot_zone", Kind::Text, false, true, None),
    key("ssh_command", Kind::Text, false, true, None),
    key("staging_location", Kind::StagingLocation, true, true, Some("local")),
    key("staging_path", Kind::AbsolutePath, true, true, None),
    key("streaming_archiver", Kind::Bool, true, true, Some("off")),
    key("streaming_archiver_batch_size", Kind::Int, true, true, Some("0")),
    key("streaming_archiver_name", Kind::Text, true, true, Some("barman_receive_wal")),
    key("streaming_backup_name", Kind::Text, true, true, Some("barman_streaming_backup")),
    key("streaming_conninfo", Kind::Text, false, true, Some("%(conninfo)s")),
    key("streaming_wals_directory", Kind::Text, false, false, Some("%(backup_directory)s/streaming")),
    key("tablespace_bandwidth_limit", Kind::Text, true, true, None),
    key("tapster_failed_backup_retention", Kind::Interval, true, true, None),
    key("tapster_retention_policy", Kind::Text, true, true, None),
    key("tapster_wal_only", Kind::Bool, false, false, Some("false")),
    key("tapster_wal_only_retention", Kind::Interval, true, true, None),
    key("wal_conninfo", Kind::Text, false, true, None),
    key("wal_retention_policy", Kind::Text, true, true, Some("main")),
    key("wal_streaming_conninfo", Kind::Text, false, true, None),
    key("wals_directory", Kind::PathOrUrl, false, false, Some("%(backup_directory)s/wals")),
    key("warehousepg_dbid", Kind::Int, true, true, None),
    key("worm_mode", Kind::Bool, true, true, Some("off")),
    key("xlogdb_directory", Kind::Text, true, false, Some("%(wals_directory)s")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert!(SERVER_KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
        let barmans = || SERVER_KEYS.iter().filter(|k| !k.name.starts_with(OWN_PREFIX));
        assert_eq!(barmans().count(), 121);
        assert_eq!(barmans().filter(|k| k.global).count(), 97);
        assert!(SERVER_KEYS.iter().all(|k| server_key(k.name) == Some(k)));
        assert_eq!(server_key("nothing"), None);
    }
}
