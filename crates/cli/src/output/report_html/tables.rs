//! The same in figures: windows, gaps, backups and check results.

use std::fmt::Display;

use tapster_catalog::{BackupStatus, BackupType};
use tapster_manager::report::RetentionStatus;
use tapster_manager::report::{ReportedBackup, Restorable, TimelineReport, Window, WindowEnd};
use tapster_manager::{CheckLine, CheckReport, ServerReport};
use time::OffsetDateTime;

use super::Page;
use super::markup::Markup;
use crate::output::report::{verdict, words};

/// Rows that are seen at once; the others wait behind a word to click on.
const SHOWN: usize = 8;
/// Rows at all.
const MOST: usize = 150;

/// Opens a table with these headings; those that begin with `>` stand over numbers.
fn open(page: &mut Markup, headings: &[&'static str]) {
    page.raw("<div class=\"scroll\"><table class=\"fold\"><thead><tr>");
    for heading in headings {
        match heading.strip_prefix('>') {
            Some(heading) => page.element("th", &[("scope", &"col"), ("class", &"n")], heading),
            None => page.element("th", &[("scope", &"col")], heading),
        };
    }
    page.raw("</tr></thead><tbody>");
}

fn close(page: &mut Markup) {
    page.raw("</tbody></table></div>");
}

fn cell(page: &mut Markup, label: &'static str, class: &'static str) {
    page.open("td", &[("data-label", &label), ("class", &class)]);
}

/// The rows in a table, the later ones in another that is closed at first, and what is left out in words.
fn rows<T>(
    page: &mut Markup,
    headings: &[&'static str],
    items: &[T],
    (one, many): (&'static str, &'static str),
    row: impl Fn(&mut Markup, &T),
) {
    let (first, later) = items.split_at(items.len().min(SHOWN));
    let (later, left) = later.split_at(later.len().min(MOST - SHOWN));
    open(page, headings);
    first.iter().for_each(|item| row(page, item));
    close(page);
    if !later.is_empty() {
        let label = words::number(later.len(), one, many);
        page.raw("<details>").element("summary", &[], format_args!("{label} more"));
        open(page, headings);
        later.iter().for_each(|item| row(page, item));
        close(page);
        page.raw("</details>");
    }
    if !left.is_empty() {
        let label = words::number(left.len(), one, many);
        page.element(
            "p",
            &[("class", &"soft")],
            format_args!("{label} further back left out here; the JSON form has them."),
        );
    }
}

/// From when to when, on each timeline.
pub(super) fn windows(page: &mut Page<'_>, report: &ServerReport) {
    let all: Vec<(&TimelineReport, &Window)> = report
        .archive
        .timelines
        .iter()
        .rev()
        .flat_map(|timeline| timeline.windows.iter().rev().map(move |window| (timeline, window)))
        .collect();
    page.out.raw("<h3>Recoverable windows</h3>");
    if all.is_empty() {
        page.out.raw("<p class=\"soft\">None.</p>");
        return;
    }
    let times = page.times();
    rows(
        &mut page.out,
        &["Timeline", "From", "To", "Length", "Starting from", "Ends with"],
        &all,
        ("window", "windows"),
        |out, (timeline, window)| {
            out.raw("<tr>");
            cell(out, "Timeline", "id");
            out.element("span", &[], timeline.timeline).raw("</td>");
            for (label, point) in [("From", window.from), ("To", window.to)] {
                cell(out, label, "w");
                out.raw("<span>");
                times.put(out, point.time);
                out.raw("</span>").element("small", &[], point.lsn).raw("</td>");
            }
            cell(out, "Length", "w");
            let length = window.from.time.zip(window.to.time).map(|(from, to)| words::span(to - from));
            out.element("span", &[], length.unwrap_or_default()).raw("</td>");
            cell(out, "Starting from", "");
            let more = window.backups.saturating_sub(1);
            let more = if more == 0 {
                String::new()
            } else {
                format!(" and {}", words::number(more, "later backup", "later backups"))
            };
            out.element("span", &[], format_args!("{}{more}", window.backup)).raw("</td>");
            cell(out, "Ends with", "");
            match window.end {
                WindowEnd::Gap => out.raw("<span>a gap in the WAL</span>"),
                WindowEnd::Standalone => {
                    out.raw("<span>the backup itself: it is kept without later WAL</span>")
                }
                _ => out.raw("<span>the newest WAL</span>"),
            };
            out.raw("</td></tr>");
        },
    );
}

/// What is missing, where it matters.
pub(super) fn gaps(page: &mut Page<'_>, report: &ServerReport) {
    let all: Vec<_> = report
        .archive
        .timelines
        .iter()
        .rev()
        .flat_map(|timeline| timeline.gaps.iter().rev().map(move |gap| (timeline, gap)))
        .filter(|(_, gap)| gap.needed)
        .collect();
    if all.is_empty() {
        return;
    }
    page.out.raw("<h3>Gaps in the WAL</h3>");
    let times = page.times();
    rows(
        &mut page.out,
        &["Timeline", "Missing", ">Segments", "After", "Before"],
        &all,
        ("gap", "gaps"),
        |out, (timeline, gap)| {
            out.raw("<tr>");
            cell(out, "Timeline", "id");
            out.element("span", &[], timeline.timeline).raw("</td>");
            cell(out, "Missing", "");
            out.element("code", &[], verdict::range(gap, timeline.timeline, report.archive.segment_size));
            out.raw("</td>");
            cell(out, "Segments", "n");
            out.element("span", &[], words::grouped(gap.segments())).raw("</td>");
            for (label, time) in [("After", gap.after), ("Before", gap.before)] {
                cell(out, label, "w");
                out.raw("<span>");
                times.put(out, time);
                out.raw("</span></td>");
            }
            out.raw("</tr>");
        },
    );
}

/// The backups, newest first, with what the retention policy says and why.
pub(super) fn backups(page: &mut Page<'_>, report: &ServerReport) {
    page.out.raw("<h3>Backups</h3>");
    if report.backups.is_empty() {
        page.out.raw("<p class=\"soft\">None.</p>");
        return;
    }
    let times = page.times();
    rows(
        &mut page.out,
        &["Backup", "Kind", "Ended", "Took", ">Size", ">WAL after it", "State", "Retention"],
        &report.backups,
        ("backup", "backups"),
        |out, backup| {
            let record = &backup.listed.record;
            out.raw("<tr>");
            cell(out, "Backup", "id");
            out.raw("<span>").text(record.id);
            if let Some(name) = &record.backup_name {
                out.element("small", &[], name);
            }
            out.raw("</span></td>");
            cell(out, "Kind", "w");
            out.raw("<span>").text(kind(record.backup_type()));
            if let Some(parent) = record.parent_backup_id {
                out.element("small", &[], format_args!("on {parent}"));
            }
            out.raw("</span></td>");
            cell(out, "Ended", "w");
            if backup.listed.is_copied() {
                out.raw("<span>");
                times.put(out, record.end_time);
                out.raw("</span>");
            }
            out.raw("</td>");
            cell(out, "Took", "w");
            if let Some((begin, end)) =
                record.begin_time.zip(record.end_time).filter(|_| backup.listed.is_copied())
            {
                out.element(
                    "span",
                    &[("title", &format_args!("{} s", (end - begin).whole_seconds()))],
                    words::span(end - begin),
                );
            }
            out.raw("</td>");
            cell(out, "Size", "n");
            put_size(out, record.size);
            out.raw("</td>");
            cell(out, "WAL after it", "n");
            put_size(out, backup.listed.is_copied().then_some(backup.listed.wal.later_bytes));
            out.raw("</td>");
            cell(out, "State", "st");
            state(out, backup);
            out.raw("</td>");
            cell(out, "Retention", "st");
            retention(out, backup);
            out.raw("</td></tr>");
        },
    );
}

fn put_size(out: &mut Markup, bytes: Option<u64>) {
    if let Some(bytes) = bytes {
        out.element("span", &[("title", &words::exact_size(bytes))], words::size(bytes));
    }
}

const fn kind(kind: BackupType) -> &'static str {
    match kind {
        BackupType::Full => "full",
        BackupType::Incremental => "incremental",
        BackupType::Rsync => "full (files)",
        BackupType::Snapshot => "snapshot",
        _ => "unknown",
    }
}

fn state(out: &mut Markup, backup: &ReportedBackup) {
    let mut say = |class: &'static str, word: &'static str, more: &dyn Display| {
        let more = more.to_string();
        out.raw("<span>").element("span", &[("class", &class)], word);
        if !more.is_empty() {
            out.element("small", &[], more);
        }
        out.raw("</span>");
    };
    let record = &backup.listed.record;
    match (backup.listed.status(), backup.restorable) {
        (BackupStatus::Failed, _) if backup.listed.deletion_begun => {
            say("no", "✕ being deleted", &"its deletion has begun");
        }
        (BackupStatus::Failed, _) => {
            say("no", "✕ failed", &words::shortened(record.error.as_deref().unwrap_or_default(), 240));
        }
        (_, Restorable::Yes) => say("yes", "✓ restorable", &""),
        (_, Restorable::WalMissing) => say("no", "✕ not restorable", &"WAL of its own is missing"),
        (_, Restorable::ChainBroken { missing }) => {
            say(
                "no",
                "✕ not restorable",
                &format_args!("builds on {missing}, which is not there or not complete"),
            );
        }
        (_, Restorable::WaitingForWal) => say("meh", "… waiting for WAL", &""),
        (BackupStatus::Syncing, _) => say("meh", "… being copied", &""),
        (BackupStatus::Empty | BackupStatus::Started, _) => say("meh", "… being taken", &""),
        _ => say("meh", "? not known", &""),
    }
}

fn retention(out: &mut Markup, backup: &ReportedBackup) {
    let Some(verdict) = &backup.listed.verdict else {
        match backup.keep {
            Some(target) => out.element("span", &[], format_args!("kept on request ({target})")),
            None => out.raw("<span class=\"soft\">no policy</span>"),
        };
        return;
    };
    let word = match verdict.status {
        RetentionStatus::Valid => "valid",
        RetentionStatus::Obsolete => "obsolete",
        RetentionStatus::PotentiallyObsolete => "obsolete, but held",
        RetentionStatus::KeepFull | RetentionStatus::KeepStandalone => "kept",
        RetentionStatus::None => "–",
    };
    out.raw("<span>").element("span", &[("title", &verdict.status)], word);
    out.element("small", &[], &verdict.reason).raw("</span>");
}

/// What the check found: what failed first, the rest behind a word to click on.
pub(super) fn check(page: &mut Page<'_>, report: &ServerReport) {
    page.out.raw("<h3>Check</h3>");
    let Some(check) = &report.check else {
        let why = match (report.active, report.disabled.is_some()) {
            (false, _) => "Not made: the server is inactive.",
            (true, true) => "Not made: the configuration is wrong.",
            (true, false) => "Not made.",
        };
        page.out.element("p", &[("class", &"soft")], why);
        return;
    };
    lines(&mut page.out, check);
}

fn lines(out: &mut Markup, check: &CheckReport) {
    let (good, failed): (Vec<&CheckLine>, Vec<&CheckLine>) = check.lines.iter().partition(|line| line.ok);
    let row = |out: &mut Markup, line: &&CheckLine| {
        out.raw("<tr>");
        cell(out, "Check", "");
        out.element("span", &[], &line.name).raw("</td>");
        cell(out, "Result", "w");
        if line.ok {
            out.raw("<span class=\"yes\">✓ OK</span></td>");
        } else {
            out.raw("<span class=\"no\">✕ failed</span></td>");
        }
        cell(out, "Remark", "");
        let remark: Vec<&str> =
            line.hint.iter().map(String::as_str).chain(line.details.iter().map(String::as_str)).collect();
        if !remark.is_empty() {
            out.element("span", &[], remark.join("; "));
        }
        out.raw("</td></tr>");
    };
    const HEADINGS: [&str; 3] = ["Check", "Result", "Remark"];
    if !failed.is_empty() {
        open(out, &HEADINGS);
        failed.iter().take(MOST).for_each(|line| row(out, line));
        close(out);
    }
    if good.is_empty() {
        return;
    }
    let passed = words::number(good.len(), "check passed", "checks passed");
    let summary = if failed.is_empty() { format!("All {passed}") } else { passed };
    out.raw("<details>").element("summary", &[], summary);
    open(out, &HEADINGS);
    good.iter().take(MOST).for_each(|line| row(out, line));
    close(out);
    out.raw("</details>");
}

/// How times are written.
pub(super) struct Times<'a> {
    pub(super) zone: &'a dyn Fn(OffsetDateTime) -> time::UtcOffset,
}

impl Times<'_> {
    /// A moment in UTC; its title has the second, and local time.
    pub(super) fn put(&self, out: &mut Markup, time: Option<OffsetDateTime>) {
        let Some(time) = time else {
            out.raw("not known");
            return;
        };
        out.open("time", &[("datetime", &words::iso(time)), ("title", &self.title(time))]);
        out.text(words::minute(time)).raw("</time>");
    }

    /// The moment to the second, in UTC and in local time.
    pub(super) fn title(&self, time: OffsetDateTime) -> String {
        let zone = (self.zone)(time);
        if zone.is_utc() {
            return words::second(time);
        }
        let local = time.checked_to_offset(zone).unwrap_or(time);
        let (hour, minute, second) = local.to_hms();
        format!(
            "{} = {} {hour:02}:{minute:02}:{second:02} {}",
            words::second(time),
            local.date(),
            words::offset(zone)
        )
    }
}
