//! A configuration that leaves nothing to work with, and servers that are not in it.

use tapster_manager::OpenError;
use tapster_manager::config::ConfigError;

use super::{Failure, chain};

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::NotFound { path } => {
                Self::fatal(format!("Configuration file '{}' does not exist", path.display()))
            }
            ConfigError::NoneFound { searched } => {
                let names: Vec<_> = searched.iter().map(|path| path.display().to_string()).collect();
                Self::fatal(format!(
                    "Could not find any configuration file at default locations.\nLooked for {}. Name one with -c or \
                     BARMAN_CONFIG_FILE.",
                    names.join(", ")
                ))
            }
            ConfigError::MissingParameter { section, key } => {
                Self::user(format!("Parameter \"{key}\" is required in [{section}] section."))
            }
            ConfigError::IncludedBarmanSection { path } => Self::fatal(format!(
                "FATAL: the configuration file {} contains a not empty [barman] section",
                path.display()
            )),
            ConfigError::ReservedName { name } => {
                Self::fatal(format!("FATAL: the reserved word '{name}' is not allowed as server name."))
            }
            other => Self::user(chain(&other)),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::user(error.to_string())
    }
}
