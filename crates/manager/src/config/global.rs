//! What `[barman]` says for the program as a whole.

use std::path::PathBuf;

use super::ini::IniError;
use super::merged::MergedSection;
use super::value::Kind;
use super::value::Value;

/// The options that only `[barman]` has.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GlobalConfig {
    /// `barman_home`: the root of the catalog.
    pub barman_home: PathBuf,
    /// `barman_user`: the system user that runs the program; `barman` by default.
    pub barman_user: String,
    /// `barman_lock_directory`: `barman_home` by default.
    pub barman_lock_directory: PathBuf,
    /// `lock_directory_cleanup`: whether cron removes unused lock files.
    pub lock_directory_cleanup: bool,
    /// `configuration_files_directory`, as written.
    pub configuration_files_directory: Option<String>,
    /// `config_changes_queue`: `<barman_home>/cfg_changes.queue` by default.
    pub config_changes_queue: PathBuf,
    /// `log_file`: standard error when `None`.
    pub log_file: Option<PathBuf>,
    /// `log_level`, a name or a number; `INFO` by default. Not checked here.
    pub log_level: String,
    /// `log_format`, in the notation of Python's logging, when given.
    pub log_format: Option<String>,
}

impl GlobalConfig {
    /// Reads the section; `None` when `barman_home` is missing.
    pub(super) fn read(section: &MergedSection) -> Result<Option<Self>, IniError> {
        let text = |key: &str| -> Result<Option<String>, IniError> {
            let Some(option) = section.get(key) else { return Ok(None) };
            Ok(section.read(option)?.filter(|value| !value.is_empty()))
        };
        let path = |key: &str, default: PathBuf| Ok::<_, IniError>(text(key)?.map_or(default, PathBuf::from));
        let Some(home) = text("barman_home")? else { return Ok(None) };
        let home = PathBuf::from(home);
        let cleanup = text("lock_directory_cleanup")?.unwrap_or_default();
        let cleanup = Kind::Bool.parse(&cleanup, "lock_directory_cleanup", "barman").ok().flatten();
        Ok(Some(Self {
            barman_user: text("barman_user")?.unwrap_or_else(|| "barman".to_owned()),
            barman_lock_directory: path("barman_lock_directory", home.clone())?,
            lock_directory_cleanup: cleanup != Some(Value::Bool(false)),
            configuration_files_directory: text("configuration_files_directory")?,
            config_changes_queue: path("config_changes_queue", home.join("cfg_changes.queue"))?,
            log_file: text("log_file")?.map(PathBuf::from),
            log_level: text("log_level")?.unwrap_or_else(|| "INFO".to_owned()),
            log_format: text("log_format")?,
            barman_home: home,
        }))
    }
}
