//! What a person wants to know of a server, in a sentence, and what needs their attention.

use tapster_catalog::BackupStatus;
use tapster_manager::ServerReport;
use tapster_manager::report::{
    ReportPart, ReportedBackup, Restorable, TimelineReport, WalGap, Window, WindowEnd,
};
use time::OffsetDateTime;
use walfile::{SegmentNo, SegmentSize, Timeline};

use super::words;

/// Characters of one concern: error messages may be pages.
const LONGEST: usize = 400;
/// Backups of which the same is said one by one.
const MOST_ALIKE: usize = 5;

/// How a server is, at a glance.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum State {
    /// It can be recovered, and nothing is wrong.
    Good,
    /// Nobody looks after it.
    Idle,
    /// It can be recovered, and something is wrong.
    Attention,
    /// It cannot be recovered to its latest moment, or not at all.
    Bad,
}

impl State {
    /// The word for it, which programs get too.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Idle => "idle",
            Self::Attention => "attention",
            Self::Bad => "bad",
        }
    }

    /// In words for people.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Good => "Recoverable",
            Self::Idle => "Inactive",
            Self::Attention => "Needs attention",
            Self::Bad => "At risk",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug)]
pub(crate) struct Concern {
    /// Whether data is at stake now.
    pub(crate) severe: bool,
    /// What it is.
    pub(crate) text: String,
}

/// The verdict on one server.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) state: State,
    /// One sentence.
    pub(crate) sentence: String,
    /// What needs attention, the worst first.
    pub(crate) concerns: Vec<Concern>,
}

/// Judges `report` as of `now`.
pub(crate) fn of(report: &ServerReport, now: OffsetDateTime) -> Verdict {
    let concerns = concerns(report);
    let severe = open_windows(report).next().is_none() || concerns.iter().any(|concern| concern.severe);
    let state = match (report.active, severe, concerns.is_empty()) {
        (false, ..) => State::Idle,
        (true, true, _) => State::Bad,
        (true, false, false) => State::Attention,
        (true, false, true) => State::Good,
    };
    Verdict { state, sentence: sentence(report, now), concerns }
}

fn sentence(report: &ServerReport, now: OffsetDateTime) -> String {
    let mut parts = vec![recoverable(report)];
    let last = report.backups.iter().find(|backup| backup.listed.is_copied());
    match last.and_then(|backup| backup.listed.record.end_time) {
        Some(end) => parts.push(format!("last backup {}", words::ago(end, now))),
        None if report.backups.is_empty() => {}
        None => parts.push("no backup has ended well".to_owned()),
    }
    if let Some(behind) = behind(report) {
        parts.push(behind);
    } else if let Some(last) = report.archive.last {
        parts.push(format!("newest WAL {}", words::ago(last, now)));
    }
    let kept = report.archive.windows.len() - open_windows(report).count();
    if kept > 0 {
        parts.push(format!("{} kept by itself", words::number(kept, "earlier backup", "earlier backups")));
    }
    let gaps: usize = report.archive.timelines.iter().map(|timeline| timeline.needed_gaps).sum();
    if gaps > 0 {
        parts.push(format!("{} in the WAL", words::number(gaps, "gap", "gaps")));
    }
    parts.join("; ") + "."
}

/// How far our receiver is behind.
fn behind(report: &ServerReport) -> Option<String> {
    let postgres = report.postgres.as_ref()?;
    let lag = postgres.lsn?.saturating_bytes_since(postgres.flushed?);
    Some(match lag {
        0 => "WAL streams without delay".to_owned(),
        lag => format!("WAL streams {} behind", words::size(lag)),
    })
}

fn recoverable(report: &ServerReport) -> String {
    let moment =
        |time: Option<OffsetDateTime>| time.map_or_else(|| "an unknown time".to_owned(), words::minute);
    let windows: Vec<_> = open_windows(report).collect();
    match windows.as_slice() {
        [] => nothing(report),
        [one] => match one.from.time.zip(one.to.time) {
            // Of a young server minutes would be the same.
            Some((from, to)) if to - from < time::Duration::HOUR => {
                format!("Recoverable to any moment between {} and {}", words::second(from), words::second(to))
            }
            _ => format!(
                "Recoverable to any moment between {} and {} UTC",
                moment(one.from.time),
                moment(one.to.time)
            ),
        },
        [first, .., last] => format!(
            "Recoverable between {} and {} UTC, but not to every moment: {} with gaps between",
            moment(first.from.time),
            moment(last.to.time),
            words::number(windows.len(), "window", "windows")
        ),
    }
}

/// Where one can choose the moment: not those of backups kept by themselves.
pub(crate) fn open_windows(report: &ServerReport) -> impl Iterator<Item = &Window> {
    report.archive.windows.iter().filter(|window| window.end != WindowEnd::Standalone)
}

