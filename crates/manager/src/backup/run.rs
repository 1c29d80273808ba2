//! The frame's middle: from the look at the server to the finished record.

use std::time::Instant;

use tapster_catalog::{BackupRecord, BackupStatus};
use walfile::{BackupLabel, SegmentName};

use super::BackupStepError;
use super::method::{Finished, Job, Label, Method, Position};
use crate::event::Event;
use crate::{GenerateManifestError, Server};

impl Server {
    /// `unmade` is why a complete backup has no manifest.
    pub(super) fn run_backup<M: Method>(
        &self,
        method: &M,
        record: &mut BackupRecord,
        job: &Job<'_>,
        action: &mut &'static str,
        unmade: &mut Option<GenerateManifestError>,
    ) -> Result<(), BackupStepError> {
        let context = job.context;
        context.tell(Event::BackupStarting {
            server: self.name().to_owned(),
            method: method.mode(),
            path: self.catalog.place_of(&record.id),
        });
        let state = self.describe_server(record, context)?;
        let (begun, position) = method.begin(record, &state, job)?;
        record.status = BackupStatus::Started;
        self.save(record)?;
        if let Some(Position { timeline, lsn }) = position {
            let size = record.segment_size();
            let segment = SegmentName::containing(timeline, lsn, size);
            context.tell(Event::BackupPosition { lsn, segment, offset: lsn.offset_in_segment(size) });
        }

        *action = "copying files";
        let (program, jobs) = (method.program(), method.jobs());
        context.tell(Event::CopyStarting { backup: record.id, program, jobs, to: method.destination() });
        let copy_started = Instant::now();
        let (copied, mut stats) = method.copy(begun, record, job)?;
        let copy_time = copy_started.elapsed();
        context.tell(Event::CopyDone { elapsed: copy_time });

        *action = "finalising";
        let finished = method.finish(copied, record, job)?;
        for key in ["copy_time", "total_time"] {
            if stats.number(key).is_none() {
                stats.set_seconds(key, copy_time.as_secs_f64());
            }
        }
        record.copy_stats = Some(stats);
        Self::settle_positions(record, &finished)?;
        let stored = finished.stored;
        if let Some(tablespaces) = finished.tablespaces {
            self.settle_tablespaces(record, tablespaces, context)?;
        }
        if let Some(detail) = finished.checksum_failures {
            return Err(BackupStepError::Checksums { detail: Some(detail).filter(|text| !text.is_empty()) });
        }
        self.mark_end_on_server(record, &state, context);
        self.encrypt_backup(record, context)?;
        if method.makes_manifest(job) {
            // Before anything is waited for, which may be given up. Of the copy's size it is a part.
            *unmade = self.make_manifest(record, context).err();
        }
        (record.size, record.deduplicated_size) = match stored {
            Some(bytes) => (Some(bytes), Some(bytes)),
            None => {
                let measured = tapster_copy::tree::sizes(&self.layout().backup_dir(&record.id))?;
                (Some(measured.total), Some(measured.deduplicated))
            }
        };
        record.status = BackupStatus::WaitingForWals;
        self.save(record)
    }

    /// The server's label says where the backup begins; the method knows where it ends.
    fn settle_positions(record: &mut BackupRecord, finished: &Finished) -> Result<(), BackupStepError> {
        let Label { text, path } = &finished.label;
        let problem = |problem: String| BackupStepError::Label { path: path.clone(), problem };
        let label = BackupLabel::parse(text).map_err(|e| problem(e.to_string()))?;
        let text = String::from_utf8(text.clone()).map_err(|_| problem("not UTF-8".to_owned()))?;
        let size = record.segment_size();
        record.begin_xlog = Some(label.start_lsn);
        record.begin_wal = Some(label.start_segment);
        record.begin_offset = Some(label.start_lsn.offset_in_segment(size));
        record.timeline = Some(label.timeline.unwrap_or_else(|| label.start_segment.timeline()));
        record.backup_label = Some(text);
        record.end_time = record.end_time.or(record.begin_time);
        let Position { timeline, lsn } = finished.end;
        record.end_xlog = Some(lsn);
        record.end_wal = SegmentName::ending_at(timeline, lsn, size);
        record.end_offset = Some(lsn.offset_in_segment(size));
        Ok(())
    }
}
