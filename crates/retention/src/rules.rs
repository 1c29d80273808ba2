//! The policy together with what goes beyond it.

use std::collections::HashMap;

use time::{Duration, OffsetDateTime};

use crate::{Candidate, Policy, Reason, Status, Verdict, evaluate};

/// All that decides which backups go.
///
/// ```
/// use tapster_retention::{Rules, judge};
/// # use tapster_retention::{Candidate, Keep};
/// # struct Backup;
/// # impl Candidate for Backup {
/// #     fn id(&self) -> &str { "20261101T020000" }
/// #     fn end_time(&self) -> Option<time::OffsetDateTime> { None }
/// #     fn is_done(&self) -> bool { false }
/// #     fn keep(&self) -> Option<Keep> { None }
/// #     fn parent_id(&self) -> Option<&str> { None }
/// #     fn failed_at(&self) -> Option<time::OffsetDateTime> { Some(time::macros::datetime!(2026-11-01 02:10 UTC)) }
/// # }
/// let mut rules = Rules::default();
/// rules.failed_after = Some(time::Duration::weeks(1));
/// let failed = Backup;
/// let verdicts = judge(&rules, &[failed], time::macros::datetime!(2026-11-21 12:00 UTC));
/// assert_eq!(verdicts[0].to_string(), "OBSOLETE: failed at 2026-11-01 02:10:00 UTC, longer ago than failed backups are kept");
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Rules {
    /// The policy; without one no finished backup is judged.
    pub policy: Option<Policy>,
    /// How many full backups are never gone below.
    pub minimum_redundancy: u32,
    /// How long a backup that failed is kept. Without it, as in Barman, it stays until somebody deletes it.
    pub failed_after: Option<Duration>,
}

/// What the rules say of each backup at the time `now`, in the order of `backups`; [`evaluate`] and the removal of failed
/// backups, none of which goes while an increment builds on it that has not failed.
pub fn judge<B: Candidate>(rules: &Rules, backups: &[B], now: OffsetDateTime) -> Vec<Verdict> {
    let unjudged = || Verdict { status: Status::None, reason: Reason::NoPolicy };
    let mut verdicts = match &rules.policy {
        Some(policy) => evaluate(policy, rules.minimum_redundancy, backups, now),
        None => backups.iter().map(|_| unjudged()).collect(),
    };
    let Some(after) = rules.failed_after else { return verdicts };
    let needed = needed(backups);
    for (backup, verdict) in backups.iter().zip(&mut verdicts) {
        let Some(since) = backup.failed_at().filter(|_| backup.keep().is_none()) else { continue };
        let goes = since.checked_add(after);
        *verdict = match needed.get(backup.id()) {
            Some(child) => {
                Verdict { status: Status::None, reason: Reason::NeededBy { backup: (*child).to_owned() } }
            }
            None if goes.is_some_and(|goes| goes < now) => {
                Verdict { status: Status::Obsolete, reason: Reason::FailedLongAgo { since } }
            }
            None => Verdict { status: Status::None, reason: Reason::Failed { since } },
        };
    }
    verdicts
}

/// The backups that one which has not failed builds on, each with one of those.
fn needed<B: Candidate>(backups: &[B]) -> HashMap<&str, &str> {
    let parents: HashMap<&str, &str> =
        backups.iter().filter_map(|backup| Some((backup.id(), backup.parent_id()?))).collect();
    let mut needed: HashMap<&str, &str> = HashMap::new();
    for backup in backups.iter().filter(|backup| backup.failed_at().is_none()) {
        let mut parent = backup.parent_id();
        // What is needed already has needed ancestors, which also ends a circle.
        while let Some(id) = parent.filter(|id| !needed.contains_key(id)) {
            needed.insert(id, backup.id());
            parent = parents.get(id).copied();
        }
    }
    needed
}
