//! `backup_label`: where the recovery of a base backup begins.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::label::lines::Lines;
use crate::label::{BackupLabelError, BackupLabelProblem};
use crate::{Lsn, SegmentName, SegmentSize, Timeline, WalName};

/// How a backup was taken (`BACKUP METHOD`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BackupMethod {
    /// `BASE_BACKUP`, or a non-exclusive backup by SQL functions.
    Streamed,
    /// An exclusive backup by SQL functions (PostgreSQL 14 and earlier).
    PgStartBackup,
}

/// Which kind of server a backup was taken from (`BACKUP FROM`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BackupFrom {
    /// A primary.
    Primary,
    /// A server in recovery: the backup ends where `minRecoveryPoint` of its `pg_control` says.
    Standby,
}

impl fmt::Display for BackupMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Streamed => "streamed",
            Self::PgStartBackup => "pg_start_backup",
        })
    }
}

impl FromStr for BackupMethod {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "streamed" => Ok(Self::Streamed),
            "pg_start_backup" => Ok(Self::PgStartBackup),
            _ => Err(()),
        }
    }
}

impl fmt::Display for BackupFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Standby => "standby",
        })
    }
}

impl FromStr for BackupFrom {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            // "master" up to PostgreSQL 13.
            "primary" | "master" => Ok(Self::Primary),
            "standby" => Ok(Self::Standby),
            _ => Err(()),
        }
    }
}

/// The content of a `backup_label` file.
///
/// To restore a backup write the file's own bytes, never a text made from these fields.
///
/// ```
/// let label = walfile::BackupLabel::parse(
///     b"START WAL LOCATION: 0/5000028 (file 000000010000000000000005)\n\
///       CHECKPOINT LOCATION: 0/5000060\n\
///       BACKUP METHOD: streamed\n\
///       BACKUP FROM: primary\n\
///       START TIME: 2026-11-21 00:05:42 UTC\n\
///       LABEL: nightly\n\
///       START TIMELINE: 1\n",
/// )?;
/// assert_eq!(label.start_lsn.to_string(), "0/5000028");
/// assert_eq!(label.label_text(), "nightly");
/// # Ok::<(), walfile::BackupLabelError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BackupLabel {
    /// The redo point of the backup's checkpoint: recovery reads the log from here on.
    pub start_lsn: Lsn,
    /// The segment that holds it.
    pub start_segment: SegmentName,
    /// The checkpoint record.
    pub checkpoint_lsn: Lsn,
    /// How the backup was taken.
    pub method: Option<BackupMethod>,
    /// What it was taken from.
    pub from: Option<BackupFrom>,
    /// When it started, in the server's words and `log_timezone`, such as `2026-11-21 00:05:42 UTC`.
    pub start_time: Option<String>,
    /// The label given to the backup, byte for byte: up to 1023 bytes of any encoding.
    pub label: Vec<u8>,
    /// The timeline (PostgreSQL 11 and later).
    pub timeline: Option<Timeline>,
    /// For an incremental backup (PostgreSQL 17 and later): start and timeline of the backup it builds on.
    /// PostgreSQL refuses to start on a directory whose label has these lines.
    pub incremental_from: Option<(Lsn, Timeline)>,
}

impl BackupLabel {
    /// Reads a `backup_label` file of PostgreSQL 10 or later.
    ///
    /// # Errors
    /// When the two positions are missing, a known line has no valid value or is there twice, the timelines
    /// disagree, or the file is longer than 64 KiB.
    pub fn parse(content: &[u8]) -> Result<Self, BackupLabelError> {
        Self::from_lines(&Lines::split(content)?)
    }

    pub(super) fn from_lines(lines: &Lines<'_>) -> Result<Self, BackupLabelError> {
        let start = lines.required("START WAL LOCATION")?;
        let (start_lsn, start_segment) = start.location()?;
        if start_lsn.get() >> 32 != u64::from(start_segment.log()) {
            return Err(start.error(BackupLabelProblem::Segment { key: "START WAL LOCATION" }));
        }
        let timeline = match lines.optional("START TIMELINE")? {
            None => None,
            Some(line) => {
                let timeline: Timeline = line.parse()?;
                if timeline != start_segment.timeline() {
                    return Err(line.error(BackupLabelProblem::Value { key: "START TIMELINE" }));
                }
                Some(timeline)
            }
        };
        let incremental_from = match lines.optional("INCREMENTAL FROM LSN")? {
            Some(lsn) => Some((lsn.parse()?, lines.required("INCREMENTAL FROM TLI")?.parse()?)),
            None => None,
        };
        Ok(Self {
            start_lsn,
            start_segment,
            checkpoint_lsn: lines.required("CHECKPOINT LOCATION")?.parse()?,
            method: lines.optional("BACKUP METHOD")?.map(|line| line.parse()).transpose()?,
            from: lines.optional("BACKUP FROM")?.map(|line| line.parse()).transpose()?,
            start_time: lines.optional("START TIME")?.map(|line| line.text()),
            label: lines.optional("LABEL")?.map(|line| line.value.to_vec()).unwrap_or_default(),
            timeline,
            incremental_from,
        })
    }

    /// The label as text; bytes that are not UTF-8 are replaced.
    pub fn label_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.label)
    }

    /// The timeline on which the backup started: the line's, or that of the segment name before PostgreSQL 11.
    pub fn start_timeline(&self) -> Timeline {
        self.timeline.unwrap_or(self.start_segment.timeline())
    }

    /// The name under which the `.backup` file of this backup is archived.
    pub fn history_name(&self, size: SegmentSize) -> WalName {
        WalName::BackupLabel { start: self.start_segment, offset: self.start_lsn.offset_in_segment(size) }
    }
}
