//! Where recovery of a backup starts, by what the backup itself says: its label, and for one of a standby its `pg_control`.

use std::path::Path;

use tapster_catalog::{BackupRecord, ServerLayout};
use walfile::{BackupFrom, BackupLabel, ClusterState, ControlFile, Lsn};

use super::backup::BackupProblem;
use crate::beginning::read_beginning;

/// PostgreSQL's own labels are below 2 KiB.
const MAX_LABEL: u64 = 64 * 1024;

/// Where recovery starts, as far as the backup says.
#[derive(Clone, Debug, Default)]
pub(super) struct Start {
    /// The record from which it starts; `None` when there is no label.
    pub(super) checkpoint: Option<Lsn>,
    /// Whether a record in the log says that the backup was complete. A standby writes none.
    pub(super) ends_with_record: bool,
    /// For a backup of a standby: the position at which its files are consistent.
    pub(super) min_recovery_point: Option<Lsn>,
    /// What is wrong with the backup's own files.
    pub(super) problems: Vec<BackupProblem>,
}

impl Start {
    /// Reads the label and, for a backup of a standby, `pg_control`. Either may be inside an archive, and then it says nothing.
    pub(super) fn of(record: &BackupRecord, layout: &ServerLayout) -> Self {
        let mut start = Self::default();
        let data = layout.data_dir(&record.id);
        let label = match &record.backup_label {
            Some(text) => Ok(Some(text.clone().into_bytes())),
            None => read_beginning(&data.join("backup_label"), MAX_LABEL),
        };
        let label = match label.map_err(|error| error.to_string()) {
            Ok(None) => return start,
            Ok(Some(bytes)) => BackupLabel::parse(&bytes).map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        match label {
            Ok(label) => start.follow(&label, record, &data),
            Err(reason) => start.problems.push(BackupProblem::Label { reason }),
        }
        start
    }

    fn follow(&mut self, label: &BackupLabel, record: &BackupRecord, data: &Path) {
        self.checkpoint = Some(label.checkpoint_lsn);
        if let Some(recorded) = record.begin_xlog.filter(|recorded| *recorded != label.start_lsn) {
            self.problems.push(BackupProblem::Begin { recorded, label: label.start_lsn });
        }
        self.ends_with_record = label.from != Some(BackupFrom::Standby);
        if self.ends_with_record {
            return;
        }
        let path = data.join("global/pg_control");
        let control = match read_beginning(&path, ControlFile::FILE_LEN as u64) {
            Ok(None) => return,
            Ok(Some(bytes)) => ControlFile::parse(&bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match control {
            // Nothing else can have been copied from a standby: recovery refuses to start.
            Ok(control)
                if !matches!(
                    control.state,
                    ClusterState::InArchiveRecovery | ClusterState::ShutDownInRecovery
                ) =>
            {
                let reason = format!("a standby's backup, but the cluster state is '{}'", control.state);
                self.problems.push(BackupProblem::Control { reason });
            }
            Ok(control) => self.min_recovery_point = Some(control.min_recovery_point),
            Err(reason) => self.problems.push(BackupProblem::Control { reason }),
        }
    }
}
