//! PostgreSQL backup retention: a policy and a list of backups go in, a verdict for each backup comes out, with the
//! reason.
//!
//! The grammar and the rules follow Barman 3.19; beyond it there are [`Policy::Periods`], which keeps the newest backup of so
//! many days, weeks and months, and the removal of backups that failed ([`Rules::failed_after`]). The crate is pure: it reads no clock, no file and no
//! environment, and it deletes nothing; the caller says what time it is and acts on the verdicts.
//!
//! ```
//! use tapster_retention::{Candidate, Keep, Policy, Status, evaluate};
//! use time::{OffsetDateTime, macros::datetime};
//!
//! struct Backup { id: &'static str, end: OffsetDateTime }
//!
//! impl Candidate for Backup {
//!     fn id(&self) -> &str { self.id }
//!     fn end_time(&self) -> Option<OffsetDateTime> { Some(self.end) }
//!     fn is_done(&self) -> bool { true }
//!     fn keep(&self) -> Option<Keep> { None }
//!     fn parent_id(&self) -> Option<&str> { None }
//! }
//!
//! let policy: Policy = "recovery window of 2 weeks".parse()?;
//! let backups = [
//!     Backup { id: "20261120T020000", end: datetime!(2026-11-20 02:10 UTC) },
//!     Backup { id: "20261101T020000", end: datetime!(2026-11-01 02:10 UTC) },
//!     Backup { id: "20261001T020000", end: datetime!(2026-10-01 02:10 UTC) },
//! ];
//! let verdicts = evaluate(&policy, 0, &backups, datetime!(2026-11-21 12:00 UTC));
//! // The second one ended before the window opens, so it is the base for its oldest point.
//! let statuses: Vec<Status> = verdicts.iter().map(|v| v.status).collect();
//! assert_eq!(statuses, [Status::Valid, Status::Valid, Status::Obsolete]);
//! assert_eq!(verdicts[2].to_string(), "OBSOLETE: ended before the recovery window opens at 2026-11-07 12:00:00 UTC");
//! # Ok::<(), tapster_retention::ParsePolicyError>(())
//! ```

mod evaluate;
mod periods;
mod policy;
mod rules;
mod verdict;

pub use evaluate::{Candidate, Keep, evaluate};
pub use periods::{Period, PeriodUnit, Periods};
pub use policy::{ParsePolicyError, Policy, WindowUnit};
pub use rules::{Rules, judge};
pub use verdict::{Reason, Status, Verdict};
