//! What waits in `streaming/` and `incoming/` goes into the archive.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;

use tapster_catalog::custom_filter::CustomFilter;
use tapster_catalog::ingest::{
    self, IngestFile, IngestObserver, IngestOptions, IngestReport, Outcome, Source,
};
use tapster_catalog::locks::LockError;
use tapster_catalog::{Identity, IdentityError, XlogDb, XlogEntry};
use thiserror::Error;
use walfile::WalName;
use walfile::codec::{Compression, Level};

use crate::config::{CompressionLevel, HookEvent, ServerConfig};
use crate::encryption;
use crate::event::{Event, WalSource};
use crate::hooks::wal_variables;
use crate::{Context, Server};

/// Files that go into an object store at the same time.
const UPLOADS: usize = 4;

/// Options of [`Server::archive_wal`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ArchiveOptions {
    /// Archive whatever has the name of a WAL file, whatever is in it, as Barman does.
    pub accept_invalid: bool,
}

/// Archiving that did not run to its end. Everything before is in the archive, and no source is lost.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// A queue or the archive failed.
    #[error(transparent)]
    Ingest(#[from] ingest::IngestError),
    /// The configured compression cannot be used.
    #[error("compression = {name} is not supported for server '{server}'")]
    Compression {
        /// The configured name.
        name: String,
        /// Server name.
        server: String,
    },
    /// `compression = custom` without a usable filter.
    #[error("compression = custom needs {key} for server '{server}'")]
    CustomFilter {
        /// What is missing, or no hexadecimal number that begins with `0x`.
        key: String,
        /// Server name.
        server: String,
    },
    /// Files that could not be read; they are still in their queues, and all others were archived.
    #[error(
        "{count} files could not be read or moved and stay in the queue, the first of them {first}: {problem}"
    )]
    Unreadable {
        /// How many.
        count: usize,
        /// The first one.
        first: WalName,
        /// What the system says.
        problem: String,
    },
    /// `encryption = gpg` without a key.
    #[error("Encryption is set as gpg, but encryption_key_id is unset for server '{server}'")]
    NoKey {
        /// Server name.
        server: String,
    },
    /// `identity.json` cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The archive is in an object store.
    #[error(transparent)]
    ObjectStore(#[from] crate::ObjectStoreError),
}

impl ArchiveError {
    /// Whether another process is archiving for the same server.
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Ingest(ingest::IngestError::Lock(LockError::Busy { .. })))
    }

    /// Whether the archive is in an object store and the place there is another cluster's.
    #[cfg(feature = "cloud")]
    pub fn is_of_other_system(&self) -> bool {
        use crate::cloud::CloudWalError;
        matches!(self, Self::Ingest(ingest::IngestError::Objects { source, .. })
            if matches!(source.get_ref().downcast_ref(), Some(CloudWalError::OtherSystem { .. })))
    }
}

impl Server {
    /// Archives everything that is queued and complete.
    ///
    /// # Errors
    /// When another process does the same ([`ArchiveError::is_busy`]), or the storage fails.
    pub fn archive_wal(
        &self,
        options: &ArchiveOptions,
        context: &Context<'_>,
    ) -> Result<IngestReport, ArchiveError> {
        self.run_ingest(&self.ingest_options(options, context)?, context)
    }

    pub(crate) fn run_ingest(
        &self,
        options: &IngestOptions,
        context: &Context<'_>,
    ) -> Result<IngestReport, ArchiveError> {
        let scripts = self.has_hooks(HookEvent::Archive);
        let mut teller = Teller { server: self, context, current: None, scripts };
        let report = ingest::ingest(self.catalog.disk(), self.layout(), options, &mut teller, &context.stop)?;
        for source in &report.sources {
            if let Some(why) = &source.aborted {
                context.tell(Event::Warning(format!("archiving from {} ended: {why}", source.source)));
            }
            let names: Vec<String> = source
                .unknown
                .iter()
                .filter_map(|(path, _)| Some(path.file_name()?.to_string_lossy().into_owned()))
                .collect();
            for (_, problem) in &source.unmovable {
                context
                    .tell(Event::Warning(format!("an object that is no WAL stays in the queue: {problem}")));
            }
            if !names.is_empty() {
                context.tell(Event::Unknown { server: self.name().to_owned(), names });
            }
        }
        let mut unreadable = report.unreadable();
        if let Some((first, problem)) = unreadable.next() {
            let (count, problem) = (1 + unreadable.count(), problem.to_owned());
            return Err(ArchiveError::Unreadable { count, first, problem });
        }
        drop(unreadable);
        Ok(report)
    }

