//! `backup_method = rsync` and `local-rsync`: the server is held in backup mode while its files are copied.
//!
//! Remote files come through the real `rsync` over `ssh`; local ones by [`tapster_copy::live`], which does what rsync does
//! there, and verifies page checksums as it goes. The layout is Barman's: `data/` without links, tablespaces beside it by their
//! object id, `backup_label` written from what the server answers at the end.

pub(super) mod absent;
pub(super) mod external;
pub(crate) mod limits;
pub(super) mod local;
pub(super) mod previous;
mod remote;
pub(super) mod session;

pub(crate) use self::local::Watcher;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tapster_catalog::{BackupMode, BackupRecord, CopyStats, durable};
use tapster_copy::live::LiveReport;
use tapster_copy::pages::PageReport;
use walfile::SegmentName;

use self::session::{KeepAlive, Session};
use super::BackupStepError;
use super::method::{Finished, Job, Label, Method, Position, ServerState, broken};
use crate::event::Event;

/// How the files come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// `local-rsync`.
    Local,
    /// `rsync`.
    Remote,
}

/// The two methods.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Files {
    way: Way,
    jobs: u32,
}

impl Files {
    /// `local-rsync`.
    pub(super) fn local(job: &Job<'_>) -> Self {
        Self { way: Way::Local, jobs: jobs(job) }
    }

    /// `rsync`.
    pub(super) fn remote(job: &Job<'_>) -> Self {
        Self { way: Way::Remote, jobs: jobs(job) }
    }
}

/// What a copy gives the frame.
pub(super) struct Copy {
    pages: Option<PageReport>,
    /// The names of tablespaces of which nothing was seen.
    absent: Vec<String>,
}

impl Method for Files {
    type Begun = Session;
    type Copied = (Session, Copy);

    fn mode(&self) -> BackupMode {
        BackupMode::RsyncConcurrent
    }

    fn program(&self) -> &'static str {
        match self.way {
            Way::Local => "local rsync",
            Way::Remote => "rsync/SSH",
        }
    }

    fn jobs(&self) -> Option<u32> {
        Some(self.jobs).filter(|jobs| *jobs > 1)
    }

    fn makes_manifest(&self, job: &Job<'_>) -> bool {
        job.options.manifest.unwrap_or(job.server.config.autogenerate_manifest)
    }

    fn begin(
        &self,
        record: &mut BackupRecord,
        state: &ServerState,
        job: &Job<'_>,
    ) -> Result<(Session, Option<Position>), BackupStepError> {
        let label = format!("Tapster backup {} {}", job.server.name(), record.id);
        let (mut session, begin) = Session::begin(job, &label, state.in_recovery)?;
        // What was made since the first look, while the checkpoint was waited for, is part of the backup.
        match session.remote().tablespaces() {
            Ok(tablespaces) => record.tablespaces = tablespaces,
            Err(error) => {
                session.give_up();
                return Err(error.into());
            }
        }
        let size = record.segment_size();
        record.begin_xlog = Some(begin.lsn);
        record.begin_wal = Some(SegmentName::containing(begin.timeline, begin.lsn, size));
        record.begin_offset = Some(begin.lsn.offset_in_segment(size));
        record.timeline = Some(begin.timeline);
        Ok((session, Some(begin)))
    }

    fn copy(
        &self,
        session: Session,
        record: &BackupRecord,
        job: &Job<'_>,
    ) -> Result<(Self::Copied, CopyStats), BackupStepError> {
        let interval = Duration::from_secs(
            job.options.keepalive_interval.unwrap_or(job.server.config.keepalive_interval).into(),
        );
        let major = session.major();
        let keep = KeepAlive::start(session, interval, job.context.stop.clone())
            .map_err(|source| BackupStepError::Io { path: "keep-alive".into(), source })?;
        let copied = match self.way {
            Way::Local => {
                let dir = job.server.layout().backup_dir(&record.id);
                let clean = || Ok(durable::remove_tree(job.server.catalog.disk(), &dir).map(drop)?);
                with_retries(job, keep.halt(), clean, || local::copy(record, job, major, keep.halt()))
            }
            // Each rsync is tried again by itself, and goes on where it stopped.
            Way::Remote => remote::copy(record, job, major, keep.halt()),
        };
        // A lost session is why the copy was stopped.
        let session = keep.finish()?;
        match copied {
            Ok(_) if job.context.stopped() => {
                session.give_up();
                Err(BackupStepError::Stopped)
            }
            Ok((copy, stats)) => Ok(((session, copy), stats)),
            Err(error) => {
                session.give_up();
                Err(error)
            }
        }
    }

    fn finish(
        &self,
        (mut session, copy): Self::Copied,
        record: &mut BackupRecord,
        job: &Job<'_>,
    ) -> Result<Finished, BackupStepError> {
        job.context.tell(Event::FinalisingOnServer);
        if let Err(error) = absent::settle(&copy.absent, &mut session, record, job) {
            session.give_up();
            return Err(error);
        }
        let stopped = session.stop()?;
        let path = job.server.layout().data_dir(&record.id).join("backup_label");
        durable::replace(job.server.catalog.disk(), &path, &stopped.label)?;
        Ok(Finished {
            label: Label { text: stopped.label, path },
            end: stopped.end,
            tablespaces: None,
            checksum_failures: broken(copy.pages),
            stored: None,
        })
    }
}

