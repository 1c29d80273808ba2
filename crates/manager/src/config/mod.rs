//! The configuration: Barman's INI files, with Barman 3.19.1's keys, defaults and warnings.
//!
//! [`Config::load`] finds and merges the files, judges each key of each section, applies the active models, and
//! says what is wrong as data: [`ConfigWarning`]s for what it ignored, `problems` for what disables a server,
//! [`ConfigError`] for what leaves nothing to work with. What Barman accepts means the same here.

mod global;
mod in_force;
mod include;
mod ini;
mod interpolate;
mod keys;
mod load;
mod mask;
mod merged;
mod paths;
mod place;
mod problems;
mod resolve;
mod server;
mod update;
mod value;
mod warning;
mod written;

pub use global::GlobalConfig;
pub use ini::{IniError, IniFile, MAX_ENTRIES, MAX_FILE_SIZE, RawOption, RawSection};
pub use keys::{GLOBAL_KEYS, KeySpec, OWN_PREFIX, SERVER_KEYS, model_keys, server_key};
pub use load::{Config, ConfigError, ConfigSources, default_candidates};
pub use mask::{mask_passwords, mask_passwords_in_line};
pub use place::{BucketAddress, BucketProvider, StoragePlace};
pub use resolve::{ModelConfig, Resolved, Source};
pub use server::{
    BackupMethod, BackupOptions, CloudSettings, CompressionLevel, HookEvent, HookPhase, RecoveryOptions,
    ReuseBackup, ServerConfig,
};
pub use update::{
    AppliedChange, ChangeSet, ConfigChange, DroppedChanges, RefusedSection, UpdateError, UpdateStep,
};
pub use value::{Kind, Value};
pub use warning::ConfigWarning;
