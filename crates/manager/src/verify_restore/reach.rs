//! Whether recovery came as far as was planned: a server also starts on a log that ends too early.

use walfile::{Lsn, Timeline};

use super::VerifyRestoreError;
use super::blame::answer;
use super::instance::Instance;
use crate::restore::{RecoveryTarget, RestorePlan, RestorePlanError, StopAt};
use crate::{Context, Server};

/// What a plan says of the end of recovery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    timeline: Timeline,
    /// The beginning of a record that is replayed.
    record: Option<Lsn>,
    /// Whether it stops at a target.
    stops: bool,
}

impl Planned {
    pub(super) fn of(
        server: &Server,
        plan: &RestorePlan,
        context: &Context<'_>,
    ) -> Result<Self, RestorePlanError> {
        let stops = plan.options.target != RecoveryTarget::End;
        let wal = &plan.wal;
        // What an ancestor wrote after it was left is not replayed.
        let ends_on_timeline = wal.segments.last().is_some_and(|name| name.timeline() == wal.timeline);
        let record = match plan.stop {
            Some(stop) if stop.included && stop.what != StopAt::Consistency => Some(stop.lsn),
            None if !stops && ends_on_timeline => server.last_record_of(wal, context)?,
            _ => None,
        };
        Ok(Self { timeline: wal.timeline, record, stops })
    }

    /// What is missing; `None` when nothing is.
    pub(super) fn shortfall(self, ended: Option<Ended>, stopped: Option<&str>) -> Option<String> {
        let Some(ended) = ended else { return Some("recovery chose no new timeline".to_owned()) };
        if ended.timeline != self.timeline {
            return Some(format!(
                "recovery followed timeline {} instead of timeline {}",
                ended.timeline, self.timeline
            ));
        }
        if self.stops && stopped.is_none() {
            return Some(format!("recovery ended at {} without having come to the target", ended.at));
        }
        let record = self.record.filter(|record| ended.at <= *record)?;
        Some(format!("recovery ended at {}, before the record at {record} that it was to replay", ended.at))
    }
}

/// Where recovery ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Ended {
    /// The timeline that was followed.
    timeline: Timeline,
    /// The end of the last record that was replayed.
    at: Lsn,
}

impl Ended {
    /// As the server wrote it into the history file of its new timeline.
    pub(super) fn ask(
        instance: &Instance<'_>,
        user: &str,
        context: &Context<'_>,
    ) -> Result<Option<Self>, VerifyRestoreError> {
        let mut connection = instance.connect(user, "template1", context)?;
        let rows = connection
            .query(
                "SELECT pg_catalog.pg_read_file('pg_wal/' || pg_catalog.substr(pg_catalog.pg_walfile_name(\
                 pg_catalog.pg_current_wal_insert_lsn()), 1, 8) || '.history', 0, 1048576, true)",
            )
            .map_err(|error| answer(&error, "", &instance.log()))?;
        Ok(rows.value(0, 0).and_then(Self::read))
    }

    /// The last line. Those before are the history of the timeline that was followed, which may go on behind a target.
    fn read(history: &str) -> Option<Self> {
        let mut fields = history.lines().rev().find(|line| !line.trim().is_empty())?.split_whitespace();
        Some(Self { timeline: fields.next()?.parse().ok()?, at: fields.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_that_ended_early_is_told() {
        let lsn = |text: &str| Some(text.parse().unwrap());
        let two = Timeline::new(2).unwrap();
        let ended = Ended::read("1\t0/5000000\tbefore\n2\t0/3000100\tno recovery target specified\n");
        assert_eq!(ended, Some(Ended { timeline: two, at: lsn("0/3000100").unwrap() }));
        let planned = Planned { timeline: two, record: lsn("0/30000A0"), stops: false };
        assert_eq!(planned.shortfall(ended, None), None);
        let told = |planned: Planned| planned.shortfall(ended, None).unwrap();
        assert!(
            told(Planned { record: lsn("0/3000100"), ..planned }).contains("before the record at 0/3000100")
        );
        assert!(
            told(Planned { timeline: Timeline::new(3).unwrap(), ..planned }).contains("timeline 2 instead")
        );
        let to_target = Planned { stops: true, ..planned };
        assert!(told(to_target).contains("without having come to the target"));
        assert_eq!(to_target.shortfall(ended, Some("recovery stopping after")), None);
        assert!(planned.shortfall(None, None).is_some());
    }
}
