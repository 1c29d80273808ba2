//! A configuration that leaves nothing to work with, and servers that are not in it.

use tapster_manager::config::{ConfigError, UpdateError};
use tapster_manager::{OpenError, SwitchModelError};

use super::{Failure, chain};
use crate::output::Output;

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

impl Failure {
    /// Changes that were not made. Of a refused object the reason is shown first, as Barman does.
    pub(crate) fn update(output: &Output, error: &UpdateError) -> Self {
        let UpdateError::Refused(refused) = error else { return Self::user(chain(error)) };
        output.error(&refused.reason);
        Self::user(format!("Aborting config\u{2010}update: invalid section {}", refused.section))
    }
}

impl From<SwitchModelError> for Failure {
    fn from(error: SwitchModelError) -> Self {
        Self::user(chain(&error))
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::user(error.to_string())
    }
}
