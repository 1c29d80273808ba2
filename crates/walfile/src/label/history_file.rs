//! The `.backup` file that the server archives when a backup by SQL functions or `BASE_BACKUP` ends.

use crate::label::lines::Lines;
use crate::label::{BackupLabel, BackupLabelError, BackupLabelProblem};
use crate::{Lsn, SegmentName, Timeline};

/// The content of a backup history file (`<segment>.<offset>.backup`): the label and where the backup ended.
///
/// ```
/// let file = walfile::BackupHistoryFile::parse(
///     b"START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\n\
///       STOP WAL LOCATION: 0/5000100 (file 000000010000000000000005)\n\
///       CHECKPOINT LOCATION: 0/5000060\n\
///       STOP TIME: 2026-11-21 00:05:43 UTC\n\
///       STOP TIMELINE: 1\n",
/// )?;
/// assert_eq!(file.stop_lsn.to_string(), "0/5000100");
/// # Ok::<(), walfile::BackupLabelError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BackupHistoryFile {
    /// The lines that `backup_label` has too.
    pub label: BackupLabel,
    /// The position just after the end-of-backup record: a restore must reach it to be consistent.
    pub stop_lsn: Lsn,
    /// The segment that the server names beside it; on a boundary it is the one that ends there.
    pub stop_segment: SegmentName,
    /// When the backup ended, in the server's words.
    pub stop_time: Option<String>,
    /// The timeline at the end (PostgreSQL 11 and later).
    pub stop_timeline: Option<Timeline>,
}

impl BackupHistoryFile {
    /// Reads a `.backup` file of PostgreSQL 10 or later.
    ///
    /// # Errors
    /// As [`BackupLabel::parse`], and when the stop position is missing or lies before the start.
    pub fn parse(content: &[u8]) -> Result<Self, BackupLabelError> {
        let lines = Lines::split(content)?;
        let label = BackupLabel::from_lines(&lines)?;
        let stop = lines.required("STOP WAL LOCATION")?;
        let (stop_lsn, stop_segment) = stop.location()?;
        if stop_lsn < label.start_lsn {
            return Err(stop.error(BackupLabelProblem::Value { key: "STOP WAL LOCATION" }));
        }
        Ok(Self {
            label,
            stop_lsn,
            stop_segment,
            stop_time: lines.optional("STOP TIME")?.map(|line| line.text()),
            stop_timeline: lines.optional("STOP TIMELINE")?.map(|line| line.parse()).transpose()?,
        })
    }
}