    pub(crate) fn ingest_options(
        &self,
        options: &ArchiveOptions,
        context: &Context<'_>,
    ) -> Result<IngestOptions, ArchiveError> {
        let config = &self.config;
        if encryption::is_on(config) && !self.gpg.can_encrypt() {
            return Err(ArchiveError::NoKey { server: self.name().to_owned() });
        }
        let compression = match config.compression.as_deref() {
            None | Some("" | "none" | "custom") => Compression::None,
            Some("pigz" | "pygzip") => Compression::Gzip,
            Some("pybzip2") => Compression::Bzip2,
            Some(name) => name.parse().map_err(|_| ArchiveError::Compression {
                name: name.to_owned(),
                server: self.name().to_owned(),
            })?,
        };
        let mut ingest = IngestOptions::new(context.now());
        ingest.streaming = config.streaming_archiver;
        ingest.file_archival = config.archiver;
        ingest.streaming_batch_size = config.streaming_archiver_batch_size as usize;
        ingest.file_archival_batch_size = config.archiver_batch_size as usize;
        ingest.compression = compression;
        ingest.compression_name =
            config.compression.clone().filter(|name| name.parse::<Compression>().is_err());
        ingest.custom = custom_filter(config)?;
        ingest.gpg = Some(self.gpg.clone().with_stop(std::sync::Arc::clone(&context.stop)));
        ingest.encrypt = encryption::is_on(config);
        ingest.compression_level = level(config.compression_level);
        ingest.workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        ingest.system_id =
            Identity::load(&self.layout().identity())?.and_then(|identity| identity.system_id.parse().ok());
        ingest.validate = !options.accept_invalid;
        if let Some(address) = self.wals_address() {
            // As in Barman 3.19, whose clients of object stores have neither.
            if ingest.encrypt || ingest.custom.is_some() {
                return Err(crate::ObjectStoreError::Unsupported {
                    what: "encryption, or compression by a filter,",
                    server: self.name().to_owned(),
                    key: "wals_directory",
                    address: address.to_string(),
                }
                .into());
            }
            ingest.objects = Some(self.wal_objects()?);
            ingest.workers = UPLOADS;
        }
        if self.has_hooks(HookEvent::Archive) {
            // Scripts expect one file after the other.
            (ingest.workers, ingest.group) = (1, 1);
        }
        Ok(ingest)
    }

    /// Opens the WAL index under its lock.
    pub(crate) fn wal_index(
        &self,
        context: &Context<'_>,
    ) -> Result<XlogDb<'_>, tapster_catalog::XlogDbError> {
        XlogDb::lock(self.catalog.disk(), self.layout(), &context.stop)
    }
}

/// The filters of `compression = custom`.
pub(crate) fn custom_filter(config: &ServerConfig) -> Result<Option<CustomFilter>, ArchiveError> {
    if config.compression.as_deref() != Some("custom") {
        return Ok(None);
    }
    let missing = |key: &str| ArchiveError::CustomFilter {
        key: key.to_owned(),
        server: config.name.as_str().to_owned(),
    };
    let filter = |key: &str, value: &Option<String>| value.clone().ok_or_else(|| missing(key));
    let mut custom = CustomFilter::new(
        filter("custom_compression_filter", &config.custom_compression_filter)?,
        filter("custom_decompression_filter", &config.custom_decompression_filter)?,
    );
    if let Some(magic) = config.text("custom_compression_magic") {
        let magic = CustomFilter::parse_magic(magic).ok_or_else(|| missing("custom_compression_magic"))?;
        custom.magic = Some(magic);
    }
    Ok(Some(custom))
}

fn level(configured: CompressionLevel) -> Level {
    match configured {
        CompressionLevel::Low => Level::Low,
        CompressionLevel::Medium => Level::Medium,
        CompressionLevel::High => Level::High,
        CompressionLevel::Number(number) => Level::Exact(i32::try_from(number).unwrap_or(i32::MAX)),
    }
}

/// Turns what the ingest reports into events as it happens.
struct Teller<'a, 'c> {
    server: &'a Server,
    context: &'a Context<'c>,
    current: Option<Source>,
    /// Whether there are scripts to run.
    scripts: bool,
}

/// What became of a file, as scripts are told.
pub(crate) enum Told<'e> {
    Archived,
    /// It was there before: Barman tells only retry scripts.
    Again,
    Not(&'e str),
}

impl Teller<'_, '_> {
    fn after_scripts(&self, file: &IngestFile<'_>, told: &Told<'_>) {
        if !self.scripts {
            return;
        }
        let places = match told {
            Told::Archived => [file.target, file.path],
            // What the file in the queue was, if it is still there.
            Told::Again | Told::Not(_) => [file.path, file.target],
        };
        let entry = self.server.entry_for_scripts(file.name, places);
        self.server.scripts_after_archiving(&entry, file.target, told, self.context);
    }
}

