//! What each configuration key means. Types, defaults and scopes come from the manager's table; tests hold the two together.

/// Every key of a server that has an effect, sorted.
pub(super) const SERVER: &[(&str, &str)] = &[
    (
        "active",
        "Whether the server is backed up. Of one that is not, backups can still be listed and restored.",
    ),
    ("archiver", "Whether WAL arrives in incoming_wals_directory, by archive_command."),
    (
        "archiver_batch_size",
        "How many files from incoming_wals_directory one run of archive-wal takes; 0 for all.",
    ),
    (
        "autogenerate_manifest",
        "With backup_method = rsync or local-rsync: write a backup_manifest after each backup.",
    ),
    (
        "aws_check_object_lock",
        "With backups in S3: look whether an object is locked before a backup is deleted, which is a request for each of them.",
    ),
    (
        "aws_encryption",
        "With backups or WAL in S3: how the store encrypts what is written, AES256 or aws:kms.",
    ),
    (
        "aws_profile",
        "With backups or WAL in S3: the section of the shared configuration files with the credentials.",
    ),
    ("aws_read_timeout", "With backups or WAL in S3: seconds within which an answer must come."),
    ("aws_region", "With backups or WAL in S3: the region of the bucket."),
    ("aws_sse_kms_key_id", "With aws_encryption = aws:kms: the key."),
    (
        "azure_credential",
        "With backups or WAL in Azure: where credentials come from unless the environment has them: azure-cli, managed-identity or default.",
    ),
    (
        "backup_compression",
        "With backup_method = postgres: compress backups. They are stored as tar archives then.",
    ),
    (
        "backup_compression_format",
        "How compressed backups are stored. 'plain' needs backup_compression_location = server: compressed is only the transfer.",
    ),
    (
        "backup_compression_level",
        "The level of backup_compression: 1 to 9 for gzip, 0 to 12 for lz4, up to 22 for zstd.",
    ),
    ("backup_compression_location", "Where backups are compressed. 'server' needs PostgreSQL 15 or later."),
    ("backup_compression_workers", "How many threads zstd uses."),
    ("backup_directory", "Where everything of the server is."),
    (
        "backup_method",
        "How base backups are taken. 'postgres': over the replication protocol; 'rsync': file by file over ssh; 'local-rsync': file by file on this host. 'local-to-cloud': file by file on this host into the object store that basebackups_directory names. 'snapshot' does not work in this version.",
    ),
    (
        "backup_options",
        "How files are copied. 'external_configuration' leaves out configuration files that are outside of the data directory. 'exclusive_backup' is for PostgreSQL before 15.",
    ),
    ("bandwidth_limit", "At most this many kilobytes per second for a backup or a restore."),
    ("basebackup_retry_sleep", "Seconds between the tries of a copy that fails."),
    ("basebackup_retry_times", "How often a copy that fails is tried again."),
    (
        "basebackups_directory",
        "Where the server's base backups are: a directory, or an address such as s3://bucket/prefix, gs://bucket/prefix or https://ACCOUNT.blob.core.windows.net/container/prefix. Endpoint and credentials come from the environment and from the files of the provider's own tools.",
    ),
    (
        "check_timeout",
        "Seconds after which a check, and the checks before a backup, count as failed; 0 means no limit.",
    ),
    (
        "cloud_delete_batch_size",
        "With backups or WAL in an object store: how many objects one request removes.",
    ),
    (
        "cloud_upload_max_archive_size",
        "With backups in an object store: after so many bytes an archive goes on in another object.",
    ),
    (
        "cloud_upload_min_chunk_size",
        "With backups in an object store: the bytes of one part of an upload, at least.",
    ),
    ("cluster", "Which models are the server's."),
    ("combine_mode", "How the files of incremental backups get into a restored directory."),
    ("compression", "How WAL is compressed in the archive. pygzip and pybzip2 are gzip and bzip2."),
    ("compression_level", "How hard that tries. A number is one of the algorithm's own levels."),
    ("conninfo", "Connection string of the server, for queries and for backups by rsync. Required."),
    ("create_slot", "'auto': the replication slot is created when it is missing."),
    (
        "custom_compression_filter",
        "With compression = custom: the command that compresses what it reads. Deprecated.",
    ),
    (
        "custom_compression_magic",
        "The first bytes of what that command writes, as 0x and hexadecimal digits. Deprecated.",
    ),
    ("custom_decompression_filter", "The command that undoes it. Deprecated."),
    ("description", "Text for people."),
    ("disabled", "Set by the program for a server whose settings contradict each other; not to be set."),
    ("encryption", "Encrypt WAL and backups. Backups must be tar archives."),
    ("encryption_key_id", "For whom gpg encrypts: a key in the keyring of barman_user."),
    (
        "encryption_passphrase_command",
        "The command that prints the passphrase of the key, for reading and restoring.",
    ),
    ("errors_directory", "Where files go that came for the archive and cannot be archived."),
    (
        "forward_config_path",
        "On a passive node: run the program on the primary node with the path of this configuration file.",
    ),
    ("immediate_checkpoint", "Begin backups with a fast checkpoint."),
    ("incoming_wals_directory", "Where archive_command puts WAL."),
    (
        "keepalive_interval",
        "While files are copied, ask the server for a sign of life every so many seconds; 0 for never.",
    ),
    ("last_backup_maximum_age", "check fails when the newest backup is older."),
    ("last_backup_minimum_size", "check fails when the newest backup is smaller."),
    ("last_wal_maximum_age", "check fails when the newest archived WAL is older."),
    ("local_staging_path", "Deprecated: staging_path with staging_location = local."),
    ("max_incoming_wals_queue", "check fails when more files wait to be archived."),
    (
        "minimum_redundancy",
        "How many backups there must be at least: none of these is deleted, and check fails when there are fewer.",
    ),
    ("network_compression", "Compress what rsync and a restore to another host transfer."),
    ("parallel_jobs", "How many workers copy files."),
    ("parallel_jobs_start_batch_period", "Seconds over which one batch of workers is started."),
    ("parallel_jobs_start_batch_size", "How many workers are started in one batch."),
    ("path_prefix", "Directories in front of PATH, separated by colons, for the programs that are called."),
    (
        "post_archive_retry_script",
        "Run after a WAL file is archived, again and again until it succeeds or exits with 62 or 63.",
    ),
    ("post_archive_script", "Run after a WAL file is archived."),
    (
        "post_backup_retry_script",
        "Run after a backup, again and again until it succeeds or exits with 62 or 63.",
    ),
    ("post_backup_script", "Run after a backup."),
    (
        "post_delete_retry_script",
        "Run after a backup is deleted, again and again until it succeeds or exits with 62 or 63.",
    ),
    ("post_delete_script", "Run after a backup is deleted."),
    (
        "post_recovery_retry_script",
        "Run after a restore, again and again until it succeeds or exits with 62 or 63.",
    ),
    ("post_recovery_script", "Run after a restore."),
    (
        "post_wal_delete_retry_script",
        "Run after a WAL file is deleted, again and again until it succeeds or exits with 62 or 63.",
    ),
    ("post_wal_delete_script", "Run after a WAL file is deleted."),
    (
        "pre_archive_retry_script",
        "Run before a WAL file is archived, until it succeeds or exits with 62 (go on) or 63 (do not archive it).",
    ),
    ("pre_archive_script", "Run before a WAL file is archived."),
    (
        "pre_backup_retry_script",
        "Run before a backup, until it succeeds or exits with 62 (go on) or 63 (no backup).",
    ),
    ("pre_backup_script", "Run before a backup."),
    (
        "pre_delete_retry_script",
        "Run before a backup is deleted, until it succeeds or exits with 62 (go on) or 63 (do not delete it).",
    ),
    ("pre_delete_script", "Run before a backup is deleted."),
    (
        "pre_recovery_retry_script",
        "Run before a restore, until it succeeds or exits with 62 (go on) or 63 (no restore).",
    ),
    ("pre_recovery_script", "Run before a restore."),
    (
        "pre_wal_delete_retry_script",
        "Run before a WAL file is deleted, until it succeeds or exits with 62 (go on) or 63 (do not delete it).",
    ),
    ("pre_wal_delete_script", "Run before a WAL file is deleted."),
    (
        "primary_checkpoint_timeout",
        "When a standby is backed up: after so many seconds, force a checkpoint on its primary; 0 for never.",
    ),
    (
        "primary_conninfo",
        "When a standby is backed up: connection string of its primary, where WAL is switched.",
    ),
    (
        "primary_ssh_command",
        "Makes this host a passive node for the server: the ssh command to the host it copies backups and WAL from.",
    ),
    (
        "recovery_options",
        "'get-wal': restored servers fetch their WAL from here; 'delta-restore': a restore keeps what is right in its destination.",
    ),
    ("recovery_staging_path", "Deprecated: staging_path with staging_location = remote."),
    (
        "retention_policy",
        "Which backups are not obsolete: 'REDUNDANCY 3', the newest three, or 'RECOVERY WINDOW OF 2 WEEKS', those that are needed to reach any moment of the last two weeks. Without it, all are kept.",
    ),
    ("retention_policy_mode", "'auto': cron and run delete obsolete backups."),
    (
        "reuse_backup",
        "With backup_method = rsync or local-rsync: 'link' makes hard links to unchanged files of the previous backup, 'copy' copies these, 'off' takes everything from the server.",
    ),
    ("slot_name", "The physical replication slot by which the server keeps WAL for the receiver."),
    (
        "ssh_command",
        "How to reach the database host, such as 'ssh postgres@db1': needed by backup_method = rsync.",
    ),
    ("staging_location", "The host that staging_path is on, in a restore to another host."),
    (
        "staging_path",
        "Scratch directory of restores, for backups that must be decompressed, decrypted or combined.",
    ),
    ("streaming_archiver", "Whether WAL is received over the replication protocol."),
    ("streaming_archiver_batch_size", "How many received files one run of archive-wal takes; 0 for all."),
    ("streaming_archiver_name", "application_name of the WAL receiver."),
    ("streaming_backup_name", "application_name of base backups."),
    ("streaming_conninfo", "Connection string for the replication protocol."),
    ("streaming_wals_directory", "Where received WAL is until it is archived."),
    (
        "tablespace_bandwidth_limit",
        "Limits for single tablespaces, as 'name:kilobytes_per_second', separated by blanks.",
    ),
    ("tapster_failed_backup_retention", "How long failed backups are kept."),
    (
        "tapster_retention_policy",
        "A retention policy in place of retention_policy; also one that Barman does not have: 'KEEP 7 DAILY 4 WEEKLY 12 MONTHLY'.",
    ),
    (
        "tapster_wal_only",
        "Says that there are no backups of the server, whatever traces of some are found: tapster_wal_only_retention then removes WAL.",
    ),
    ("tapster_wal_only_retention", "How long WAL is kept of a server that has no backups."),
    ("wal_conninfo", "Connection string of the host that WAL is received from, when it is another one."),
    ("wal_retention_policy", "Which WAL is kept: 'main', what the backups need."),
    ("wal_streaming_conninfo", "The same for the replication protocol."),
    (
        "wals_directory",
        "Where the server's WAL archive is: a directory, or an address as for basebackups_directory.",
    ),
    ("worm_mode", "The archive cannot be changed afterwards: WAL from before the first backup stays."),
    ("xlogdb_directory", "Where the index of the WAL archive is."),
];

