//! A server's settings as an object, in the order and with the values of Barman 3.19's `sync-info`.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Value, json};

use crate::config::{ServerConfig, Value as Setting, mask_passwords};
use crate::text::human_duration;

/// Barman's own order of its keys.
const ORDER: &str = "\
active archiver archiver_batch_size autogenerate_manifest aws_check_object_lock aws_encryption aws_read_timeout \
aws_await_snapshots_timeout aws_snapshot_lock_mode aws_snapshot_lock_duration aws_snapshot_lock_cool_off_period \
aws_snapshot_lock_expiration_date aws_profile aws_region aws_sse_kms_key_id azure_credential \
azure_resource_group azure_subscription_id backup_compression backup_compression_format backup_compression_level \
backup_compression_location backup_compression_workers backup_directory backup_method backup_options \
bandwidth_limit basebackup_retry_sleep basebackup_retry_times basebackups_directory check_timeout \
cloud_delete_batch_size cloud_staging_directory cloud_staging_max_size cloud_upload_max_archive_size \
cloud_upload_min_chunk_size cloud_wal_archive_parallel cloud_wal_restore_parallel cluster compression \
compression_level conninfo custom_compression_filter custom_decompression_filter custom_compression_magic \
description disabled encryption encryption_key_id encryption_passphrase_command errors_directory \
forward_config_path gcp_project gcp_zone immediate_checkpoint incoming_wals_directory keepalive_interval \
last_backup_maximum_age last_backup_minimum_size last_wal_maximum_age combine_mode local_staging_path \
max_incoming_wals_queue minimum_redundancy network_compression parallel_jobs parallel_jobs_start_batch_period \
parallel_jobs_start_batch_size path_prefix post_archive_retry_script post_archive_script \
post_backup_retry_script post_backup_script post_delete_script post_delete_retry_script \
post_recovery_retry_script post_recovery_script post_wal_delete_script post_wal_delete_retry_script \
pre_archive_retry_script pre_archive_script pre_backup_retry_script pre_backup_script pre_delete_script \
pre_delete_retry_script pre_recovery_retry_script pre_recovery_script pre_wal_delete_script \
pre_wal_delete_retry_script primary_checkpoint_timeout primary_conninfo primary_ssh_command recovery_options \
recovery_staging_path create_slot retention_policy retention_policy_mode reuse_backup slot_name snapshot_disks \
snapshot_gcp_project snapshot_instance snapshot_provider snapshot_zone ssh_command staging_path staging_location \
streaming_archiver streaming_archiver_batch_size streaming_archiver_name streaming_backup_name \
streaming_conninfo streaming_wals_directory tablespace_bandwidth_limit wal_conninfo wal_retention_policy \
wal_streaming_conninfo wals_directory warehousepg_dbid worm_mode xlogdb_directory name";

/// All settings of a server as they are in force; passwords are left out, for who asks needs none.
pub(super) struct ConfigJson<'a>(pub(super) &'a ServerConfig);

impl Serialize for ConfigJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let settings = self.0.in_force();
        let mut map = serializer.serialize_map(None)?;
        for key in ORDER.split_ascii_whitespace() {
            let value = match settings.get(key) {
                Some(setting) => json(key, &setting.value),
                None if key == "name" => json!(self.0.name.as_str()),
                None => Value::Null,
            };
            map.serialize_entry(key, &value)?;
        }
        map.end()
    }
}

fn json(key: &str, setting: &Setting) -> Value {
    match setting {
        Setting::Unset => Value::Null,
        Setting::Bool(value) => json!(value),
        Setting::Int(value) => json!(value),
        Setting::Text(text) if key == "encryption" && text == "none" => Value::Null,
        // A command may be given one as well (`PGPASSWORD=…`).
        Setting::Text(text) => json!(mask_passwords(text)),
        Setting::Interval(length) => json!(human_duration(*length)),
        Setting::List(words) => json!(words),
        Setting::Rates(rates) => rates.iter().map(|(name, rate)| (name.clone(), json!(rate))).collect(),
        Setting::Options(words) => json!(words.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
    }
}
