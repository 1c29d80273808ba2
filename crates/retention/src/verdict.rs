//! What a policy says of one backup, and why.

use std::fmt;

use time::OffsetDateTime;

use crate::{Keep, Period, Periods};

/// The state of one backup under a policy; `Display` gives Barman's word for it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Status {
    /// Needed by the policy (`VALID`).
    Valid,
    /// Not needed any more: enforcement deletes it (`OBSOLETE`).
    Obsolete,
    /// Not needed by the policy, held back by the minimum redundancy alone (`OBSOLETE*`).
    PotentiallyObsolete,
    /// Kept on request with the WAL that follows it (`KEEP:FULL`).
    KeepFull,
    /// Kept on request with only the WAL that makes it consistent (`KEEP:STANDALONE`).
    KeepStandalone,
    /// Outside the policy's competence, and never deleted by it (`-`).
    None,
}

impl Status {
    /// Whether enforcement of the policy deletes the backup.
    pub const fn is_deletable(self) -> bool {
        matches!(self, Self::Obsolete)
    }

    /// That of a backup kept on request.
    pub(crate) const fn of(keep: Keep) -> Self {
        match keep {
            Keep::Full => Self::KeepFull,
            Keep::Standalone => Self::KeepStandalone,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Valid => "VALID",
            Self::Obsolete => "OBSOLETE",
            Self::PotentiallyObsolete => "OBSOLETE*",
            Self::KeepFull => "KEEP:FULL",
            Self::KeepStandalone => "KEEP:STANDALONE",
            Self::None => "-",
        })
    }
}

/// Why a backup has its [`Status`]; `Display` gives a fragment of one line.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// Among the newest backups that the redundancy asks for.
    WithinRedundancy {
        /// Its place, 1 for the newest.
        position: usize,
        /// How many are kept: the policy's number or the minimum redundancy, whichever is greater.
        required: u32,
    },
    /// Older than the newest backups that the redundancy asks for.
    BeyondRedundancy {
        /// How many are kept.
        required: u32,
    },
    /// Ended inside the recovery window.
    WithinWindow {
        /// Where the window opens.
        opens: OffsetDateTime,
    },
    /// The newest backup that ended before the window opens: recovery to its oldest moments starts here.
    WindowBase {
        /// Where the window opens.
        opens: OffsetDateTime,
    },
    /// Older than the backup from which the oldest moment of the window can be reached.
    OutsideWindow {
        /// Where the window opens.
        opens: OffsetDateTime,
    },
    /// Not needed by the policy, but to make up the minimum redundancy.
    MinimumRedundancy {
        /// The minimum.
        minimum: u32,
    },
    /// The newest backup of periods of which that is kept.
    NewestOf {
        /// Which, the shortest first.
        periods: Vec<Period>,
    },
    /// Not the newest backup of any period of which that is kept.
    BeyondPeriods {
        /// The policy.
        periods: Periods,
    },
    /// An incremental backup that stays, or is not finished yet, builds on it.
    NeededBy {
        /// That backup.
        backup: String,
    },
    /// When it was taken is not known, so that it is left alone.
    Undated,
    /// A request to keep it is in force.
    Kept(Keep),
    /// An incremental backup: it lives and dies with the full backup at the root of its chain.
    Incremental {
        /// The root's id.
        root: String,
        /// The root's own status.
        root_status: Status,
    },
    /// An incremental backup whose chain does not lead to a full backup in the list.
    Orphan {
        /// The id at which the chain breaks.
        missing: String,
    },
    /// A full backup that is not finished, or failed.
    NotDone,
    /// It failed, and not long enough ago to be removed.
    Failed {
        /// When, as far as known.
        since: OffsetDateTime,
    },
    /// It failed, longer ago than failed backups are kept.
    FailedLongAgo {
        /// When, as far as known.
        since: OffsetDateTime,
    },
    /// There is no policy.
    NoPolicy,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WithinRedundancy { position, required } => {
                write!(f, "number {position} of the {required} newest backups to keep")
            }
            Self::BeyondRedundancy { required } => {
                write!(f, "older than the {required} newest backups to keep")
            }
            Self::WithinWindow { opens } => {
                write!(f, "inside the recovery window open since {}", Moment(*opens))
            }
            Self::WindowBase { opens } => {
                write!(f, "recovery to {}, where the window opens, starts from it", Moment(*opens))
            }
            Self::OutsideWindow { opens } => {
                write!(f, "ended before the recovery window opens at {}", Moment(*opens))
            }
            Self::MinimumRedundancy { minimum } => {
                write!(f, "not needed by the policy, held for the minimum redundancy of {minimum}")
            }
            Self::NewestOf { periods } => {
                f.write_str("newest backup of ")?;
                for (at, period) in periods.iter().enumerate() {
                    let before = if at == 0 { "" } else { " and of " };
                    write!(f, "{before}{period}")?;
                }
                Ok(())
            }
            Self::BeyondPeriods { periods } => {
                write!(f, "not the newest backup of any period to keep ({periods})")
            }
            Self::NeededBy { backup } => write!(f, "the incremental backup {backup} builds on it"),
            Self::Undated => f.write_str("when it was taken is not known"),
            Self::Kept(keep) => write!(f, "kept on request ({keep})"),
            Self::Incremental { root, root_status } => {
                write!(f, "depends on the full backup {root}, which is {root_status}")
            }
            Self::Orphan { missing } => write!(f, "the backup {missing} it depends on is missing"),
            Self::NotDone => f.write_str("not a finished backup"),
            Self::Failed { since } => write!(f, "failed at {}", Moment(*since)),
            Self::FailedLongAgo { since } => {
                write!(f, "failed at {}, longer ago than failed backups are kept", Moment(*since))
            }
            Self::NoPolicy => f.write_str("there is no retention policy"),
        }
    }
}

/// A time to the second; an offset only when it is not UTC.
struct Moment(OffsetDateTime);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, (hour, minute, second)) = (self.0.date(), self.0.to_hms());
        write!(f, "{date} {hour:02}:{minute:02}:{second:02} ")?;
        if self.0.offset().is_utc() { f.write_str("UTC") } else { write!(f, "{}", self.0.offset()) }
    }
}

/// The status of one backup and the reason for it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Verdict {
    /// What the policy says.
    pub status: Status,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.reason)
    }
}
