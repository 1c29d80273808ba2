//! The active model of a server: chosen, given up, and made known to what runs for the server.

use std::collections::BTreeMap;
use std::io;

use rustix::process::{Pid, Signal, kill_process};
use tapster_catalog::DurableError;
use tapster_catalog::durable;
use tapster_catalog::locks::{Lock, LockName};
use thiserror::Error;

use crate::config::{Config, IniError, Resolved, Value};
use crate::event::Event;
use crate::processes::{ProcessError, RunningTask, Task};
use crate::{Context, CronError, CronJob, Server};

/// What became of the wish for a model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ModelSwitched {
    /// It is the active one already.
    Already,
    /// It is the active one now; with what changes, sorted by key.
    Applied(Vec<SettingChange>),
}

/// A setting that a model changes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SettingChange {
    /// The key.
    pub key: &'static str,
    /// The value in force before.
    pub from: Value,
    /// The model's.
    pub to: Value,
}

/// A model that was not switched to, or not given up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SwitchModelError {
    /// No section of that name is a model.
    #[error("Unknown model '{name}'")]
    Unknown {
        /// The name.
        name: String,
    },
    /// It is meant for other servers.
    #[error(
        "Model '{model}' has 'cluster={model_cluster}', which is not compatible with 'cluster={cluster}' from server \
         '{server}'"
    )]
    OtherCluster {
        /// The model.
        model: String,
        /// Its cluster.
        model_cluster: String,
        /// The server.
        server: String,
        /// Its cluster.
        cluster: String,
    },
    /// With the model, the server's settings would contradict each other; nothing was changed. What archives its WAL would come to an
    /// end, and nobody would see it.
    #[error("model '{model}' would disable server '{server}': {}", problems.join("; "))]
    Disabled {
        /// The model.
        model: String,
        /// The server.
        server: String,
        /// What would be wrong.
        problems: Vec<String>,
    },
    /// The server's settings cannot be read.
    #[error(transparent)]
    Settings(IniError),
    /// The file with the name of the active model was not written or removed.
    #[error(transparent)]
    Durable(#[from] DurableError),
}

/// What was done about the receiver of a server whose settings changed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ReceiverRestart {
    /// The daemon of this process id was told to read its configuration again.
    DaemonTold {
        /// Its process id.
        pid: u32,
    },
    /// These were ended; a new one was started if the configuration wants one.
    Restarted {
        /// What was ended.
        stopped: Vec<RunningTask>,
    },
}

impl Server {
    /// Makes a model of `config` the active one of this server.
    ///
    /// # Errors
    /// When there is no such model, it is meant for another cluster, the server could not be worked with then, or the model's name
    /// cannot be kept.
    pub fn switch_model(&self, config: &Config, name: &str) -> Result<ModelSwitched, SwitchModelError> {
        let model =
            config.models.get(name).ok_or_else(|| SwitchModelError::Unknown { name: name.to_owned() })?;
        if model.cluster != self.config.cluster {
            return Err(SwitchModelError::OtherCluster {
                model: name.to_owned(),
                model_cluster: model.cluster.clone(),
                server: self.name().to_owned(),
                cluster: self.config.cluster.clone(),
            });
        }
        if self.config.active_model.as_deref() == Some(name) {
            return Ok(ModelSwitched::Already);
        }
        let with_model = config.server_with_model(self.name(), model).map_err(SwitchModelError::Settings)?;
        if let Some(with_model) = with_model.filter(|server| server.disabled) {
            return Err(SwitchModelError::Disabled {
                model: name.to_owned(),
                server: self.name().to_owned(),
                problems: with_model.problems,
            });
        }
        let changes = changes(&self.config.in_force(), &model.values);
        let disk = self.catalog.disk();
        durable::create_dir_all(disk, self.config.backup_directory(), None)?;
        durable::replace(disk, &self.config.active_model_file(), name.as_bytes())?;
        Ok(ModelSwitched::Applied(changes))
    }

    /// Gives up the active model. Returns whether there was one.
    ///
    /// # Errors
    /// When the file with its name cannot be removed.
    pub fn reset_model(&self) -> Result<bool, DurableError> {
        durable::remove_file(self.catalog.disk(), &self.config.active_model_file())
    }

    /// Ends the receiver that works by the old settings, and has `launch` start one that works by those of this server, if it
    /// is to have one. Where a daemon looks after the servers, it is asked to read its configuration again instead.
    ///
    /// # Errors
    /// When a process cannot be ended or started.
    pub fn restart_receiver(
        &self,
        launch: &mut dyn FnMut(&CronJob) -> io::Result<()>,
        context: &Context<'_>,
    ) -> Result<ReceiverRestart, CronError> {
        if let Some(Some(pid)) = Lock::holder(&self.layout().lock(&LockName::Daemon))?
            && let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw)
            && kill_process(process, Signal::HUP).is_ok()
        {
            return Ok(ReceiverRestart::DaemonTold { pid });
        }
        let stopped = match self.terminate(Task::ReceiveWal.as_str()) {
            Ok(stopped) => stopped,
            Err(ProcessError::NoSuchProcess { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let config = &self.config;
        if config.streaming_archiver && config.active && !config.disabled && !config.is_passive() {
            let job = CronJob::ReceiveWal;
            let server = || self.name().to_owned();
            context.tell(Event::CronStarting { server: server(), job: job.clone() });
            launch(&job).map_err(|source| CronError::Launch { job, server: server(), source })?;
        }
        Ok(ReceiverRestart::Restarted { stopped })
    }
}

/// What the model sets to something else.
fn changes(
    old: &BTreeMap<&'static str, Resolved>,
    model: &BTreeMap<&'static str, Resolved>,
) -> Vec<SettingChange> {
    let changed = model.iter().filter_map(|(key, new)| {
        let from = old.get(key).map_or(Value::Unset, |old| old.value.clone());
        let differs = from.to_string() != new.value.to_string();
        differs.then(|| SettingChange { key, from, to: new.value.clone() })
    });
    changed.collect()
}
