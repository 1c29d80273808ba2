//! Finding, reading and merging the files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::global::GlobalConfig;
use super::include::{MAX_INCLUDED_FILES, include, included_files, is_there};
use super::ini::{IniError, IniFile};
use super::merged::{Merged, MergedSection};
use super::paths::find_conflicts;
use super::problems::settle;
use super::resolve::{ModelConfig, is_model, model_values, server_values, unknown_global_keys};
use super::server::ServerConfig;
use super::update::AUTO_FILE;
use super::value::Kind;
use super::warning::ConfigWarning;

/// Where to look for the main file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ConfigSources {
    /// The file the user named; it must exist.
    pub explicit: Option<PathBuf>,
    /// Otherwise the first of these that exists; see [`default_candidates`].
    pub candidates: Vec<PathBuf>,
    /// The user's home directory, for a leading `~` in `configuration_files_directory`.
    pub home: Option<PathBuf>,
}

impl ConfigSources {
    /// One file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { explicit: Some(path.into()), ..Self::default() }
    }

    /// The usual places, for the user with this home directory.
    pub fn usual(home: Option<PathBuf>) -> Self {
        Self { explicit: None, candidates: default_candidates(home.as_deref()), home }
    }
}

/// `/etc/tapster.conf`, then where Barman looks: `~/.barman.conf`, `/etc/barman.conf`, `/etc/barman/barman.conf`.
pub fn default_candidates(home: Option<&Path>) -> Vec<PathBuf> {
    let own = home.map(|home| home.join(".barman.conf"));
    let rest = ["/etc/barman.conf", "/etc/barman/barman.conf"].map(PathBuf::from);
    [PathBuf::from("/etc/tapster.conf")].into_iter().chain(own).chain(rest).collect()
}

/// Why there is no configuration to work with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file the user named does not exist.
    #[error("configuration file '{}' does not exist", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// None of the usual files exists.
    #[error("could not find any configuration file at default locations")]
    NoneFound {
        /// Where one was looked for.
        searched: Vec<PathBuf>,
    },
    /// A file cannot be read or parsed.
    #[error(transparent)]
    Ini(#[from] IniError),
    /// There is no `[barman]`.
    #[error("{}: no section 'barman'", path.display())]
    NoBarmanSection {
        /// The main file.
        path: PathBuf,
    },
    /// A required option is missing.
    #[error("parameter \"{key}\" is required in [{section}] section")]
    MissingParameter {
        /// The section.
        section: String,
        /// The option.
        key: &'static str,
    },
    /// An included file has a `[barman]` section with options.
    #[error("the configuration file {} contains a not empty [barman] section", path.display())]
    IncludedBarmanSection {
        /// The file.
        path: PathBuf,
    },
    /// A section has a name that means something else.
    #[error("the reserved word '{name}' is not allowed as server name")]
    ReservedName {
        /// The name.
        name: String,
    },
    /// A section has a name that cannot be a directory's.
    #[error("the name '{name}' is not allowed as server name: {reason}")]
    InvalidName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `model` is no truth value.
    #[error("[{section}] model: {reason}")]
    InvalidModelFlag {
        /// The section.
        section: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The include directory, or the file with the active model's name, cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The include directory has more than ten thousand files.
    #[error("{} holds more than {MAX_INCLUDED_FILES} configuration files", path.display())]
    TooManyFiles {
        /// The directory.
        path: PathBuf,
    },
}

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The main file.
    pub path: PathBuf,
    /// What `[barman]` says for the program as a whole.
    pub global: GlobalConfig,
    /// The servers, by name.
    pub servers: BTreeMap<String, ServerConfig>,
    /// The models, by name.
    pub models: BTreeMap<String, ModelConfig>,
    /// Remarks that hold for every command; those of one server are in [`ServerConfig::warnings`].
    pub warnings: Vec<ConfigWarning>,
    /// What Barman prints as `ERROR` with every command and then goes on: an active model of another cluster.
    pub errors: Vec<String>,
    /// Directories shared between servers; while there are any, Barman refuses every command.
    pub conflicts: Vec<String>,
    /// The sections as the files have them.
    pub(super) merged: Merged,
    /// `configuration_files_directory`, found.
    pub(super) directory: Option<PathBuf>,
    /// Whether a part of it is missing; see [`ServerConfig::incomplete`].
    pub(super) incomplete: bool,
}

