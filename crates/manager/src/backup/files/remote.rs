//! The files of a server on another host, through `rsync` and `ssh`.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tapster_catalog::{BackupRecord, CopyStats, durable};
use tapster_copy::live::Rules;
use tapster_copy::pages::PageRules;
use tapster_copy::rsync::{Rsync, RsyncError, RsyncTree};
use tapster_copy::sync;
use tapster_copy::tree::TreeError;

use super::external::{config_files, warn_of_included};
use super::local::Watcher;
use super::previous::Previous;
use super::{Copy, jobs, limits, statistics};
use crate::backup::BackupStepError;
use crate::backup::method::Job;
use crate::event::Event;
use crate::rsync::configured;

pub(super) fn copy(
    record: &BackupRecord,
    job: &Job<'_>,
    major: u32,
    halt: &AtomicBool,
) -> Result<(Copy, CopyStats), BackupStepError> {
    let begin = Instant::now();
    let layout = job.server.layout();
    let (dir, data) = (layout.backup_dir(&record.id), layout.data_dir(&record.id));
    let pgdata = record.pgdata.as_deref().unwrap_or_default().trim_end_matches('/');
    durable::create_dir_all(job.server.catalog.disk(), &dir, None)?;
    let previous = Previous::find(record, job)?;
    let mut rsync = rsync(job);
    rsync.reuse = previous.reuse;
    let trees = trees(record, job, major, pgdata, &previous);
    let observer = Watcher::new(job.context, record.cluster_size);
    let retried = |attempt: u32, error: &RsyncError| {
        job.context.tell(Event::RsyncRetry {
            attempt,
            error: error.to_string(),
            retry_in: rsync.retry_sleep,
        });
    };
    // Only to know the rules of the pages; the one that is kept is fetched last.
    let first = tempfile::tempdir().map_err(|source| BackupStepError::Io { path: dir.clone(), source })?;
    let global = first.path().join("global");
    sync::create_dir_all(&global, 0o700).map_err(TreeError::from)?;
    let control = rsync.control_file(pgdata, first.path(), halt).map_err(stopped)?;
    let rules = record.begin_xlog.and_then(|start| PageRules::of(&control, start));
    let copying = Instant::now();
    let report = rsync.copy(&trees, rules, &observer, &retried, halt).map_err(stopped)?;
    for path in &report.skipped {
        job.context
            .tell(Event::Warning(format!("skipped '{}': no file, directory or link to one", path.display())));
    }
    copy_config_files(&rsync, record, job, &data, halt)?;
    rsync.control_file(pgdata, &data, halt).map_err(stopped)?;
    sync::file(&data.join("global/pg_control")).map_err(TreeError::from)?;
    for changed in [data.join("global"), data, dir] {
        durable::sync_dir(job.server.catalog.disk(), &changed)?;
    }
    let copied = copying.elapsed();
    observer.finish();
    let stats = statistics(&report, jobs(job), begin, copied);
    Ok((Copy { pages: report.pages, absent: report.absent }, stats))
}

/// `rsync` as the configuration and the options have it.
fn rsync(job: &Job<'_>) -> Rsync {
    let (options, config) = (job.options, &job.server.config);
    let mut rsync = configured(config);
    rsync.ssh_command.clone_from(&config.ssh_command);
    rsync.jobs = usize::try_from(jobs(job)).unwrap_or(1);
    rsync.batch_size = options.jobs_start_batch_size.unwrap_or(rsync.batch_size);
    let period = options.jobs_start_batch_period.map(|seconds| Duration::from_secs(seconds.into()));
    rsync.batch_period = period.unwrap_or(rsync.batch_period);
    rsync.retry_times = options.retry_times.unwrap_or(rsync.retry_times);
    rsync.retry_sleep = options.retry_sleep.unwrap_or(rsync.retry_sleep);
    rsync
}

fn stopped(error: RsyncError) -> BackupStepError {
    match error {
        RsyncError::Stopped | RsyncError::Tree(TreeError::Stopped) => BackupStepError::Stopped,
        other => other.into(),
    }
}

fn trees(
    record: &BackupRecord,
    job: &Job<'_>,
    major: u32,
    pgdata: &str,
    previous: &Previous,
) -> Vec<RsyncTree> {
    let layout = job.server.layout();
    let mut elsewhere = std::collections::BTreeSet::new();
    let mut in_place = std::collections::BTreeSet::new();
    let mut trees = Vec::new();
    for tablespace in &record.tablespaces {
        let location = Path::new(&tablespace.location);
        if !location.is_absolute() {
            in_place.insert(tablespace.oid);
            continue;
        }
        elsewhere.extend(location.strip_prefix(pgdata).ok().map(Path::to_path_buf));
        let target = layout.tablespace_dir(&record.id, tablespace.oid);
        let mut tree =
            RsyncTree::new(&tablespace.name, &tablespace.location, target, Rules::Tablespace { major });
        tree.reference = previous.reference(job, Some(tablespace.oid));
        tree.limit = limits::limit(job, Some(&tablespace.name));
        trees.push(tree);
    }
    let mut tree = RsyncTree::new("pgdata", pgdata, layout.data_dir(&record.id), Rules::Data { elsewhere });
    tree.in_place = in_place;
    tree.reference = previous.reference(job, None);
    tree.limit = limits::limit(job, None);
    trees.push(tree);
    trees
}

/// Into the root of the data directory, as Barman does.
fn copy_config_files(
    rsync: &Rsync,
    record: &BackupRecord,
    job: &Job<'_>,
    data: &Path,
    halt: &AtomicBool,
) -> Result<(), BackupStepError> {
    for file in config_files(record) {
        let (Some(source), Some(name)) = (file.path.to_str(), file.path.file_name()) else { continue };
        let target = data.join(name);
        // One of the same name came with the data directory; the one that is in use takes its place.
        durable::remove_file(job.server.catalog.disk(), &target)?;
        if rsync.file(source, &target, halt).map_err(stopped)? {
            sync::file(&target).map_err(TreeError::from)?;
        } else if !file.optional {
            return Err(RsyncError::Missing { path: source.to_owned() }.into());
        }
    }
    warn_of_included(record, job);
    Ok(())
}
