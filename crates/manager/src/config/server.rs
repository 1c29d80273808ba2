//! One server's settings, typed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tapster_catalog::{ServerLayout, ServerName};
use tapster_retention::Policy;
use time::Duration;

use super::global::GlobalConfig;
use super::place::StoragePlace;
use super::resolve::{ModelConfig, Resolved, Source, Values};
use super::value::Value;
use super::warning::ConfigWarning;

/// `backup_method`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "each is the method of that name")]
pub enum BackupMethod {
    Rsync,
    Postgres,
    LocalRsync,
    Snapshot,
    LocalToCloud,
}

/// `reuse_backup`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ReuseBackup {
    /// Copy unchanged files from the previous backup.
    Copy,
    /// Hard-link them.
    Link,
    /// Neither.
    Off,
}

/// `compression_level`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CompressionLevel {
    /// Fast.
    Low,
    /// The usual level of the algorithm.
    Medium,
    /// Small.
    High,
    /// A level of the algorithm's own scale, not yet clamped to it.
    Number(i64),
}

/// `backup_options`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct BackupOptions {
    /// `concurrent_backup`.
    pub concurrent: bool,
    /// `exclusive_backup`, which PostgreSQL had until version 14.
    pub exclusive: bool,
    /// `external_configuration`: leave configuration files outside the data directory alone.
    pub external_configuration: bool,
}

impl BackupOptions {
    /// The options that are on, by name.
    pub(super) fn words(self) -> BTreeSet<String> {
        let options = [
            ("concurrent_backup", self.concurrent),
            ("exclusive_backup", self.exclusive),
            ("external_configuration", self.external_configuration),
        ];
        options.into_iter().filter(|(_, on)| *on).map(|(word, _)| word.to_owned()).collect()
    }
}

/// `recovery_options`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct RecoveryOptions {
    /// `get-wal`: the restored server fetches WAL by itself.
    pub get_wal: bool,
    /// `delta-restore`.
    pub delta_restore: bool,
}

/// Before or after.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum HookPhase {
    Pre,
    Post,
}

impl HookPhase {
    /// As it stands in the names of keys and in a script's environment.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

/// What a hook script belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "each is the operation of that name")]
pub enum HookEvent {
    Archive,
    Backup,
    Delete,
    WalDelete,
    Recovery,
}

impl HookEvent {
    /// As it stands in the names of keys and in a script's environment.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Backup => "backup",
            Self::Delete => "delete",
            Self::WalDelete => "wal_delete",
            Self::Recovery => "recovery",
        }
    }
}

/// The settings of one server, with defaults filled in, the active model applied, and contradictions settled.
///
/// Keys without a field are reached through [`Self::get`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "a field without a comment is the key of its name, section 5.3 of Barman's manual"
)]
pub struct ServerConfig {
    pub name: ServerName,
    pub active: bool,
    /// Whether Barman would refuse to work with it, for the reasons in `problems`.
    pub disabled: bool,
    /// What is wrong, as `check` lists it.
    pub problems: Vec<String>,
    /// Remarks for commands that work with this server.
    pub warnings: Vec<ConfigWarning>,
    /// Whether a file of the configuration, or the directory of its files, cannot be read or is not there: it may say anything about
    /// this server, so that nothing must be deleted by what is left of its settings.
    pub incomplete: bool,
    /// Settings in files of the configuration that have no effect, as `.barman.auto.conf`, which `config-update` writes and which is
    /// read last, says otherwise: the key, and the file that has it in vain.
    pub hidden: BTreeMap<String, PathBuf>,
    /// The model in force.
    pub active_model: Option<String>,
    pub description: Option<String>,
    pub cluster: String,

    /// A libpq connection string, in either form, unparsed.
    pub conninfo: Option<String>,
    /// For replication connections; `conninfo` by default.
    pub streaming_conninfo: Option<String>,
    pub wal_conninfo: Option<String>,
    pub wal_streaming_conninfo: Option<String>,
    pub primary_conninfo: Option<String>,
    /// In seconds; 0 for never.
    pub primary_checkpoint_timeout: u32,
    pub ssh_command: Option<String>,
    pub primary_ssh_command: Option<String>,
    pub forward_config_path: bool,
    pub path_prefix: Option<String>,

