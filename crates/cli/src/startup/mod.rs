//! From parsed arguments to a configuration one can work with, in Barman's order: read the configuration, become
//! the configured user, start the log, show what is wrong with the configuration.

mod servers;
mod user;

use tapster_manager::config::{Config, ConfigSources, ConfigWarning};
use tapster_manager::{Context, OpenError, Server};
use tapster_protocol::Environment;
use tracing::level_filters::LevelFilter;

use crate::failure::{Failure, Place};
use crate::logging;
use crate::observer::ConsoleObserver;
use crate::output::Output;
use crate::session::Session;

pub(crate) use servers::Rules;

/// A run of a command that works with the configuration.
#[derive(Debug)]
pub(crate) struct Setup<'s> {
    /// The run.
    pub(crate) session: &'s Session,
    /// The configuration.
    pub(crate) config: Config,
    /// What libpq's variables say.
    environment: Environment,
}

impl<'s> Setup<'s> {
    /// Does everything that comes before the command itself.
    ///
    /// # Errors
    /// There is no usable configuration, or this is not its user and cannot become it.
    pub(crate) fn new(session: &'s Session) -> Result<Self, Failure> {
        let setup = Self::read(session)?;
        setup.show_remarks(|output, error| output.error(error))?;
        Ok(setup)
    }

    /// [`Self::new`] for a command that is to find out what is wrong: servers that share directories do not keep it from that.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn despite_conflicts(session: &'s Session) -> Result<Self, Failure> {
        let setup = Self::read(session)?;
        for warning in &setup.config.warnings {
            setup.show_warning(warning);
        }
        Ok(setup)
    }

    /// [`Self::new`] for what PostgreSQL calls as `archive_command` and `restore_command`. Only what became of the file may
    /// decide the exit code then: a mistake in the configuration of another server, or a line that cannot be printed since
    /// the disk of the log is full, would make PostgreSQL archive the same file for ever, or end recovery.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn for_postgresql(session: &'s Session) -> Result<Self, Failure> {
        session.output.tolerate_lost_lines();
        let setup = Self::read(session)?;
        setup.show_remarks(|output, error| output.error_without_failing(error))?;
        Ok(setup)
    }

    fn read(session: &'s Session) -> Result<Self, Failure> {
        let config = Config::load(&config_sources(session))?;
        user::become_user(&config.global.barman_user, &config.path)?;
        start_log(session, &config);
        session.output.debug(format!("configuration read from {}", config.path.display()));
        Ok(Self { session, config, environment: Environment::from_process() })
    }

    /// Who and what an error message is about.
    pub(crate) fn place<'a>(&self, server: &'a str) -> Place<'a> {
        Place { program: self.session.program, server }
    }

    /// The observer that prints what happens.
    pub(crate) fn observer<'a>(&'a self, server: &'a str) -> ConsoleObserver<'a> {
        ConsoleObserver::new(&self.session.output, server)
    }

    /// A context that ends at SIGINT and SIGTERM.
    pub(crate) fn context<'a>(&self, observer: &'a ConsoleObserver<'a>) -> Context<'a> {
        Context::new(observer).with_stop(self.session.stop.clone())
    }

    /// The file the configuration came from, for reading it again.
    pub(crate) fn sources(&self) -> ConfigSources {
        let mut sources = config_sources(self.session);
        sources.explicit = Some(self.config.path.clone());
        sources
    }

    /// The configuration as it is now.
    ///
    /// # Errors
    /// It cannot be used any more.
    pub(crate) fn read_again(&self) -> Result<Config, Failure> {
        Ok(Config::load(&self.sources())?)
    }

    /// A server of `config`, with what the environment says.
    ///
    /// # Errors
    /// The configuration has no such server.
    pub(crate) fn open(&self, config: &Config, name: &str) -> Result<Server, OpenError> {
        let server = Server::open(config, name, self.environment.clone())?;
        #[cfg(feature = "cloud")]
        let server = server.with_object_stores(&crate::environment::of_clouds());
        Ok(server)
    }

    /// What libpq's variables say.
    pub(crate) fn libpq(&self) -> Environment {
        self.environment.clone()
    }

    fn show_remarks(&self, show_error: impl Fn(&Output, &str)) -> Result<(), Failure> {
        for warning in &self.config.warnings {
            self.show_warning(warning);
        }
        for error in &self.config.errors {
            show_error(&self.session.output, error);
        }
        for conflict in &self.config.conflicts {
            self.session.output.error(conflict);
        }
        if self.config.conflicts.is_empty() { Ok(()) } else { Err(Failure::reported(1)) }
    }

    /// One remark, on the terminal or in the log.
    pub(crate) fn show_warning(&self, warning: &ConfigWarning) {
        if warning.is_shown() {
            self.session.output.warning(warning.to_string());
        } else {
            tracing::warn!("{warning}");
        }
    }
}

/// Where this run's configuration comes from.
fn config_sources(session: &Session) -> ConfigSources {
    let mut sources = ConfigSources::default();
    sources.explicit = session.global.config.clone().or_else(|| session.environment.config_file.clone());
    sources.candidates = session.environment.default_config_files();
    sources.home.clone_from(&session.environment.home);
    sources
}

fn start_log(session: &Session, config: &Config) {
    let global = &config.global;
    let text = session.global.log_level.as_deref().unwrap_or(&global.log_level);
    let level = logging::parse_level(text);
    let format = global.log_format.as_deref().unwrap_or(logging::DEFAULT_FORMAT);
    let problem = logging::start(global.log_file.as_deref(), level.unwrap_or(LevelFilter::INFO), format);
    if let Some(problem) = problem {
        session.output.warning(problem);
    }
    if level.is_none() {
        session.output.warning(format!("unknown log_level in config file: {text}"));
    }
}