fn nothing(report: &ServerReport) -> String {
    let has_wal = report.archive.segments > 0;
    let copied = report.backups.iter().any(|backup| backup.listed.is_copied());
    let elsewhere = report.archive.timelines.iter().any(|timeline| !timeline.windows.is_empty());
    if report.problems.iter().any(|(part, _)| *part != ReportPart::Postgres) {
        "Not known whether it is recoverable: the catalog cannot be read"
    } else if !report.archive.windows.is_empty() {
        "Recoverable only to the end of a backup kept on request"
    } else if elsewhere {
        "Recoverable on earlier timelines only"
    } else if copied {
        "Not recoverable: the WAL that makes a backup consistent is missing"
    } else if !report.backups.is_empty() {
        "Not recoverable: there is no complete backup"
    } else if has_wal {
        "Not recoverable: there is WAL, but no backup"
    } else {
        "Not recoverable: there is no backup and no WAL yet"
    }
    .to_owned()
}

fn concerns(report: &ServerReport) -> Vec<Concern> {
    let mut found = Vec::new();
    let mut add = |severe, text: String| found.push(Concern { severe, text });
    let last = open_windows(report).last();
    if last.is_some_and(|window| window.end == WindowEnd::Gap) {
        add(true, "WAL is missing behind the newest backup, so that recovery cannot reach the present; take a new backup.".to_owned());
    }
    for problem in report.disabled.iter().flatten() {
        add(false, format!("The configuration is wrong: {problem}"));
    }
    let is_checked =
        |name: &str| report.check.as_ref().and_then(|check| check.line(name)).is_some_and(|line| !line.ok);
    for (part, problem) in &report.problems {
        // The check says the same.
        if *part == ReportPart::Postgres && is_checked("PostgreSQL") {
            continue;
        }
        let (severe, what) = match part {
            ReportPart::Postgres => (false, "PostgreSQL does not answer"),
            ReportPart::Archive => (true, "The WAL archive"),
            _ => (true, "The backups"),
        };
        add(severe, format!("{what}: {problem}"));
    }
    for timeline in report.archive.timelines.iter().rev() {
        if let Some(text) = missing(timeline, report.archive.segment_size) {
            add(false, text);
        }
        if timeline.history_lost {
            add(false, format!("The history file of timeline {} is missing.", timeline.timeline));
        }
    }
    if report.postgres.as_ref().is_some_and(|postgres| postgres.slot_lost == Some(true)) {
        add(true, "The replication slot has lost WAL.".to_owned());
    }
    let newest = report.backups.first();
    if let Some(failed) = newest.filter(|backup| backup.listed.status() == BackupStatus::Failed) {
        let why = failed.listed.record.error.as_deref().map_or(String::new(), |error| format!(": {error}"));
        add(false, format!("The latest backup, {}, failed{why}", failed.listed.record.id));
    }
    let broken = |backup: &&ReportedBackup| {
        matches!(backup.restorable, Restorable::WalMissing | Restorable::ChainBroken { .. })
    };
    for backup in report.backups.iter().filter(broken).take(MOST_ALIKE) {
        let id = backup.listed.record.id;
        add(
            false,
            match backup.restorable {
                Restorable::ChainBroken { missing } => {
                    format!(
                        "Backup {id} cannot be restored: it builds on {missing}, which is not there or not complete."
                    )
                }
                _ => format!("Backup {id} cannot be restored: WAL of its own is missing."),
            },
        );
    }
    let more = report.backups.iter().filter(broken).count().saturating_sub(MOST_ALIKE);
    if more > 0 {
        add(false, format!("{} more cannot be restored.", words::number(more, "backup", "backups")));
    }
    for (id, error) in report.unreadable.iter().take(MOST_ALIKE) {
        add(false, format!("The record of backup {id} cannot be read: {error}"));
    }
    if let Some(check) = &report.check {
        for line in check.lines.iter().filter(|line| !line.ok) {
            let hint = line.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
            add(false, format!("Check failed: {}{hint}", line.name));
        }
    }
    found.sort_by_key(|concern| !concern.severe);
    for concern in &mut found {
        concern.text = words::shortened(&concern.text, LONGEST);
    }
    found
}

fn missing(timeline: &TimelineReport, size: Option<SegmentSize>) -> Option<String> {
    let gap = timeline.gaps.iter().rev().find(|gap| gap.needed)?;
    let number = timeline.timeline;
    let name = range(gap, number, size);
    Some(match timeline.needed_gaps {
        1 => format!(
            "Timeline {number} has a gap: {name} {} missing.",
            if gap.segments() == 1 { "is" } else { "are" }
        ),
        gaps => format!(
            "Timeline {number} has {gaps} gaps, in which {} are missing; the latest is {name}.",
            words::number(usize::try_from(timeline.missing).unwrap_or(usize::MAX), "segment", "segments")
        ),
    })
}

/// The names of a gap's segments.
pub(crate) fn range(gap: &WalGap, timeline: Timeline, size: Option<SegmentSize>) -> String {
    let name = |number: SegmentNo| number.name(timeline, size.unwrap_or_default());
    if gap.first == gap.last {
        name(gap.first).to_string()
    } else {
        format!("{} to {}", name(gap.first), name(gap.last))
    }
}