/// Tries again as often as was said, each time from the beginning; `clean` takes away what is there of it.
pub(super) fn with_retries<T>(
    job: &Job<'_>,
    halt: &AtomicBool,
    clean: impl Fn() -> Result<(), BackupStepError>,
    mut copy: impl FnMut() -> Result<T, BackupStepError>,
) -> Result<T, BackupStepError> {
    let Job { server, options, context } = *job;
    let times = options.retry_times.unwrap_or(server.config.basebackup_retry_times);
    let pause = options
        .retry_sleep
        .unwrap_or_else(|| Duration::from_secs(server.config.basebackup_retry_sleep.into()));
    let mut attempt = 0;
    loop {
        let error = match copy() {
            Ok(copied) => return Ok(copied),
            Err(error) => error,
        };
        if attempt >= times || halt.load(Ordering::Relaxed) {
            return Err(error);
        }
        context.tell(Event::CopyRetry { attempt, error: error.to_string(), retry_in: pause });
        clean()?;
        let end = Instant::now() + pause;
        while Instant::now() < end {
            if halt.load(Ordering::Relaxed) {
                return Err(BackupStepError::Stopped);
            }
            std::thread::sleep(Duration::from_millis(100).min(pause));
        }
        attempt += 1;
    }
}

/// Workers: the option's, else the configuration's.
fn jobs(job: &Job<'_>) -> u32 {
    job.options.jobs.unwrap_or(job.server.config.parallel_jobs).max(1)
}

/// The dictionary Barman keeps of a file copy.
fn statistics(report: &LiveReport, jobs: u32, begin: Instant, copied: Duration) -> CopyStats {
    use tapster_catalog::record::PyValue;
    let seconds = |duration: Duration| PyValue::Float((duration.as_secs_f64() * 1e6).round() / 1e6);
    let per_item = |time: fn(&tapster_copy::live::TreeTimes) -> Duration| {
        let pair = |tree| {
            let tree: &tapster_copy::live::TreeTimes = tree;
            (PyValue::Str(tree.label.clone()), seconds(time(tree)))
        };
        PyValue::Dict(report.trees.iter().map(pair).collect())
    };
    let mut stats = CopyStats::default();
    stats.set("total_time", seconds(begin.elapsed()));
    stats.set("number_of_workers", PyValue::Int(jobs.into()));
    stats.set("analysis_time", seconds(report.walk));
    stats.set("copy_time_per_item", per_item(|tree| tree.elapsed));
    stats.set("serialized_copy_time_per_item", per_item(|tree| tree.busy));
    stats.set("copy_time", seconds(copied));
    stats.set("serialized_copy_time", seconds(report.trees.iter().map(|tree| tree.busy).sum()));
    stats
}
