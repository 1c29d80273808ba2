//! The picture of a server: backups, archived WAL, gaps and recoverable windows along the time.

use std::collections::HashSet;

use tapster_catalog::{BackupStatus, BackupType, KeepTarget};
use tapster_manager::ServerReport;
use tapster_manager::report::RetentionStatus;
use tapster_manager::report::{ReportedBackup, Restorable, TimelineReport, WindowEnd};
use time::{Duration, OffsetDateTime};

use super::markup::Markup;
use super::scale::{Percent, TimeScale};
use crate::output::report::{verdict, words};

/// Timelines that are drawn: the newest.
const MOST_LANES: usize = 8;
/// Shapes of a kind in a lane; what stands on the same place is drawn once.
const MOST_SHAPES: usize = 400;
const AXIS: i32 = 24;
const BACKUPS: i32 = 58;
const LANE: i32 = 64;

/// From the first thing there is to now; `None` when there is nothing. A backup kept by itself from long ago does not press
/// the rest into a corner: it is left out of the picture.
pub(super) fn scale(report: &ServerReport) -> Option<TimeScale> {
    let alone = |backup: &&ReportedBackup| backup.keep == Some(KeepTarget::Standalone);
    let kept = report.backups.iter().filter(alone).filter_map(time_of);
    let backups = report.backups.iter().filter(|backup| !alone(backup)).filter_map(time_of);
    let windows = report.archive.timelines.iter().flat_map(|timeline| &timeline.windows);
    let windows =
        windows.filter(|window| window.end != WindowEnd::Standalone).filter_map(|window| window.from.time);
    // A clock that was wrong once must not flatten everything else.
    let likely = |time: &OffsetDateTime| *time <= report.made + Duration::days(2) && time.year() >= 1996;
    let first = backups.chain(windows).filter(likely).min();
    let kept = kept.filter(likely).min();
    let spans = report.archive.timelines.iter().flat_map(|timeline| &timeline.spans);
    let wal = || spans.filter_map(|span| span.from).filter(likely).min();
    let first = match (first, kept) {
        (Some(first), Some(kept)) if report.made - kept < (report.made - first) * 2 => Some(kept.min(first)),
        (Some(first), _) => Some(first),
        (None, kept) => kept.or_else(wal),
    };
    Some(TimeScale::new(first?, report.made))
}

/// When a backup ended; when it began for one that did not.
pub(super) fn time_of(backup: &ReportedBackup) -> Option<OffsetDateTime> {
    let record = &backup.listed.record;
    record.end_time.filter(|_| backup.listed.is_copied()).or(record.begin_time).or(record.end_time)
}

/// Draws the whole.
pub(super) fn draw(page: &mut Markup, report: &ServerReport, scale: &TimeScale, number: usize) {
    let lanes: Vec<&TimelineReport> = report.archive.timelines.iter().rev().take(MOST_LANES).collect();
    let height = AXIS + BACKUPS + LANE * i32::try_from(lanes.len()).unwrap_or(0);
    page.open(
        "svg",
        &[
            ("class", &"chart"),
            ("height", &height),
            ("role", &"img"),
            ("aria-labelledby", &format_args!("t{number} d{number}")),
        ],
    );
    page.element(
        "title",
        &[("id", &format_args!("t{number}"))],
        "Timeline of backups, archived WAL and recoverable windows",
    );
    page.element("desc", &[("id", &format_args!("d{number}"))], description(report));
    axis(page, report, scale, height);
    backups(page, report, scale);
    for (lane, timeline) in lanes.iter().enumerate() {
        let top = AXIS + BACKUPS + LANE * i32::try_from(lane).unwrap_or(0);
        draw_timeline(page, report, timeline, scale, top);
    }
    page.raw("</svg>");
}

/// The picture for those who do not see it; what it shows one by one stands in tables.
fn description(report: &ServerReport) -> String {
    let restorable = report.backups.iter().filter(|backup| backup.restorable == Restorable::Yes).count();
    let timelines = &report.archive.timelines;
    let windows: usize = timelines.iter().map(|timeline| timeline.windows.len()).sum();
    let gaps: usize = timelines.iter().map(|timeline| timeline.needed_gaps).sum();
    format!(
        "{}, {restorable} of them restorable; WAL on {} with {}, and {} in what backups need. The tables below have each of them.",
        words::number(report.backups.len(), "backup", "backups"),
        words::number(timelines.len(), "timeline", "timelines"),
        words::number(windows, "recoverable window", "recoverable windows"),
        words::number(gaps, "gap", "gaps"),
    )
}

fn axis(page: &mut Markup, report: &ServerReport, scale: &TimeScale, height: i32) {
    for (at, tick) in scale.ticks().iter().enumerate() {
        let x = scale.at(tick.time);
        page.shape("line", &[("class", &"grid"), ("x1", &x), ("x2", &x), ("y1", &AXIS), ("y2", &height)], "");
        // The last one would run into the word for now.
        if x.0 < 93.0 {
            let class = if at % 2 == 0 { "tick" } else { "tick minor" };
            page.element(
                "text",
                &[("class", &class), ("x", &x), ("y", &14), ("text-anchor", &"middle")],
                &tick.label,
            );
        }
    }
    let now = scale.at(report.made);
    page.shape("line", &[("class", &"now"), ("x1", &now), ("x2", &now), ("y1", &AXIS), ("y2", &height)], "");
    page.element("text", &[("x", &"100%"), ("y", &14), ("text-anchor", &"end")], "now");
}

