//! `backup_method = postgres` into an object store.

use std::time::Instant;

use tapster_catalog::durable::{self, Publish};
use tapster_catalog::{BackupMode, BackupRecord, CopyStats};
use tapster_copy::ChecksumAlgorithm;
use tapster_copy::archive::{ArchiveRelay, RelayReport};
use tapster_copy::pages::PageRules;
use tapster_protocol::{BackupEnd, BackupEvent, ManifestMode};

use super::{Target, size, stored};
use crate::backup::BackupStepError;
use crate::backup::files::external::warn_of_external;
use crate::backup::files::with_retries;
use crate::backup::method::{Finished, Job, Label, Method, Position, ServerState};
use crate::backup::postgres::{checksum_failures, copy};
use crate::event::{Event, Progress};

/// The method.
pub(in crate::backup) struct StreamToBucket(pub(in crate::backup) Target);

/// A stream that came to its end.
pub(in crate::backup) struct Streamed {
    end: BackupEnd,
    tablespaces: Vec<(u32, String)>,
    relayed: RelayReport,
}

impl Method for StreamToBucket {
    /// As for the stream into a directory.
    type Begun = Option<u32>;
    type Copied = Streamed;

    fn mode(&self) -> BackupMode {
        BackupMode::Postgres
    }

    fn program(&self) -> &'static str {
        "pg_basebackup"
    }

    fn destination(&self) -> Option<String> {
        Some(self.0.name())
    }

    fn begin(
        &self,
        _record: &mut BackupRecord,
        state: &ServerState,
        _job: &Job<'_>,
    ) -> Result<(Option<u32>, Option<Position>), BackupStepError> {
        Ok((state.checked_segment_blocks, state.position))
    }

    fn copy(
        &self,
        checked_segment_blocks: Option<u32>,
        record: &BackupRecord,
        job: &Job<'_>,
    ) -> Result<(Streamed, CopyStats), BackupStepError> {
        let clean = || self.0.clean(record);
        with_retries(job, &job.context.stop, clean, || self.once(checked_segment_blocks, record, job))
    }

    fn finish(
        &self,
        streamed: Streamed,
        record: &mut BackupRecord,
        job: &Job<'_>,
    ) -> Result<Finished, BackupStepError> {
        warn_of_external(record, job);
        job.context.tell(Event::Finalising);
        let path = job.server.catalog.place_of(&record.id).join("backup_label");
        let Streamed { end, tablespaces, relayed } = streamed;
        let (stored, pages) = (size(&relayed), relayed.report.pages);
        let Some(text) = relayed.report.label else {
            return Err(BackupStepError::Label { path, problem: "it is not in the archive".to_owned() });
        };
        Ok(Finished {
            label: Label { text, path },
            end: Position { timeline: end.timeline, lsn: end.stop_lsn },
            tablespaces: Some(tablespaces),
            checksum_failures: checksum_failures(end, pages),
            stored: Some(stored),
        })
    }
}

impl StreamToBucket {
    fn once(
        &self,
        checked_segment_blocks: Option<u32>,
        record: &BackupRecord,
        job: &Job<'_>,
    ) -> Result<(Streamed, CopyStats), BackupStepError> {
        let begun = Instant::now();
        let Job { server, context, .. } = *job;
        let mut connection =
            server.connect_streaming(&server.config.streaming_backup_name, context.stop.clone())?;
        let major = connection.server_version().major();
        let request = copy::request(record, job, major);
        let has_manifest = request.manifest == ManifestMode::Yes;
        let mut stream = connection.base_backup(&request)?;

        let (objects, times) = self.0.objects(record, job, None);
        let mut options = self.0.relay_options(job);
        options.checksum = has_manifest.then_some(ChecksumAlgorithm::Crc32c);
        // Only a server that reads torn pages again sends none of before the start.
        let checked = checked_segment_blocks.filter(|_| major >= copy::FIRST_TO_VERIFY_PAGES);
        options.pages = checked.map(|segment_blocks| PageRules { segment_blocks, start: stream.start_lsn() });
        // What is a standby here must not make a standby of what is restored.
        options.skip = ["standby.signal", "recovery.signal"].map(str::to_owned).to_vec();
        let tablespaces = stream.tablespaces().iter().filter_map(|t| Some((t.oid?, t.location.clone()?)));
        let tablespaces = tablespaces.collect();
        let mut relay = ArchiveRelay::new(objects, options);
        // Incremental backups are asked for with it, and it is compared without the store being asked.
        let manifest_path = server.layout().annotation(&record.id, "backup_manifest");
        let mut manifest: Option<Publish<'_>> = None;
        let (mut done, mut told) = (0_u64, Instant::now());
        while let Some(event) = stream.next()? {
            match event {
                BackupEvent::Archive { oid, .. } => relay.start_archive(oid).map_err(stored)?,
                BackupEvent::Manifest => {
                    relay.start_manifest().map_err(stored)?;
                    manifest = Some(Publish::create(server.catalog.disk(), &manifest_path, Some(0o600))?);
                }
                BackupEvent::Data(bytes) => {
                    relay.feed(bytes).map_err(stored)?;
                    if let Some(manifest) = &mut manifest {
                        manifest.write_all(bytes)?;
                    }
                    done = done.saturating_add(bytes.len() as u64);
                    if told.elapsed() >= copy::PROGRESS_PAUSE {
                        told = Instant::now();
                        context.observer.progress(Progress { done, total: record.cluster_size });
                    }
                }
                _ => {}
            }
        }
        let end = stream.finish()?;
        let relayed = relay.finish().map_err(stored)?;
        if let Some(manifest) = manifest {
            manifest.publish(durable::Clobber::Replace)?;
        }
        context.observer.progress(Progress { done, total: Some(done) });
        let stats = times.stats(begun, self.0.workers());
        Ok((Streamed { end, tablespaces, relayed }, stats))
    }
}
