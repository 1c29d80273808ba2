//! Grandfather, father, son: the newest backup of so many hours, days, weeks, months and years.
//!
//! Barman has no such policy. A period counts only when it has a backup, so that a pause in backups costs none of those that
//! are there, and time alone never makes one obsolete. When a backup was taken is what its id says, which is Barman's local
//! time then: a change of the time zone or to summer time moves no backup into another period afterwards.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

use time::{Date, Month, PrimitiveDateTime, Time};

use crate::evaluate::Chains;
use crate::{Candidate, Reason, Status, Verdict};

/// How many periods of each length have their newest backup kept; `Display` gives the policy's text.
///
/// ```
/// use tapster_retention::{PeriodUnit, Policy};
/// let policy: Policy = "keep 7 daily 4 weekly".parse()?;
/// let Policy::Periods(periods) = policy else { panic!() };
/// assert_eq!(periods.count(PeriodUnit::Day), 7);
/// assert_eq!(periods.to_string(), "KEEP 7 DAILY 4 WEEKLY");
/// # Ok::<(), tapster_retention::ParsePolicyError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Periods {
    counts: [u32; 5],
}

/// The length of a period, by the calendar.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PeriodUnit {
    /// From one full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday, numbered as ISO 8601 does.
    Week,
    /// A month of the calendar.
    Month,
    /// A year of the calendar.
    Year,
}

impl PeriodUnit {
    /// From the shortest to the longest.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The word in a policy.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Hour => "HOURLY",
            Self::Day => "DAILY",
            Self::Week => "WEEKLY",
            Self::Month => "MONTHLY",
            Self::Year => "YEARLY",
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// The name of the period of this length that `at` lies in.
    fn period(self, at: PrimitiveDateTime) -> String {
        let date = at.date();
        match self {
            Self::Hour => format!("{date} {:02}h", at.hour()),
            Self::Day => date.to_string(),
            Self::Week => {
                let (year, week, _) = date.to_iso_week_date();
                format!("{year}-W{week:02}")
            }
            Self::Month => format!("{}-{:02}", date.year(), u8::from(date.month())),
            Self::Year => date.year().to_string(),
        }
    }
}

impl Periods {
    /// How many periods of this length.
    pub fn count(&self, unit: PeriodUnit) -> u32 {
        self.counts.get(unit as usize).copied().unwrap_or(0)
    }

    /// Sets one; `None` when it was set before.
    fn with(mut self, unit: PeriodUnit, count: u32) -> Option<Self> {
        let slot = self.counts.get_mut(unit as usize).filter(|slot| **slot == 0)?;
        *slot = count;
        Some(self)
    }

    /// What follows the word `KEEP`: counts from 1, each with its unit, no unit twice.
    pub(crate) fn parse<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut periods = Self::default();
        while let Some(count) = words.next() {
            let count = crate::policy::number(count).filter(|count| *count > 0)?;
            let word = words.next()?;
            let unit = PeriodUnit::ALL.into_iter().find(|unit| unit.keyword().eq_ignore_ascii_case(word))?;
            periods = periods.with(unit, count)?;
        }
        (periods != Self::default()).then_some(periods)
    }
}

impl fmt::Display for Periods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KEEP")?;
        for unit in PeriodUnit::ALL.into_iter().filter(|unit| self.count(*unit) > 0) {
            write!(f, " {} {}", self.count(unit), unit.keyword())?;
        }
        Ok(())
    }
}

/// A period whose newest backup is kept.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Period {
    /// Its length.
    pub unit: PeriodUnit,
    /// Its name: `2026-11-21 14h`, `2026-11-21`, `2026-W47`, `2026-11`, `2026`.
    pub name: String,
    /// Its place among those of its length that have backups, 1 for the newest.
    pub number: u32,
    /// How many of its length are kept.
    pub of: u32,
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} {} ({} of {})", self.unit.noun(), self.name, self.number, self.of)
    }
}

/// The periods of one length as they are met from the newest backup to the oldest.
#[derive(Clone, Debug, Default)]
struct Seen {
    last: String,
    number: u32,
}

/// Judges all backups.
pub(crate) fn judge<B: Candidate>(periods: &Periods, minimum: u32, backups: &[B]) -> Vec<Verdict> {
    let chains = Chains::new(backups);
    let mut verdicts: Vec<Verdict> = backups.iter().map(|backup| chains.unjudged(backup)).collect();
    let mut dated: Vec<(Reverse<(PrimitiveDateTime, &str)>, usize)> = Vec::new();
    for (at, backup) in backups.iter().enumerate() {
        if backup.is_done() && chains.is_whole(backup) {
            match taken(backup) {
                Some(taken) => dated.push((Reverse((taken, backup.id())), at)),
                None => set(&mut verdicts, at, Status::None, Reason::Undated),
            }
        }
    }
    dated.sort_unstable();
    let mut seen: [Seen; 5] = Default::default();
    let mut full = 0;
    for (Reverse((taken, _)), at) in dated {
        let Some(backup) = backups.get(at) else { continue };
        let newest_of = newest_of(periods, taken, &mut seen);
        let is_full = backup.parent_id().is_none();
        let (status, reason) = match backup.keep().filter(|_| is_full) {
            Some(keep) => (Status::of(keep), Reason::Kept(keep)),
            None if !newest_of.is_empty() => (Status::Valid, Reason::NewestOf { periods: newest_of }),
            // By place and not by what else is kept, so that another backup makes no obsolete one valid again.
            None if is_full && full < minimum => {
                (Status::PotentiallyObsolete, Reason::MinimumRedundancy { minimum })
            }
            None => (Status::Obsolete, Reason::BeyondPeriods { periods: *periods }),
        };
        full += u32::from(is_full);
        set(&mut verdicts, at, status, reason);
    }
    hold_ancestors(backups, &mut verdicts);
    verdicts
}

