//! Barman's cloud tools: `tapster cloud NAME`, `barman-cloud-NAME`.

pub(crate) mod backup;
pub(crate) mod backup_delete;
pub(crate) mod backup_keep;
pub(crate) mod backup_list;
pub(crate) mod backup_show;
pub(crate) mod check_wal_archive;
pub(crate) mod list_files;
pub(crate) mod restore;
pub(crate) mod verify_backup;
pub(crate) mod wal_archive;
pub(crate) mod wal_daemon;
pub(crate) mod wal_restore;

use tapster_catalog::BackupId;
use tapster_cloud::{CloudError, Store, StoreIdentity, StoreOptions, StoreUrl};
use tapster_manager::cloud::CloudServer;

use crate::args::cloud::common::CloudArgs;
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
        self.start_logging();
        let server = self.open(options).map_err(|error| Failure::cloud(self.verb, &error));
        let result = server.and_then(|server| {
            if self.args.test {
                server.test().map_err(|error| Failure::cloud_connectivity(self.verb, &error))
            } else {
                work(&server)
            }
        });
        result.map_err(logged)
    }

    /// For what is said before the store is opened.
    pub(crate) fn start_logging(&self) {
        logging::start(None, self.args.log_level(), LOG_FORMAT);
    }

    /// Which place is meant, before the store is opened; `None` when it cannot be.
    pub(crate) fn identity(&self, options: &StoreOptions) -> Option<StoreIdentity> {
        Some(StoreIdentity::of(&self.url.parse().ok()?, options, &environment::of_clouds()))
    }

    fn open(&self, options: StoreOptions) -> Result<CloudServer, CloudError> {
        let url: StoreUrl = self.url.parse()?;
        if let Some(provider) = self.args.provider().filter(|provider| *provider != url.provider()) {
            let reason = format!("it is no URL of {}", provider.as_str());
            return Err(CloudError::Options { store: self.url.to_owned(), reason });
        }
        let store = Store::open(&url, options, &environment::of_clouds())?;
        Ok(CloudServer::new(store, self.server))
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

/// The backup that a text names. An id costs no request.
fn select(server: &CloudServer, verb: &str, text: &str) -> Result<BackupId, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let catalog = server.catalog().map_err(|error| Failure::cloud(verb, &error))?;
    catalog.select(server.layout().server(), text).map_err(|error| Failure::cloud_select(verb, &error))
}