fn backups(page: &mut Markup, report: &ServerReport, scale: &TimeScale) {
    let middle = AXIS + 40;
    page.element("text", &[("class", &"lane"), ("x", &0), ("y", &(AXIS + 14))], "Backups");
    page.shape(
        "line",
        &[("class", &"base"), ("x1", &"0"), ("x2", &"100%"), ("y1", &middle), ("y2", &middle)],
        "",
    );
    let place = |backup: &ReportedBackup| {
        time_of(backup).filter(|time| scale.holds(*time)).map(|time| scale.at(time))
    };
    let mut drawn = HashSet::new();
    for child in &report.backups {
        let parent = child.listed.record.parent_backup_id;
        let parent = report.backups.iter().find(|backup| Some(backup.listed.record.id) == parent);
        let (Some(from), Some(to)) = (parent.and_then(place), place(child)) else { continue };
        if drawn.len() < MOST_SHAPES && drawn.insert((key(from), key(to))) {
            page.shape(
                "line",
                &[("class", &"chain"), ("x1", &from), ("x2", &to), ("y1", &middle), ("y2", &middle)],
                "",
            );
        }
    }
    let mut drawn = HashSet::new();
    let mut shown = Vec::new();
    for backup in &report.backups {
        let Some(x) = place(backup) else { continue };
        let (shape, class) = symbol(backup);
        if drawn.len() < MOST_SHAPES && drawn.insert((key(x), shape, backup.keep.is_some())) {
            shown.push((backup, x, shape, class));
        }
    }
    // The oldest first, so that a newer one lies above.
    for (backup, x, shape, class) in shown.into_iter().rev() {
        let kept = backup.keep.is_some();
        page.open("g", &[("class", &class)]).element("title", &[], title(backup));
        page.shape("use", &[("href", &format_args!("#{shape}")), ("x", &x), ("y", &middle)], "");
        if kept {
            page.shape("use", &[("href", &"#kept"), ("x", &x), ("y", &middle)], "");
        }
        page.raw("</g>");
    }
}

/// Places that look the same.
#[expect(clippy::cast_possible_truncation, reason = "a place is between 0 and 100")]
pub(super) fn key(x: Percent) -> i64 {
    (x.0 * 4.0).round() as i64
}

/// The form of a backup and the class of its colour.
fn symbol(backup: &ReportedBackup) -> (&'static str, &'static str) {
    let is_old =
        backup.listed.verdict.as_ref().is_some_and(|verdict| verdict.status == RetentionStatus::Obsolete);
    let is_incremental = backup.listed.record.backup_type() == BackupType::Incremental;
    match (backup.listed.status(), backup.restorable) {
        (BackupStatus::Failed, _) | (_, Restorable::WalMissing | Restorable::ChainBroken { .. }) => {
            ("fail", "b-fail")
        }
        (BackupStatus::Done, _) => match (is_incremental, is_old) {
            (false, false) => ("full", "b"),
            (false, true) => ("full-old", "b-old"),
            (true, false) => ("inc", "b"),
            (true, true) => ("inc-old", "b-old"),
        },
        (_, Restorable::Yes) => ("full", "b"),
        _ => ("wait", "b"),
    }
}

fn title(backup: &ReportedBackup) -> String {
    let record = &backup.listed.record;
    let when = time_of(backup).map_or_else(String::new, |time| format!(", {}", words::second(time)));
    let size = record.size.map_or_else(String::new, |bytes| format!(", {}", words::size(bytes)));
    format!("{} {}{when}{size}", record.id, backup.listed.status())
}