fn set(verdicts: &mut [Verdict], at: usize, status: Status, reason: Reason) {
    if let Some(verdict) = verdicts.get_mut(at) {
        *verdict = Verdict { status, reason };
    }
}

/// The periods whose newest backup the next older one, `taken` then, is.
fn newest_of(periods: &Periods, taken: PrimitiveDateTime, seen: &mut [Seen; 5]) -> Vec<Period> {
    let mut newest_of = Vec::new();
    for (unit, seen) in PeriodUnit::ALL.into_iter().zip(seen) {
        let of = periods.count(unit);
        if seen.number >= of {
            continue;
        }
        let name = unit.period(taken);
        if name != seen.last {
            seen.number += 1;
            seen.last.clone_from(&name);
            newest_of.push(Period { unit, name, number: seen.number, of });
        }
    }
    newest_of
}

/// Holds what a backup that stays, or one that is not finished yet, builds on.
fn hold_ancestors<B: Candidate>(backups: &[B], verdicts: &mut [Verdict]) {
    let places: HashMap<&str, usize> = backups.iter().enumerate().map(|(at, b)| (b.id(), at)).collect();
    let stays = |at: usize, backup: &B, verdicts: &[Verdict]| {
        let held = verdicts.get(at).is_some_and(|verdict| !verdict.status.is_deletable());
        held && backup.failed_at().is_none()
    };
    let staying: Vec<&B> =
        backups.iter().enumerate().filter(|(at, b)| stays(*at, b, verdicts)).map(|(_, b)| b).collect();
    for backup in staying {
        let mut parent = backup.parent_id();
        // As far as the first that stays itself, whose own turn it is; a chain cannot be longer than the list. One that FAILED is
        // not held by the policy, and what it builds on is needed all the same.
        for _ in 0..backups.len() {
            let Some(at) = parent.and_then(|parent| places.get(parent).copied()) else { break };
            let Some(ancestor) = backups.get(at) else { break };
            if stays(at, ancestor, verdicts) {
                break;
            }
            if let Some(verdict) = verdicts.get_mut(at).filter(|verdict| verdict.status.is_deletable()) {
                let reason = Reason::NeededBy { backup: backup.id().to_owned() };
                *verdict = Verdict { status: Status::Valid, reason };
            }
            parent = ancestor.parent_id();
        }
    }
}

/// When a backup was taken: what its id says, and where that is no time, when it ended.
fn taken(backup: &impl Candidate) -> Option<PrimitiveDateTime> {
    local_time(backup.id()).or_else(|| {
        let end = backup.end_time()?.to_offset(time::UtcOffset::UTC);
        Some(PrimitiveDateTime::new(end.date(), end.time()))
    })
}

/// `YYYYMMDDTHHMMSS`.
fn local_time(id: &str) -> Option<PrimitiveDateTime> {
    let (date, time) = id.split_once('T').filter(|(date, time)| date.len() == 8 && time.len() == 6)?;
    let part = |text: &str, from: usize, to: usize| text.get(from..to).and_then(crate::policy::number);
    let year = i32::try_from(part(date, 0, 4)?).ok()?;
    let month = Month::try_from(u8::try_from(part(date, 4, 6)?).ok()?).ok()?;
    let byte = |text, from, to| u8::try_from(part(text, from, to)?).ok();
    let date = Date::from_calendar_date(year, month, byte(date, 6, 8)?).ok()?;
    let time = Time::from_hms(byte(time, 0, 2)?, byte(time, 2, 4)?, byte(time, 4, 6)?).ok()?;
    Some(PrimitiveDateTime::new(date, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_names() {
        // 2026 has 53 weeks, and the last one reaches into 2027.
        let at = local_time("20261231T235959").unwrap();
        let names = PeriodUnit::ALL.map(|unit| unit.period(at));
        assert_eq!(names, ["2026-12-31 23h", "2026-12-31", "2026-W53", "2026-12", "2026"]);
        let at = local_time("20270101T000000").unwrap();
        assert_eq!(PeriodUnit::Week.period(at), "2026-W53");
    }

    #[test]
    fn ids_that_are_no_times() {
        for id in ["", "20261121", "20261321T000000", "20261121T250000", "2026112\u{fe}T00000", "09999999"] {
            assert_eq!(local_time(id), None, "{id}");
        }
    }
}