    pub slot_name: Option<String>,
    /// `create_slot = auto`.
    pub create_slot_auto: bool,
    pub archiver: bool,
    pub streaming_archiver: bool,
    /// 0 for all.
    pub archiver_batch_size: u32,
    /// 0 for all.
    pub streaming_archiver_batch_size: u32,
    pub streaming_archiver_name: String,
    pub streaming_backup_name: String,
    /// The algorithm's name in lower case.
    pub compression: Option<String>,
    pub compression_level: CompressionLevel,
    pub custom_compression_filter: Option<String>,
    pub custom_decompression_filter: Option<String>,
    pub max_incoming_wals_queue: Option<u32>,
    pub last_wal_maximum_age: Option<Duration>,

    pub backup_method: BackupMethod,
    pub backup_options: BackupOptions,
    pub backup_compression: Option<String>,
    pub backup_compression_format: Option<String>,
    pub backup_compression_level: Option<i64>,
    pub backup_compression_location: Option<String>,
    pub backup_compression_workers: Option<u32>,
    pub immediate_checkpoint: bool,
    /// In kB per second.
    pub bandwidth_limit: Option<u32>,
    pub tablespace_bandwidth_limit: Option<String>,
    pub network_compression: bool,
    pub parallel_jobs: u32,
    pub parallel_jobs_start_batch_period: u32,
    pub parallel_jobs_start_batch_size: u32,
    pub basebackup_retry_times: u32,
    /// In seconds.
    pub basebackup_retry_sleep: u32,
    pub reuse_backup: Option<ReuseBackup>,
    pub autogenerate_manifest: bool,
    /// In seconds.
    pub keepalive_interval: u32,
    pub encryption: Option<String>,
    pub last_backup_maximum_age: Option<Duration>,
    /// In bytes.
    pub last_backup_minimum_size: Option<u64>,

    /// That of `tapster_retention_policy`, where there is one; else that of `retention_policy`.
    pub retention_policy: Option<Policy>,
    /// The policy as written; with `retention_policy` empty, it could not be read.
    pub retention_policy_text: Option<String>,
    /// How long backups that failed are kept; for ever where nothing is said.
    pub failed_backup_retention: Option<Duration>,
    /// `tapster_wal_only`: there are no backups, whatever traces of some are found.
    pub wal_only: bool,
    /// How long WAL is kept where there is no backup; for ever where nothing is said.
    pub wal_only_retention: Option<Duration>,
    pub minimum_redundancy: u32,
    pub recovery_options: RecoveryOptions,
    pub staging_path: Option<PathBuf>,
    pub combine_mode: String,
    /// In seconds.
    pub check_timeout: u32,
    pub worm_mode: bool,

    pub barman_lock_directory: PathBuf,
    /// `basebackups_directory`.
    pub backups_place: StoragePlace,
    /// `wals_directory`.
    pub wals_place: StoragePlace,
    /// How a place in an object store is used.
    pub cloud: CloudSettings,
    values: Values,
}

/// The keys about object stores. They say something only where [`ServerConfig::backups_place`] or [`ServerConfig::wals_place`] is
/// a bucket. Endpoint and credentials come from the environment and from the files of the provider's own tools, as with Barman.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "a field without a comment is the key of its name")]
pub struct CloudSettings {
    /// Bytes after which an archive goes on in another object.
    pub upload_max_archive_size: u64,
    /// Bytes of one part of an upload, at least.
    pub upload_min_chunk_size: Option<u64>,
    /// Objects removed with one request; `None` for as many as the store takes.
    pub delete_batch_size: Option<usize>,
    /// WAL files archived at the same time; 0 for one.
    pub wal_archive_parallel: u32,
    /// WAL files fetched at the same time; 0 for one.
    pub wal_restore_parallel: u32,
    /// Whether to look first if an object is locked.
    pub aws_check_object_lock: bool,
    pub aws_encryption: Option<String>,
    pub aws_sse_kms_key_id: Option<String>,
    pub aws_profile: Option<String>,
    pub aws_region: Option<String>,
    /// In seconds.
    pub aws_read_timeout: Option<u32>,
    pub azure_credential: Option<String>,
}

