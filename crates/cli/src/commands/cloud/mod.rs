//! Barman's cloud tools: `tapster cloud NAME`, `barman-cloud-NAME`.

pub(crate) mod backup;
pub(crate) mod backup_delete;
pub(crate) mod backup_keep;
pub(crate) mod backup_list;
pub(crate) mod backup_show;
pub(crate) mod check_wal_archive;
pub(crate) mod get_wal;
pub(crate) mod list_files;
pub(crate) mod receive_wal;
pub(crate) mod restore;
pub(crate) mod verify_backup;
pub(crate) mod wal_archive;
pub(crate) mod wal_daemon;
pub(crate) mod wal_restore;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tapster_catalog::BackupId;
use tapster_cloud::{CloudError, StoreOptions, StoreUrl};
use tapster_manager::cloud::backup::PostgresSource;
use tapster_manager::cloud::{CloudPlace, CloudServer};
use tapster_protocol::{ConnInfo, ConnInfoError, Environment as PostgresEnvironment};

use crate::args::cloud::common::CloudArgs;
use crate::args::cloud::connection::{ConnectionArgs, DatabaseArgs};
use crate::environment;
use crate::failure::{Failure, Kind};
use crate::logging;

/// How these tools log to stderr, errors included.
const LOG_FORMAT: &str = "%(asctime)s [%(process)s] %(levelname)s: %(message)s";

/// What every one of these tools does around its work. `verb` is what errors call it.
pub(crate) struct Tool<'a> {
    pub(crate) verb: &'static str,
    pub(crate) args: &'a CloudArgs,
    pub(crate) url: &'a str,
    pub(crate) server: &'a str,
}

impl Tool<'_> {
    /// Opens the store and does `work`; with `--test`, only tests the connection.
    pub(crate) fn run(&self, work: impl FnOnce(&CloudServer) -> Result<(), Failure>) -> Result<(), Failure> {
        self.run_with(self.args.store_options(), work)
    }

    /// The same with options of a tool that writes.
    pub(crate) fn run_with(
        &self,
        options: StoreOptions,
        work: impl FnOnce(&CloudServer) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.run_at(options, |place| work(&place.open().map_err(|error| Failure::cloud(self.verb, &error))?))
    }

    /// The same for a tool that may not need the store.
    pub(crate) fn run_at(
        &self,
        options: StoreOptions,
        work: impl FnOnce(&CloudPlace) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.start_logging();
        let failed = |error| Failure::cloud(self.verb, &error);
        let result = self.place(options).map_err(failed).and_then(|place| {
            if self.args.test {
                let server = place.open().map_err(failed)?;
                server.test().map_err(|error| Failure::cloud_connectivity(self.verb, &error))
            } else {
                work(&place)
            }
        });
        result.map_err(logged)
    }

    /// For what is said before the store is opened.
    pub(crate) fn start_logging(&self) {
        logging::start(None, self.args.log_level(), LOG_FORMAT);
    }

    fn place(&self, options: StoreOptions) -> Result<CloudPlace, CloudError> {
        let url: StoreUrl = self.url.parse()?;
        if let Some(provider) = self.args.provider().filter(|provider| *provider != url.provider()) {
            let reason = format!("it is no URL of {}", provider.as_str());
            return Err(CloudError::Options { store: self.url.to_owned(), reason });
        }
        Ok(CloudPlace::new(url, options, environment::of_clouds(), self.server))
    }
}

/// Reports a failure as these tools do, in a line of the log, which `-qq` hides; what is left is the exit code.
fn logged(failure: Failure) -> Failure {
    if failure.kind == Kind::Reported {
        return failure;
    }
    let details = failure.details.iter().map(|text| format!(": {text}"));
    let hint = failure.hint.iter().map(|text| format!(" (hint: {text})"));
    let line: String = std::iter::once(failure.message.clone()).chain(details).chain(hint).collect();
    tracing::error!("{}", line.replace(['\n', '\r'], " "));
    Failure::reported(failure.exit_code)
}

/// Parts that are sent or fetched at the same time: no more than are of use.
fn jobs(given: Option<u64>) -> Option<usize> {
    const MOST: u64 = 64;
    given.map(|jobs| usize::try_from(jobs.min(MOST)).unwrap_or(usize::MAX))
}

/// The backup that a text names.
fn select(server: &CloudServer, verb: &str, text: &str) -> Result<BackupId, Failure> {
    server.select(text).map_err(|error| Failure::cloud_select(verb, &error))
}

/// The server that is backed up, or whose WAL is received.
fn source(args: &ConnectionArgs, database: &DatabaseArgs) -> Result<PostgresSource, Failure> {
    let conninfo = conninfo(args, database).map_err(|error| Failure::cloud_operation(error.to_string()))?;
    Ok(PostgresSource::new(conninfo, PostgresEnvironment::from_process()))
}

/// A connection string in the place of the database stands for all of it.
fn conninfo(args: &ConnectionArgs, database: &DatabaseArgs) -> Result<ConnInfo, ConnInfoError> {
    let database = database.dbname.as_deref().unwrap_or("postgres");
    if database.is_empty() || database.contains('=') || database.contains("://") {
        return ConnInfo::parse(database);
    }
    let mut conninfo = ConnInfo::new();
    for (key, value) in [("host", &args.host), ("port", &args.port), ("user", &args.user)] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            conninfo.set(key, value)?;
        }
    }
    conninfo.set("dbname", database)?;
    Ok(conninfo)
}

/// Set by the first signal that asks for an end; a second one ends the process at once.
fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    let stop: Arc<AtomicBool> = Arc::default();
    for signal in [SIGTERM, SIGINT] {
        flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Failure::unexpected(format!("cannot install signal handlers: {error}")))?;
    }
    Ok(stop)
}
