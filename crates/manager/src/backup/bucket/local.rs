//! `backup_method = local-to-cloud`: the files of a server on this host.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tapster_catalog::{BackupMode, BackupRecord, CopyStats};
use tapster_copy::archive::ArchiveRelay;
use tapster_copy::live::{self, Limiter, LiveTree, Rules, StreamError, StreamOptions};
use tapster_copy::pages::PageReport;
use tapster_copy::tar::{NewMember, Writer};
use tapster_copy::tree::TreeError;

use super::{Feed, Target, relayed, size, stored};
use crate::backup::BackupStepError;
use crate::backup::files::external::{config_files, may_be_missing, warn_of_included};
use crate::backup::files::limits::limit;
use crate::backup::files::local::{Watcher, page_rules, trees};
use crate::backup::files::session::{KeepAlive, Session};
use crate::backup::files::{Files, absent, with_retries};
use crate::backup::method::{Finished, Job, Label, Method, Position, ServerState, broken};
use crate::cloud::backup::objects::Times;
use crate::event::Event;

/// The method.
pub(in crate::backup) struct LocalToBucket {
    target: Target,
    files: Files,
}

/// The data directory's archive, which waits for the label.
pub(in crate::backup) struct Read {
    archive: Writer<Feed>,
    pages: Option<PageReport>,
    /// The names of tablespaces of which nothing was seen.
    absent: Vec<String>,
}

impl LocalToBucket {
    pub(in crate::backup) fn new(target: Target, job: &Job<'_>) -> Self {
        Self { target, files: Files::local(job) }
    }
}

impl Method for LocalToBucket {
    type Begun = Session;
    type Copied = (Session, Read);

    fn mode(&self) -> BackupMode {
        BackupMode::LocalToCloudConcurrent
    }

    fn program(&self) -> &'static str {
        "local-to-cloud"
    }

    fn destination(&self) -> Option<String> {
        Some(self.target.name())
    }

    fn begin(
        &self,
        record: &mut BackupRecord,
        state: &ServerState,
        job: &Job<'_>,
    ) -> Result<(Session, Option<Position>), BackupStepError> {
        self.files.begin(record, state, job)
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
        let clean = || self.target.clean(record);
        let read = with_retries(job, keep.halt(), clean, || self.once(record, job, major, keep.halt()));
        // A lost session is why the copy was stopped.
        let session = keep.finish()?;
        match read {
            Ok(_) if job.context.stopped() => {
                session.give_up();
                Err(BackupStepError::Stopped)
            }
            Ok((read, stats)) => Ok(((session, read), stats)),
            Err(error) => {
                session.give_up();
                Err(error)
            }
        }
    }

    fn finish(
        &self,
        (mut session, read): Self::Copied,
        record: &mut BackupRecord,
        job: &Job<'_>,
    ) -> Result<Finished, BackupStepError> {
        job.context.tell(Event::FinalisingOnServer);
        if let Err(error) = absent::dropped(&read.absent, &mut session, record, job) {
            session.give_up();
            return Err(error);
        }
        let stopped = session.stop()?;
        let Read { mut archive, pages, .. } = read;
        let path = PathBuf::from("backup_label");
        let mut member = NewMember::file(&path, stopped.label.len() as u64);
        member.mode = 0o600;
        member.mtime.0 = u64::try_from(job.context.now().unix_timestamp()).unwrap_or(0);
        archive.start(&member).and_then(|()| archive.write_all(&stopped.label)).map_err(relayed)?;
        let Feed(relay) = archive.finish().map_err(relayed)?;
        let report = relay.finish().map_err(stored)?;
        let path = job.server.catalog.place_of(&record.id).join("backup_label");
        Ok(Finished {
            label: Label { text: stopped.label, path },
            end: stopped.end,
            tablespaces: None,
            checksum_failures: broken(pages),
            stored: Some(size(&report)),
        })
    }
}

