//! What can be wrong with a label file.

use thiserror::Error;

/// A `backup_label` or `.backup` file that PostgreSQL does not write.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("backup label, line {line}: {problem}")]
#[non_exhaustive]
pub struct BackupLabelError {
    /// The line, counted from 1; one past the last for a line that is missing.
    pub line: usize,
    /// What is wrong with it.
    pub problem: BackupLabelProblem,
}

/// What can be wrong with a line of a label file.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum BackupLabelProblem {
    /// The line's value cannot be read.
    #[error("{key} has no valid value")]
    Value {
        /// What stands before the colon.
        key: &'static str,
    },
    /// A line that must be there is not.
    #[error("{key} is missing")]
    Missing {
        /// What stands before the colon.
        key: &'static str,
    },
    /// A line is there twice.
    #[error("{key} is there twice")]
    Twice {
        /// What stands before the colon.
        key: &'static str,
    },
    /// The segment named beside a position does not hold it, whatever the segment size.
    #[error("{key} names a segment of another log file than its position")]
    Segment {
        /// What stands before the colon.
        key: &'static str,
    },
    /// More than any server writes.
    #[error("the file is longer than {} bytes", super::lines::MAX_FILE)]
    TooLong,
}