impl CloudSettings {
    fn read(get: &Reader<'_>) -> Self {
        let bytes = |key: &str| get.int(key).and_then(|bytes| u64::try_from(bytes).ok());
        Self {
            upload_max_archive_size: bytes("cloud_upload_max_archive_size").unwrap_or(100 << 30),
            upload_min_chunk_size: bytes("cloud_upload_min_chunk_size"),
            delete_batch_size: get
                .int("cloud_delete_batch_size")
                .and_then(|count| usize::try_from(count).ok())
                .filter(|count| *count > 0),
            wal_archive_parallel: get.count("cloud_wal_archive_parallel"),
            wal_restore_parallel: get.count("cloud_wal_restore_parallel"),
            aws_check_object_lock: get.bool("aws_check_object_lock"),
            aws_encryption: get.text("aws_encryption"),
            aws_sse_kms_key_id: get.text("aws_sse_kms_key_id"),
            aws_profile: get.text("aws_profile"),
            aws_region: get.text("aws_region"),
            aws_read_timeout: get.int("aws_read_timeout").map(clamp),
            azure_credential: get.text("azure_credential"),
        }
    }
}

impl ServerConfig {
    /// Builds the typed settings; the error says why the name cannot be a server's.
    pub(super) fn new(name: &str, global: &GlobalConfig, values: Values) -> Result<Self, String> {
        let name = ServerName::new(name).map_err(|e| e.to_string())?;
        Ok(Self::build(name, global.barman_lock_directory.clone(), values))
    }

