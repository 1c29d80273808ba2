//! The configuration, against what Python's parser and real Barman made of the same text.

mod captures;
mod files;
mod ini;
mod places;
mod queue;
mod values;

use std::path::Path;

use tapster_manager::config::{Config, ConfigError, ConfigSources};

/// Loads a configuration from text; `{}` in it stands for a fresh directory.
fn load(dir: &Path, text: &str) -> Result<Config, ConfigError> {
    let path = dir.join("test.conf");
    std::fs::write(&path, text.replace("{}", dir.to_str().unwrap())).unwrap();
    Config::load(&ConfigSources::file(path))
}

/// What Barman prints with every command, prefix included.
fn shown(config: &Config) -> Vec<String> {
    config.warnings.iter().filter(|w| w.is_shown()).map(|w| format!("WARNING: {w}")).collect()
}
