//! The files of a server on this host.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tapster_catalog::{BackupRecord, CopyStats, durable};
use tapster_copy::CopyObserver;
use tapster_copy::live::{self, LiveOptions, LiveTree, Rules};
use tapster_copy::pages::PageRules;
use tapster_copy::tree::TreeError;
use walfile::ControlFile;

use super::external::{config_files, may_be_missing, warn_of_included};
use super::previous::Previous;
use super::{Copy, jobs, statistics};
use crate::Context;
use crate::backup::BackupStepError;
use crate::backup::method::Job;
use crate::event::{Event, Progress};

/// How often progress is told.
const PROGRESS_PAUSE: Duration = Duration::from_millis(100);

pub(super) fn copy(
    record: &BackupRecord,
    job: &Job<'_>,
    major: u32,
    halt: &AtomicBool,
) -> Result<(Copy, CopyStats), BackupStepError> {
    let begin = Instant::now();
    let pgdata = PathBuf::from(record.pgdata.as_deref().unwrap_or_default());
    let data = job.server.layout().data_dir(&record.id);
    durable::create_dir_all(job.server.catalog.disk(), &job.server.layout().backup_dir(&record.id), None)?;
    let previous = Previous::find(record, job)?;
    let mut options = LiveOptions::default();
    options.threads = usize::try_from(jobs(job)).unwrap_or(1);
    options.reuse = previous.reuse;
    options.pages = page_rules(&pgdata, record)?;
    let trees = trees(record, job, major, &pgdata, Some(&previous));
    let observer = Watcher::new(job.context, record.cluster_size);
    let copying = Instant::now();
    let report = live::copy(&trees, &options, &observer, halt).map_err(stopped)?;
    for path in &report.skipped {
        job.context
            .tell(Event::Warning(format!("skipped '{}': no file, directory or link to one", path.display())));
    }
    copy_config_files(record, job, &data)?;
    live::control_file(&pgdata, &data)?;
    let copied = copying.elapsed();
    durable::sync_dir(job.server.catalog.disk(), &job.server.layout().backup_dir(&record.id))?;
    observer.finish();
    let stats = statistics(&report, jobs(job), begin, copied);
    Ok((Copy { pages: report.pages, absent: report.absent }, stats))
}

fn stopped(error: TreeError) -> BackupStepError {
    match error {
        TreeError::Stopped => BackupStepError::Stopped,
        other => other.into(),
    }
}

/// Pages changed since the backup began are the WAL's.
pub(in crate::backup) fn page_rules(
    pgdata: &Path,
    record: &BackupRecord,
) -> Result<Option<PageRules>, BackupStepError> {
    let Some(start) = record.begin_xlog else { return Ok(None) };
    let path = pgdata.join("global/pg_control");
    let mut attempts = 0;
    loop {
        let bytes =
            std::fs::read(&path).map_err(|source| BackupStepError::Io { path: path.clone(), source })?;
        match ControlFile::parse(&bytes) {
            Ok(control) => return Ok(PageRules::of(&control, start)),
            // Read while the server wrote it.
            Err(_) if attempts < 100 => attempts += 1,
            Err(error) => {
                let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
                return Err(BackupStepError::Io { path, source });
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Those of the tablespaces, then that of the data directory.
pub(in crate::backup) fn trees(
    record: &BackupRecord,
    job: &Job<'_>,
    major: u32,
    pgdata: &Path,
    previous: Option<&Previous>,
) -> Vec<LiveTree> {
    let layout = job.server.layout();
    let limit =
        |name: Option<&str>| super::limits::limit(job, name).map(|kilobytes| u64::from(kilobytes) * 1024);
    let mut elsewhere = std::collections::BTreeSet::new();
    let real = pgdata.canonicalize().unwrap_or_else(|_| pgdata.to_path_buf());
    let mut trees = Vec::new();
    for tablespace in record.tablespaces.iter().filter(|t| Path::new(&t.location).is_absolute()) {
        let location = Path::new(&tablespace.location);
        let inside = [pgdata, &real].iter().find_map(|root| location.strip_prefix(root).ok());
        elsewhere.extend(inside.map(Path::to_path_buf));
        let target = layout.tablespace_dir(&record.id, tablespace.oid);
        let mut tree = LiveTree::new(&tablespace.name, location, target, Rules::Tablespace { major });
        tree.reference = previous.and_then(|previous| previous.reference(job, Some(tablespace.oid)));
        tree.limit = limit(Some(&tablespace.name));
        trees.push(tree);
    }
    let mut tree = LiveTree::new("pgdata", pgdata, layout.data_dir(&record.id), Rules::Data { elsewhere });
    tree.reference = previous.and_then(|previous| previous.reference(job, None));
    tree.limit = limit(None);
    trees.push(tree);
    trees
}

/// Into the root of the data directory, as Barman does.
fn copy_config_files(record: &BackupRecord, job: &Job<'_>, data: &Path) -> Result<(), BackupStepError> {
    for file in config_files(record) {
        let Some(name) = file.path.file_name() else { continue };
        match std::fs::read(&file.path) {
            Ok(content) => durable::replace(job.server.catalog.disk(), &data.join(name), &content)?,
            Err(error) if may_be_missing(&file, &error) => {}
            Err(source) => return Err(BackupStepError::Io { path: file.path, source }),
        }
    }
    warn_of_included(record, job);
    Ok(())
}

/// Tells the context's observer how far the copy is, not too often.
pub(crate) struct Watcher<'a> {
    context: &'a Context<'a>,
    total: Option<u64>,
    done: AtomicU64,
    told: Mutex<Instant>,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(context: &'a Context<'a>, total: Option<u64>) -> Self {
        Self { context, total, done: AtomicU64::new(0), told: Mutex::new(Instant::now()) }
    }

    pub(crate) fn finish(&self) {
        let done = self.done.load(Ordering::Relaxed);
        self.context.observer.progress(Progress { done, total: Some(done) });
    }
}

impl CopyObserver for Watcher<'_> {
    fn bytes(&self, n: u64) {
        let done = self.done.fetch_add(n, Ordering::Relaxed) + n;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= PROGRESS_PAUSE {
            *told = Instant::now();
            self.context.observer.progress(Progress { done, total: self.total });
        }
    }
}