impl LocalToBucket {
    fn once(
        &self,
        record: &BackupRecord,
        job: &Job<'_>,
        major: u32,
        halt: &AtomicBool,
    ) -> Result<(Read, CopyStats), BackupStepError> {
        let begun = Instant::now();
        let pgdata = PathBuf::from(record.pgdata.as_deref().unwrap_or_default());
        let (objects, times): (_, Times) = self.target.objects(record, job, None);
        let mut options = self.target.relay_options(job);
        options.root_mode = root_mode(&pgdata);
        let mut relay = ArchiveRelay::new(objects, options);
        let mut pages = PageReport::default();
        let mut read_options = StreamOptions::default();
        read_options.pages = page_rules(&pgdata, record)?;
        let checks_pages = read_options.pages.is_some();
        let observer = Watcher::new(job.context, record.cluster_size);
        let mut absent = Vec::new();
        let mut last = None;
        for (oid, mut tree) in oids(record).zip(trees(record, job, major, &pgdata, None)) {
            // A file of the server that lies elsewhere comes behind, under its bare name: PGDATA's own of that name is not in use, and
            // two of one name cannot be unpacked.
            if let Rules::Data { elsewhere } = &mut tree.rules {
                let external = config_files(record).into_iter().filter(|file| file.path.exists());
                elsewhere.extend(external.filter_map(|file| file.path.file_name().map(PathBuf::from)));
            }
            relay.start_archive(oid).map_err(stored)?;
            let name = oid.map(|_| tree.label.as_str());
            read_options.limiter =
                limit(job, name).map(|kilobytes| Arc::new(Limiter::new(u64::from(kilobytes) * 1024)));
            let mut archive = Writer::new(Feed(relay));
            let report = self.read(&tree, &mut archive, &read_options, &observer, halt)?;
            for path in &report.skipped {
                let text = format!("skipped '{}': no file, directory or link to one", path.display());
                job.context.tell(Event::Warning(text));
            }
            absent.extend(report.absent);
            pages.merge(report.pages.unwrap_or_default());
            if oid.is_none() {
                last = Some(archive);
                break;
            }
            relay = archive.finish().map_err(relayed)?.0;
        }
        let Some(mut archive) = last else {
            return Err(BackupStepError::Io { path: pgdata, source: std::io::ErrorKind::NotFound.into() });
        };
        add_config_files(record, job, &mut archive)?;
        live::stream_control_file(&pgdata, &mut archive).map_err(unread)?;
        observer.finish();
        // It goes on when the server has said what the label is.
        times.end("data");
        let stats = times.stats(begun, self.target.workers());
        Ok((Read { archive, pages: checks_pages.then_some(pages), absent }, stats))
    }

    fn read(
        &self,
        tree: &LiveTree,
        archive: &mut Writer<Feed>,
        options: &StreamOptions,
        observer: &Watcher<'_>,
        halt: &AtomicBool,
    ) -> Result<live::LiveReport, BackupStepError> {
        live::stream(tree, archive, options, observer, halt).map_err(unread)
    }
}

fn unread(error: StreamError) -> BackupStepError {
    match error {
        StreamError::Tree(TreeError::Stopped) => BackupStepError::Stopped,
        StreamError::Tree(error) => error.into(),
        StreamError::Output(error) => relayed(error),
        other => BackupStepError::Io { path: "archive".into(), source: std::io::Error::other(other) },
    }
}

/// Of the trees: the tablespaces that have one, then the data directory.
fn oids(record: &BackupRecord) -> impl Iterator<Item = Option<u32>> {
    let spaces = record.tablespaces.iter().filter(|t| Path::new(&t.location).is_absolute());
    spaces.map(|tablespace| Some(tablespace.oid)).chain([None])
}

fn root_mode(pgdata: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(pgdata).map_or(0o700, |found| found.mode() & 0o050 | 0o700)
}

/// Into the root of the data directory, as Barman does.
fn add_config_files(
    record: &BackupRecord,
    job: &Job<'_>,
    archive: &mut Writer<Feed>,
) -> Result<(), BackupStepError> {
    for file in config_files(record) {
        let Some(name) = file.path.file_name() else { continue };
        match std::fs::read(&file.path) {
            Ok(content) => {
                let mut member = NewMember::file(Path::new(name), content.len() as u64);
                member.mode = 0o600;
                archive.start(&member).and_then(|()| archive.write_all(&content)).map_err(relayed)?;
            }
            Err(error) if may_be_missing(&file, &error) => {}
            Err(source) => return Err(BackupStepError::Io { path: file.path, source }),
        }
    }
    warn_of_included(record, job);
    Ok(())
}