    fn build(name: ServerName, barman_lock_directory: PathBuf, values: Values) -> Self {
        let get = Reader(&values);
        let has = |key, word| get.options(key, word);
        Self {
            active: get.bool("active"),
            disabled: false,
            problems: Vec::new(),
            warnings: Vec::new(),
            incomplete: false,
            hidden: BTreeMap::new(),
            active_model: None,
            description: get.text("description"),
            cluster: get.text("cluster").unwrap_or_default(),
            conninfo: get.text("conninfo"),
            streaming_conninfo: get.text("streaming_conninfo"),
            wal_conninfo: get.text("wal_conninfo"),
            wal_streaming_conninfo: get.text("wal_streaming_conninfo"),
            primary_conninfo: get.text("primary_conninfo"),
            primary_checkpoint_timeout: get.count("primary_checkpoint_timeout"),
            ssh_command: get.text("ssh_command"),
            primary_ssh_command: get.text("primary_ssh_command"),
            forward_config_path: get.bool("forward_config_path"),
            path_prefix: get.text("path_prefix"),
            slot_name: get.text("slot_name"),
            create_slot_auto: get.text("create_slot").as_deref() == Some("auto"),
            archiver: get.bool("archiver"),
            streaming_archiver: get.bool("streaming_archiver"),
            archiver_batch_size: get.count("archiver_batch_size"),
            streaming_archiver_batch_size: get.count("streaming_archiver_batch_size"),
            streaming_archiver_name: get.text("streaming_archiver_name").unwrap_or_default(),
            streaming_backup_name: get.text("streaming_backup_name").unwrap_or_default(),
            compression: get.text("compression"),
            compression_level: match values.get("compression_level").map(|r| &r.value) {
                Some(Value::Int(level)) => CompressionLevel::Number(*level),
                Some(Value::Text(word)) if word == "low" => CompressionLevel::Low,
                Some(Value::Text(word)) if word == "high" => CompressionLevel::High,
                _ => CompressionLevel::Medium,
            },
            custom_compression_filter: get.text("custom_compression_filter"),
            custom_decompression_filter: get.text("custom_decompression_filter"),
            max_incoming_wals_queue: get.int("max_incoming_wals_queue").map(clamp),
            last_wal_maximum_age: get.interval("last_wal_maximum_age"),
            backup_method: match get.text("backup_method").as_deref() {
                Some("postgres") => BackupMethod::Postgres,
                Some("local-rsync") => BackupMethod::LocalRsync,
                Some("snapshot") => BackupMethod::Snapshot,
                Some("local-to-cloud") => BackupMethod::LocalToCloud,
                _ => BackupMethod::Rsync,
            },
            backup_options: BackupOptions {
                concurrent: has("backup_options", "concurrent_backup"),
                exclusive: has("backup_options", "exclusive_backup"),
                external_configuration: has("backup_options", "external_configuration"),
            },
            backup_compression: get.text("backup_compression"),
            backup_compression_format: get.text("backup_compression_format"),
            backup_compression_level: get.int("backup_compression_level"),
            backup_compression_location: get.text("backup_compression_location"),
            backup_compression_workers: get.int("backup_compression_workers").map(clamp),
            immediate_checkpoint: get.bool("immediate_checkpoint"),
            bandwidth_limit: None,
            tablespace_bandwidth_limit: get.text("tablespace_bandwidth_limit"),
            network_compression: get.bool("network_compression"),
            parallel_jobs: get.count("parallel_jobs").max(1),
            parallel_jobs_start_batch_period: get.count("parallel_jobs_start_batch_period"),
            parallel_jobs_start_batch_size: get.count("parallel_jobs_start_batch_size").max(1),
            basebackup_retry_times: get.count("basebackup_retry_times"),
            basebackup_retry_sleep: get.count("basebackup_retry_sleep"),
            reuse_backup: match get.text("reuse_backup").as_deref() {
                Some("copy") => Some(ReuseBackup::Copy),
                Some("link") => Some(ReuseBackup::Link),
                Some("off") => Some(ReuseBackup::Off),
                _ => None,
            },
            autogenerate_manifest: get.bool("autogenerate_manifest"),
            keepalive_interval: get.count("keepalive_interval"),
            encryption: get.text("encryption"),
            last_backup_maximum_age: get.interval("last_backup_maximum_age"),
            last_backup_minimum_size: get.int("last_backup_minimum_size").and_then(|n| u64::try_from(n).ok()),
            retention_policy: None,
            retention_policy_text: get
                .text("tapster_retention_policy")
                .or_else(|| get.text("retention_policy")),
            failed_backup_retention: get.interval("tapster_failed_backup_retention"),
            wal_only: get.bool("tapster_wal_only"),
            wal_only_retention: get.interval("tapster_wal_only_retention"),
            minimum_redundancy: 0,
            recovery_options: RecoveryOptions {
                get_wal: has("recovery_options", "get-wal"),
                delta_restore: has("recovery_options", "delta-restore"),
            },
            staging_path: get.text("staging_path").map(PathBuf::from),
            combine_mode: get.text("combine_mode").unwrap_or_default(),
            check_timeout: get.count("check_timeout"),
            worm_mode: get.bool("worm_mode"),
            backups_place: StoragePlace::of(&get.text("basebackups_directory").unwrap_or_default()),
            wals_place: StoragePlace::of(&get.text("wals_directory").unwrap_or_default()),
            cloud: CloudSettings::read(&get),
            name,
            barman_lock_directory,
            values,
        }
    }

    /// Whether it copies another Barman's catalog (`primary_ssh_command` is set).
    pub const fn is_passive(&self) -> bool {
        self.primary_ssh_command.is_some()
    }

    /// The resolved value of any server key, before contradictions were settled, and where it comes from.
    pub fn get(&self, key: &str) -> Option<&Resolved> {
        self.values.get(key)
    }