/// Keys that belong to cloud storage, cloud snapshots and WarehousePG, sorted.
pub(super) const WITHOUT_EFFECT: &[&str] = &[
    "aws_await_snapshots_timeout",
    "aws_snapshot_lock_cool_off_period",
    "aws_snapshot_lock_duration",
    "aws_snapshot_lock_expiration_date",
    "aws_snapshot_lock_mode",
    "azure_resource_group",
    "azure_subscription_id",
    "cloud_staging_directory",
    "cloud_staging_max_size",
    "cloud_wal_archive_parallel",
    "cloud_wal_restore_parallel",
    "gcp_project",
    "gcp_zone",
    "snapshot_disks",
    "snapshot_gcp_project",
    "snapshot_instance",
    "snapshot_provider",
    "snapshot_zone",
    "warehousepg_dbid",
];

/// The keys of `[barman]` alone, with type and default.
pub(super) const GLOBAL: &[(&str, &str, &str, &str)] = &[
    ("barman_home", "path", "", "The root of everything that is stored. Required."),
    (
        "barman_lock_directory",
        "path",
        "barman_home",
        "Where lock files are. Two programs that share barman_home must share it too.",
    ),
    (
        "barman_user",
        "name",
        "barman",
        "The system user the program runs as. Started by root, it becomes that user.",
    ),
    (
        "config_changes_queue",
        "path",
        "<barman_home>/cfg_changes.queue",
        "Where config-update writes down changes before it makes them.",
    ),
    (
        "configuration_files_directory",
        "path",
        "",
        "Every *.conf file of that directory is read too, in the order of their names.",
    ),
    ("lock_directory_cleanup", "true or false", "true", "Whether cron removes lock files that nobody holds."),
    ("log_file", "path", "", "Where messages are logged: to standard error without it."),
    (
        "log_level",
        "DEBUG, INFO, WARNING, ERROR, CRITICAL",
        "INFO",
        "Which messages are logged: these and worse.",
    ),
];

#[cfg(test)]
mod tests {
    use tapster_manager::config::{GLOBAL_KEYS, SERVER_KEYS};

    use super::*;

    #[test]
    fn every_key_is_explained_and_no_other() {
        let mut explained: Vec<&str> =
            SERVER.iter().map(|(key, _)| *key).chain(WITHOUT_EFFECT.iter().copied()).collect();
        explained.sort_unstable();
        let table: Vec<&str> = SERVER_KEYS.iter().map(|spec| spec.name).collect();
        assert_eq!(explained, table);
        let global: Vec<&str> = GLOBAL.iter().map(|(key, ..)| *key).collect();
        assert_eq!(global, GLOBAL_KEYS);
        assert!(SERVER.is_sorted() && WITHOUT_EFFECT.is_sorted());
    }
}