impl Server {
    /// Runs the scripts after a file, of which `path` is told.
    pub(crate) fn scripts_after_archiving(
        &self,
        entry: &XlogEntry,
        path: &Path,
        told: &Told<'_>,
        context: &Context<'_>,
    ) {
        let variables = |error| wal_variables(entry, path, error);
        let (retry, plain) = match told {
            Told::Archived => ("", ""),
            Told::Again => ("the archive has this file already", ""),
            Told::Not(why) => (*why, *why),
        };
        self.hooks_after_each(HookEvent::Archive, &variables(retry), &variables(plain), context);
    }

    /// A file that is archived, from the first of `places` at which it is.
    pub(crate) fn entry_for_scripts(&self, name: WalName, places: [&Path; 2]) -> XlogEntry {
        let look = |path| XlogEntry::of_file(path, name, self.custom.as_ref()).ok().flatten();
        let found = places.into_iter().find_map(|path| Some((path, look(path)?)));
        let Some((path, mut entry)) = found else {
            return XlogEntry { name, size: 0, mtime: 0.0, compression: None, encryption: None };
        };
        // Barman calls it as the configuration does.
        let spelled = self.config.compression.as_deref().filter(|_| path == self.layout().wal(name));
        let codec = match spelled {
            Some("pigz" | "pygzip") => "gzip",
            Some("pybzip2") => "bzip2",
            _ => return entry,
        };
        if entry.compression.as_deref() == Some(codec) {
            entry.compression = spelled.map(str::to_owned);
        }
        entry
    }
}

impl IngestObserver for Teller<'_, '_> {
    fn source(&mut self, source: Source, found: usize, run: usize) {
        self.current = Some(source);
        self.context.tell(Event::Archiving {
            source: match source {
                Source::Streaming => WalSource::Streaming,
                Source::FileArchival => WalSource::FileArchival,
            },
            server: self.server.name().to_owned(),
            batch: (run > 0 && run < found).then_some(run),
            empty: found == 0 || run == 0,
        });
    }

    fn before(&mut self, file: &IngestFile<'_>) -> ControlFlow<String> {
        if !self.scripts {
            return ControlFlow::Continue(());
        }
        let entry = self.server.entry_for_scripts(file.name, [file.path, file.target]);
        let variables = wal_variables(&entry, file.path, "");
        let ended = match self.server.hooks_before(HookEvent::Archive, &variables, self.context) {
            Ok(()) if !self.context.stopped() => return ControlFlow::Continue(()),
            // The script has not said that the file may be archived.
            Ok(()) => "a request to stop came while the script before archiving ran".to_owned(),
            Err(abort) => abort.to_string(),
        };
        self.after_scripts(file, &Told::Not(&ended));
        ControlFlow::Break(ended)
    }

    fn failed(&mut self, file: &IngestFile<'_>, error: &ingest::IngestError) {
        self.after_scripts(file, &Told::Not(&error.to_string()));
    }

    fn after(&mut self, file: &IngestFile<'_>, outcome: &Outcome) {
        let server = || self.server.name().to_owned();
        match outcome {
            Outcome::Archived { .. } => self.after_scripts(file, &Told::Archived),
            Outcome::AlreadyArchived => self.after_scripts(file, &Told::Again),
            outcome => self.after_scripts(file, &Told::Not(&problem(outcome))),
        }
        match outcome {
            Outcome::Archived { .. } | Outcome::AlreadyArchived => {
                self.context.tell(Event::Archived { wal: file.name });
            }
            Outcome::Duplicate { .. } => {
                self.context.tell(Event::Duplicate { wal: file.name, server: server() });
            }
            Outcome::Invalid { reason, .. } => self.context.tell(Event::Rejected {
                name: file.name.to_string(),
                server: server(),
                reason: reason.to_string(),
            }),
            Outcome::Unreadable { problem } => {
                self.context.tell(Event::LeftInQueue { wal: file.name, reason: problem.clone() });
            }
            Outcome::Unsettled { reason } => self.context.tell(Event::LeftInQueue {
                wal: file.name,
                reason: format!("{reason}, and it changed a moment ago"),
            }),
            _ => {}
        }
    }
}

/// What scripts are told of a file that was not archived.
fn problem(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Duplicate { .. } => "the archive has another file of this name".to_owned(),
        Outcome::Invalid { reason, .. } | Outcome::Unsettled { reason } => reason.to_string(),
        Outcome::Unreadable { problem } => problem.clone(),
        _ => "it has vanished".to_owned(),
    }
}