    /// All resolved values, sorted by key.
    pub const fn values(&self) -> &BTreeMap<&'static str, Resolved> {
        &self.values
    }

    /// The value of a text key.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key).map(|r| &r.value) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The value of any key as text, empty when unset.
    pub(super) fn shown(&self, key: &str) -> String {
        self.values.get(key).map(|r| r.value.to_string()).unwrap_or_default()
    }

    /// A hook script: one shell command line.
    pub fn hook(&self, phase: HookPhase, event: HookEvent, retry: bool) -> Option<&str> {
        let (phase, event) = (phase.as_str(), event.as_str());
        self.text(&format!("{phase}_{event}{}_script", if retry { "_retry" } else { "" }))
    }

    /// `backup_directory`.
    pub fn backup_directory(&self) -> &Path {
        Path::new(self.text("backup_directory").unwrap_or_default())
    }

    /// Where the name of the active model is kept.
    pub fn active_model_file(&self) -> PathBuf {
        self.backup_directory().join(".active-model.auto")
    }

    /// Where everything of the server lies on this host. What is in an object store has a path there at which nothing is and nothing
    /// must be made; see [`Self::backups_place`] and [`Self::wals_place`]. The index of WAL in one is in `meta/`, unless
    /// `xlogdb_directory` says otherwise, as with Barman.
    pub fn layout(&self) -> ServerLayout {
        let path = |key: &str| PathBuf::from(self.text(key).unwrap_or_default());
        let mut layout = ServerLayout::standard(Path::new("/"), self.name.clone());
        let layout_root = path("backup_directory");
        layout.root.clone_from(&layout_root);
        layout.meta = layout.root.join("meta");
        let nowhere = |name| layout_root.join(".in-object-store").join(name);
        layout.base = self.backups_place.directory().map_or_else(|| nowhere("base"), Path::to_owned);
        layout.wals = self.wals_place.directory().map_or_else(|| nowhere("wals"), Path::to_owned);
        layout.incoming = path("incoming_wals_directory");
        layout.streaming = path("streaming_wals_directory");
        layout.errors = path("errors_directory");
        let index = self.text("xlogdb_directory").unwrap_or_default();
        let is_own = self.wals_place.bucket().is_none()
            || !index.starts_with(self.text("wals_directory").unwrap_or_default());
        layout.xlogdb_dir = if is_own { PathBuf::from(index) } else { layout.meta.clone() };
        layout.lock_dir = self.barman_lock_directory.clone();
        layout
    }

    /// Adds a problem, and with it disables the server: for what is found later, such as a connection string
    /// that cannot be parsed.
    pub fn disable(&mut self, problem: String) {
        self.problems.push(problem);
        self.disabled = true;
    }

    /// Overrides values with those of a model.
    pub(super) fn apply_model(&mut self, model: &ModelConfig) {
        let mut values = std::mem::take(&mut self.values);
        for (key, value) in &model.values {
            values.insert(key, value.clone());
        }
        let mut server =
            Self::build(self.name.clone(), std::mem::take(&mut self.barman_lock_directory), values);
        server.problems = std::mem::take(&mut self.problems);
        server.disabled = self.disabled;
        server.active_model = Some(model.name.clone());
        *self = server;
    }
}

fn clamp(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// Typed access to the values.
struct Reader<'a>(&'a Values);

impl Reader<'_> {
    fn value(&self, key: &str) -> &Value {
        const UNSET: &Resolved = &Resolved { value: Value::Unset, source: Source::Default };
        &self.0.get(key).unwrap_or(UNSET).value
    }
    fn text(&self, key: &str) -> Option<String> {
        match self.value(key) {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
    fn bool(&self, key: &str) -> bool {
        *self.value(key) == Value::Bool(true)
    }
    fn int(&self, key: &str) -> Option<i64> {
        match self.value(key) {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }
    /// A number; negative ones count as 0.
    fn count(&self, key: &str) -> u32 {
        self.int(key).map_or(0, clamp)
    }
    fn interval(&self, key: &str) -> Option<Duration> {
        match self.value(key) {
            Value::Interval(length) => Some(*length),
            _ => None,
        }
    }
    fn options(&self, key: &str, word: &str) -> bool {
        matches!(self.value(key), Value::Options(words) if words.contains(word))
    }
}