fn draw_timeline(
    page: &mut Markup,
    report: &ServerReport,
    timeline: &TimelineReport,
    scale: &TimeScale,
    top: i32,
) {
    let number = timeline.timeline;
    page.open("text", &[("class", &"lane"), ("x", &0), ("y", &(top + 16))]);
    page.text(format_args!("Timeline {number}"));
    if let Some((parent, at)) = timeline.parent {
        page.element("tspan", &[("class", &"more")], format_args!("  from timeline {parent} at {at}"));
    }
    page.raw("</text>");
    let (band, bar) = (top + 32, top + 39);
    for window in &timeline.windows {
        let (Some(from), Some(to)) = (window.from.time, window.to.time) else { continue };
        if !scale.touches(from, to) {
            continue;
        }
        let (x, width) = scale.stretch(from, to);
        let title = format!("Recoverable from {} to {}", words::second(from), words::second(to));
        let shape: [super::markup::Attribute<'_>; 6] =
            [("class", &"win"), ("x", &x), ("y", &band), ("width", &width), ("height", &20), ("rx", &4)];
        page.shape("rect", &shape, &title);
    }
    let mut drawn = HashSet::new();
    for span in timeline.spans.iter().rev() {
        let (Some(from), Some(to)) = (span.from, span.to) else { continue };
        if !scale.touches(from, to) {
            continue;
        }
        let (x, width) = scale.stretch(from, to);
        if drawn.len() >= MOST_SHAPES || !drawn.insert((key(x), key(width))) {
            continue;
        }
        let title = format!(
            "Archived WAL, {} from {} to {}",
            words::number(
                usize::try_from(span.last.get() - span.first.get() + 1).unwrap_or(usize::MAX),
                "segment",
                "segments"
            ),
            words::second(from),
            words::second(to)
        );
        let shape: [super::markup::Attribute<'_>; 6] =
            [("class", &"wal"), ("x", &x), ("y", &bar), ("width", &width), ("height", &6), ("rx", &2)];
        page.shape("rect", &shape, &title);
    }
    let mut drawn = HashSet::new();
    for gap in timeline.gaps.iter().rev() {
        let (Some(after), Some(before)) = (gap.after.or(gap.before), gap.before.or(gap.after)) else {
            continue;
        };
        if !scale.touches(after, before) {
            continue;
        }
        let (x, width) = scale.stretch(after, before.max(after));
        if drawn.len() >= MOST_SHAPES || !drawn.insert((key(x), key(width), gap.needed)) {
            continue;
        }
        let name = verdict::range(gap, number, report.archive.segment_size);
        if gap.needed {
            let title = format!("Missing: {name}");
            let shape: [super::markup::Attribute<'_>; 5] =
                [("class", &"gap"), ("x", &x), ("y", &(band - 2)), ("width", &width), ("height", &24)];
            page.shape("rect", &shape, &title);
            let middle = Percent(x.0 + width.0 / 2.0);
            page.shape(
                "use",
                &[("class", &"alarm"), ("href", &"#alarm"), ("x", &middle), ("y", &(band - 3))],
                "",
            );
        } else {
            let end = Percent(x.0 + width.0);
            let title = format!("Not there, needed by no backup: {name}");
            let y = bar + 3;
            let shape: [super::markup::Attribute<'_>; 5] =
                [("class", &"gone"), ("x1", &x), ("x2", &end), ("y1", &y), ("y2", &y)];
            page.shape("line", &shape, &title);
        }
    }
}

/// What the forms mean; only those that can occur.
pub(super) fn legend(page: &mut Markup, report: &ServerReport, scale: &TimeScale) {
    let has = |wanted: &str| report.backups.iter().any(|backup| symbol(backup).0 == wanted);
    let gaps = |needed: bool| {
        report.archive.timelines.iter().flat_map(|timeline| &timeline.gaps).any(|gap| gap.needed == needed)
    };
    page.raw("<ul class=\"legend\">");
    let mut entry = |shown: bool, picture: &'static str, text: &'static str| {
        if shown {
            page.raw("<li><svg aria-hidden=\"true\">").raw(picture).raw("</svg>").raw(text).raw("</li>");
        }
    };
    entry(has("full"), "<g class=\"b\"><use href=\"#full\" x=\"9\" y=\"8\"/></g>", "full backup");
    entry(has("inc"), "<g class=\"b\"><use href=\"#inc\" x=\"9\" y=\"8\"/></g>", "incremental backup");
    entry(
        has("full-old") || has("inc-old"),
        "<g class=\"b-old\"><use href=\"#full-old\" x=\"9\" y=\"8\"/></g>",
        "obsolete backup",
    );
    entry(
        report.backups.iter().any(|backup| backup.keep.is_some()),
        "<g class=\"b\"><use href=\"#kept\" x=\"9\" y=\"20\"/></g>",
        "kept on request",
    );
    entry(has("wait"), "<g class=\"b\"><use href=\"#wait\" x=\"9\" y=\"8\"/></g>", "not complete yet");
    entry(
        has("fail"),
        "<g class=\"b-fail\"><use href=\"#fail\" x=\"9\" y=\"8\"/></g>",
        "failed, or cannot be restored",
    );
    entry(
        true,
        "<rect class=\"win\" x=\".5\" y=\"1\" width=\"17\" height=\"14\" rx=\"3\"/>",
        "recoverable to any moment",
    );
    entry(true, "<rect class=\"wal\" y=\"5\" width=\"18\" height=\"6\" rx=\"2\"/>", "archived WAL");
    entry(gaps(true), "<rect class=\"gap\" x=\".5\" y=\"1\" width=\"17\" height=\"14\"/>", "WAL is missing");
    entry(gaps(false), "<path class=\"gone\" d=\"M0 8H18\"/>", "no WAL, needed by no backup");
    let older = report.backups.iter().filter_map(time_of).filter(|time| !scale.holds(*time)).count();
    if older > 0 {
        let backups = words::number(older, "backup", "backups");
        page.element("li", &[], format_args!("({backups} from before this picture: see below)"));
    }
    page.raw("</ul>");
}
