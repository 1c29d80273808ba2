//! A new configuration for a daemon that runs.

use super::worker::left_alone;
use super::{DaemonError, Supervisor};
use crate::config::{Config, ConfigSources};

/// What a new configuration changed, as names of servers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Reloaded {
    /// They were not looked after before.
    pub added: Vec<String>,
    /// Their settings changed, so their threads ended and others began.
    pub changed: Vec<String>,
    /// They are not looked after any more.
    pub removed: Vec<String>,
    /// Their new settings are wrong, so the old ones stay in force, with what is wrong.
    pub kept: Vec<(String, Vec<String>)>,
}

impl Supervisor {
    /// Reads the configuration again and works by it. Servers whose settings did not change notice nothing: their receivers go
    /// on streaming.
    ///
    /// # Errors
    /// When it cannot be used; then the old one stays in force and nothing changes.
    pub fn reload(&mut self, sources: &ConfigSources) -> Result<Reloaded, DaemonError> {
        self.reload_with(sources, &mut || ())
    }

    /// [`Self::reload`] that calls `meanwhile` several times a second while it waits for threads to end.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub fn reload_with(
        &mut self,
        sources: &ConfigSources,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<Reloaded, DaemonError> {
        let mut new = Config::load(sources)?;
        if !new.conflicts.is_empty() {
            return Err(DaemonError::Conflicts { conflicts: new.conflicts });
        }
        let mut done = Reloaded::default();
        let mut ending = Vec::new();
        for (name, worker) in &self.workers {
            match new.servers.get(name) {
                Some(config) if config.active && config.disabled => {
                    done.kept.push((name.clone(), config.problems.clone()));
                    new.servers.insert(name.clone(), worker.config().clone());
                }
                Some(config) if left_alone(config).is_some() => done.removed.push(name.clone()),
                Some(config) if config == worker.config() => continue,
                Some(_) => done.changed.push(name.clone()),
                None => done.removed.push(name.clone()),
            }
        }
        ending.extend(done.removed.iter().chain(&done.changed).cloned());
        let others = new
            .servers
            .iter()
            .filter(|(name, config)| !self.workers.contains_key(*name) && left_alone(config).is_none());
        done.added.extend(others.map(|(name, _)| name.clone()));
        self.end(&ending, meanwhile);
        self.config = new;
        for name in done.changed.iter().chain(&done.added) {
            self.begin(name);
        }
        Ok(done)
    }
}