impl Config {
    /// Reads the main file, the files of `configuration_files_directory` in order, and `.barman.auto.conf`.
    ///
    /// # Errors
    /// When no usable configuration results; what concerns one key or one server only is reported in the result.
    pub fn load(sources: &ConfigSources) -> Result<Self, ConfigError> {
        let path = main_file(sources)?;
        let mut merged = Merged::default();
        merged.add(&IniFile::read(&path)?)?;
        let barman =
            merged.section("barman").ok_or_else(|| ConfigError::NoBarmanSection { path: path.clone() })?;
        let global = GlobalConfig::read(barman)?.ok_or_else(|| ConfigError::MissingParameter {
            section: "barman".to_owned(),
            key: "barman_home",
        })?;
        let mut log_warnings = Vec::new();
        let directory = global.configuration_files_directory.as_deref();
        let directory = directory.map(|directory| expand_home(directory, sources.home.as_deref()));
        if let Some(directory) = &directory {
            match included_files(directory)? {
                Some(files) => {
                    for file in files {
                        include(&file, &mut merged, &mut log_warnings)?;
                    }
                }
                None => {
                    let path =
                        PathBuf::from(global.configuration_files_directory.as_deref().unwrap_or_default());
                    log_warnings.push(ConfigWarning::NotADirectory { path });
                }
            }
        }
        let auto = global.barman_home.join(AUTO_FILE);
        if is_there(&auto) {
            include(&auto, &mut merged, &mut log_warnings)?;
        }
        let mut config = Self {
            path,
            global,
            servers: BTreeMap::new(),
            models: BTreeMap::new(),
            warnings: log_warnings,
            errors: Vec::new(),
            conflicts: Vec::new(),
            merged: Merged::default(),
            directory,
            incomplete: false,
        };
        config.read_sections(&merged)?;
        config.warnings.extend(merged.hidden_by(&auto).map(|(section, key, file)| ConfigWarning::Hidden {
            section: section.to_owned(),
            key: key.to_owned(),
            file: file.to_owned(),
            by: auto.clone(),
        }));
        config.merged = merged;
        config.conflicts = find_conflicts(&mut config.servers);
        config.apply_active_models()?;
        config.incomplete = config.warnings.iter().any(ConfigWarning::is_about_missing_settings);
        for server in config.servers.values_mut() {
            server.incomplete = config.incomplete;
            let hidden =
                config.merged.hidden_by(&auto).filter(|(section, ..)| *section == server.name.as_str());
            server.hidden = hidden.map(|(_, key, file)| (key.to_owned(), file.to_owned())).collect();
            settle(server);
        }
        Ok(config)
    }

    fn read_sections(&mut self, merged: &Merged) -> Result<(), ConfigError> {
        let empty = MergedSection { name: "barman".to_owned(), options: Vec::new() };
        let barman = merged.section("barman").unwrap_or(&empty);
        unknown_global_keys(barman, &mut self.warnings);
        let cleanup = barman.get("lock_directory_cleanup");
        let cleanup = cleanup.map(|option| barman.read(option)).transpose()?.flatten().unwrap_or_default();
        if let Some(reason) = Kind::Bool.parse(&cleanup, "", "").err().filter(|_| !cleanup.is_empty()) {
            self.warnings.push(ConfigWarning::InvalidValue {
                section: "barman".to_owned(),
                key: "lock_directory_cleanup".to_owned(),
                value: cleanup,
                reason,
            });
        }
        for section in merged.sections.iter().filter(|s| s.name != "barman") {
            let name = section.name.clone();
            if name == "all" {
                return Err(ConfigError::ReservedName { name });
            }
            let model = is_model(section)?
                .map_err(|reason| ConfigError::InvalidModelFlag { section: name.clone(), reason })?;
            if model {
                let values = model_values(section, &mut self.warnings)?;
                let cluster = section
                    .get("cluster")
                    .ok_or_else(|| ConfigError::MissingParameter { section: name.clone(), key: "cluster" })?;
                let cluster = section.read(cluster)?.unwrap_or_default();
                self.models.insert(name.clone(), ModelConfig { name, cluster, values });
            } else {
                let values = server_values(section, barman, &self.global, &mut self.warnings)?;
                let server = ServerConfig::new(&name, &self.global, values)
                    .map_err(|reason| ConfigError::InvalidName { name: name.clone(), reason })?;
                self.servers.insert(name, server);
            }
        }
        Ok(())
    }

    /// What a server would be with this model as the active one, whatever is the active one now; `None` when there is no such server.
    /// Directories that it shares with others are not looked at: no model sets one.
    pub(crate) fn server_with_model(
        &self,
        name: &str,
        model: &ModelConfig,
    ) -> Result<Option<ServerConfig>, IniError> {
        let empty = MergedSection { name: "barman".to_owned(), options: Vec::new() };
        let barman = self.merged.section("barman").unwrap_or(&empty);
        let Some(section) = self.merged.section(name) else { return Ok(None) };
        let values = server_values(section, barman, &self.global, &mut Vec::new())?;
        // It is in use under this name.
        let Ok(mut server) = ServerConfig::new(name, &self.global, values) else { return Ok(None) };
        server.apply_model(model);
        settle(&mut server);
        Ok(Some(server))
    }

    fn apply_active_models(&mut self) -> Result<(), ConfigError> {
        for server in self.servers.values_mut() {
            let Some(active) = read_active_model(&server.active_model_file())? else { continue };
            let Some(model) = self.models.get(&active) else {
                server.disable(format!(
                    "Model '{active}' is set as the active model for the server '{}' but the model does not exist.",
                    server.name
                ));
                continue;
            };
            if model.cluster == server.cluster {
                server.apply_model(model);
            } else {
                self.errors.push(format!(
                    "Model '{active}' has 'cluster={}', which is not compatible with 'cluster={}' from server '{}'",
                    model.cluster, server.cluster, server.name
                ));
            }
        }
        Ok(())
    }
}

fn main_file(sources: &ConfigSources) -> Result<PathBuf, ConfigError> {
    if let Some(path) = &sources.explicit {
        let found = path.exists();
        return if found { Ok(path.clone()) } else { Err(ConfigError::NotFound { path: path.clone() }) };
    }
    let found = sources.candidates.iter().find(|path| path.exists()).cloned();
    found.ok_or_else(|| ConfigError::NoneFound { searched: sources.candidates.clone() })
}

fn expand_home(path: &str, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.to_owned(),
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

/// The name in `.active-model.auto`, if there is one.
fn read_active_model(path: &Path) -> Result<Option<String>, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(failed(e)),
    };
    let mut name = String::new();
    file.take(4096).read_to_string(&mut name).map_err(failed)?;
    let name = name.trim();
    Ok((!name.is_empty()).then(|| name.to_owned()))
}
