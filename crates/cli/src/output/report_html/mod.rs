//! The report as one page for a browser: nothing is loaded, and nothing needs JavaScript.
//!
//! A function from data to text. Places in pictures are percentages, so that lines stretch with the window and letters do not.

mod icons;
mod markup;
mod scale;
mod sizes;
mod tables;
#[cfg(test)]
mod tests;
mod timeline;

use sha2::{Digest as _, Sha256};
use tapster_manager::ServerReport;
use tapster_manager::report::ReportedBackup;
use tapster_manager::report::RetentionStatus;
use time::{OffsetDateTime, UtcOffset};

use super::report::verdict::{self, State, Verdict};
use super::report::words;
use markup::Markup;
use tables::Times;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// Of what needs attention so much is listed.
const MOST_NOTES: usize = 12;

/// The page as it grows.
struct Page<'a> {
    out: Markup,
    now: OffsetDateTime,
    zone: &'a dyn Fn(OffsetDateTime) -> UtcOffset,
}

impl<'a> Page<'a> {
    fn times(&self) -> Times<'a> {
        Times { zone: self.zone }
    }
}

/// The page about all these servers as of `now`; `zone` says how far local time is from UTC.
pub(crate) fn page(
    reports: &[ServerReport],
    now: OffsetDateTime,
    zone: &dyn Fn(OffsetDateTime) -> UtcOffset,
) -> String {
    let mut page = Page { out: Markup::default(), now, zone };
    let verdicts: Vec<Verdict> = reports.iter().map(|report| verdict::of(report, now)).collect();
    head(&mut page, &verdicts);
    if reports.len() > 1 {
        overview(&mut page, reports, &verdicts);
    }
    for (number, (report, verdict)) in reports.iter().zip(&verdicts).enumerate() {
        server(&mut page, report, verdict, number);
    }
    if reports.is_empty() {
        page.out.raw("<section class=\"card\"><p>No server is configured.</p></section>");
    }
    foot(&mut page);
    page.out.finish()
}

/// What the page says of itself to the browser: it may load nothing and run nothing but its own few lines.
fn policy() -> String {
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        base64(&Sha256::digest(STYLE)),
        base64(&Sha256::digest(SCRIPT))
    )
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * at) & 63) as usize).copied().unwrap_or_default();
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

fn head(page: &mut Page<'_>, verdicts: &[Verdict]) {
    let times = page.times();
    let now = page.now;
    let out = &mut page.out;
    out.raw("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    out.open("meta", &[("http-equiv", &"Content-Security-Policy"), ("content", &policy())]);
    out.raw("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    out.raw(
        "<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\">",
    );
    out.raw("<title>Backup report</title><style>").raw(STYLE).raw("</style></head><body>");
    out.raw(icons::DEFINITIONS)
        .raw("<div class=\"wrap\"><header class=\"top\"><h1>Backup report</h1><p>As of ");
    out.open("time", &[("id", &"made"), ("datetime", &words::iso(now)), ("title", &times.title(now))]);
    out.text(words::minute(now)).raw(" UTC</time>");
    let zone = (times.zone)(now);
    if !zone.is_utc()
        && let Some(local) = now.checked_to_offset(zone)
    {
        out.text(format_args!(
            " ({:02}:{:02} local time, {})",
            local.hour(),
            local.minute(),
            words::offset(zone)
        ));
    }
    out.raw(". ");
    let count = |state: State| verdicts.iter().filter(|verdict| verdict.state == state).count();
    if verdicts.len() > 1 {
        let parts = [
            (count(State::Bad), "at risk"),
            (count(State::Attention), "in need of attention"),
            (count(State::Good), "recoverable and well"),
            (count(State::Idle), "inactive"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        out.text(format_args!("{} servers: {}.", verdicts.len(), parts.join(", ")));
    }
    out.raw("<span id=\"age\" class=\"age\"></span></p></header><main>");
}

/// A line for each server, the worst first.
fn overview(page: &mut Page<'_>, reports: &[ServerReport], verdicts: &[Verdict]) {
    let mut order: Vec<_> = reports.iter().zip(verdicts).enumerate().collect();
    order.sort_by_key(|(_, (_, verdict))| std::cmp::Reverse((verdict.state != State::Idle, verdict.state)));
    let out = &mut page.out;
    out.raw("<nav aria-label=\"Servers\"><ul class=\"overview card\">");
    for (number, (report, verdict)) in order {
        out.raw("<li>").open("a", &[("href", &format_args!("#s{number}"))]);
        icons::badge(out, verdict.state);
        out.element("b", &[], &report.name).raw("<span class=\"say\">");
        sentence(out, &verdict.sentence);
        out.raw("</span></a></li>");
    }
    out.raw("</ul></nav>");
}

fn server(page: &mut Page<'_>, report: &ServerReport, verdict: &Verdict, number: usize) {
    let out = &mut page.out;
    out.open(
        "section",
        &[
            ("class", &"card"),
            ("id", &format_args!("s{number}")),
            ("aria-labelledby", &format_args!("h{number}")),
        ],
    );
    out.raw("<div class=\"head\">").element("h2", &[("id", &format_args!("h{number}"))], &report.name);
    icons::badge(out, verdict.state);
    if report.passive {
        out.raw("<span class=\"tag\">passive: a copy of another catalog</span>");
    }
    if !report.active && verdict.state != State::Idle {
        out.raw("<span class=\"tag\">inactive</span>");
    }
    if let Some(version) = report.backups.iter().find_map(|backup| backup.listed.record.version) {
        out.element("span", &[("class", &"tag")], format_args!("PostgreSQL {}", version_text(version)));
    }
    if let Some(description) = &report.description {
        let short = words::shortened(description, 200);
        out.element("span", &[("class", &"desc"), ("title", description)], short);
    }
    out.raw("</div><p class=\"verdict\">");
    sentence(out, &verdict.sentence);
    out.raw("</p>");
    notes(out, verdict);
    facts(page, report);
    if let Some(scale) = timeline::scale(report) {
        page.out.raw("<h3>Timeline, in UTC</h3><figure>");
        timeline::draw(&mut page.out, report, &scale, number);
        timeline::legend(&mut page.out, report, &scale);
        page.out.raw("</figure>");
        sizes::draw(&mut page.out, report, &scale);
        tables::windows(page, report);
        tables::gaps(page, report);
    }
    tables::backups(page, report);
    tables::check(page, report);
    page.out.raw("</section>");
}

/// A sentence whose dates are not torn apart at the end of a line.
fn sentence(out: &mut Markup, text: &str) {
    for word in text.split_inclusive(' ') {
        if word.len() == 11 && word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('-') {
            out.element("span", &[("class", &"w")], word);
        } else {
            out.text(word);
        }
    }
}

/// `17.4`, `9.6.2`.
fn version_text(version: u32) -> String {
    match version {
        100_000.. => format!("{}.{}", version / 10_000, version % 10_000),
        _ => format!("{}.{}.{}", version / 10_000, version / 100 % 100, version % 100),
    }
}

fn notes(out: &mut Markup, verdict: &Verdict) {
    if verdict.concerns.is_empty() {
        return;
    }
    out.raw("<ul class=\"notes\">");
    for concern in verdict.concerns.iter().take(MOST_NOTES) {
        let state = if concern.severe { State::Bad } else { State::Attention };
        out.open("li", &[("class", &format_args!("note {}", state.as_str()))]).raw(icons::of(state));
        out.element("span", &[], &concern.text).raw("</li>");
    }
    let left = verdict.concerns.len().saturating_sub(MOST_NOTES);
    if left > 0 {
        out.element("li", &[("class", &"soft")], format_args!("and {left} more"));
    }
    out.raw("</ul>");
}

/// The few figures one looks for first.
fn facts(page: &mut Page<'_>, report: &ServerReport) {
    page.out.raw("<dl class=\"facts\">");
    moments(page, report);
    let out = &mut page.out;
    let copied = || {
        report.backups.iter().filter(|backup| backup.listed.is_copied()).map(|backup| &backup.listed.record)
    };
    let backups: u64 =
        copied().filter_map(|record| record.deduplicated_size.or(record.size)).fold(0, u64::saturating_add);
    let all = backups.saturating_add(report.archive.bytes);
    let parts = format!(
        "{} {}, WAL {}",
        words::number(copied().count(), "backup", "backups"),
        words::size(backups),
        words::size(report.archive.bytes)
    );
    fact(out, "Stored", &words::exact_size(all), &words::size(all), &parts);
    let status = |backup: &ReportedBackup| backup.listed.verdict.as_ref().map(|verdict| verdict.status);
    let obsolete =
        report.backups.iter().filter(|backup| status(backup) == Some(RetentionStatus::Obsolete)).count();
    let kept = report.backups.iter().filter(|backup| backup.keep.is_some()).count();
    let minimum = report.minimum_redundancy as usize;
    let parts = [
        (minimum, format!("at least {}", words::number(minimum, "backup", "backups"))),
        (obsolete, format!("{obsolete} obsolete")),
        (kept, format!("{kept} kept on request")),
    ];
    let parts: Vec<String> =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
    let policy = report.retention_policy.as_deref().unwrap_or("none");
    fact(out, "Retention policy", "", policy, &parts.join(", "));
    out.raw("</dl>");
}

fn fact(out: &mut Markup, name: &'static str, title: &str, value: &str, more: &str) {
    out.raw("<div>").element("dt", &[], name);
    if title.is_empty() {
        out.element("dd", &[], value);
    } else {
        out.element("dd", &[("title", &title)], value);
    }
    out.element("dd", &[], more).raw("</div>");
}

/// The figures that are moments.
fn moments(page: &mut Page<'_>, report: &ServerReport) {
    let times = page.times();
    let now = page.now;
    let out = &mut page.out;
    let title = |time: Option<OffsetDateTime>| time.map(|time| times.title(time)).unwrap_or_default();
    let since = |time: Option<OffsetDateTime>| {
        time.map_or_else(|| "not known".to_owned(), |time| words::ago(time, now))
    };
    match report.backups.iter().find(|backup| backup.listed.is_copied()).map(|backup| &backup.listed.record) {
        Some(record) => {
            let size = record.size.map(words::size);
            let took = record.begin_time.zip(record.end_time).map(|(begin, end)| words::span(end - begin));
            let more = match (size, took) {
                (Some(size), Some(took)) => format!("{size} in {took}"),
                (size, took) => size.or(took).unwrap_or_default(),
            };
            fact(out, "Last backup", &title(record.end_time), &since(record.end_time), &more);
        }
        None => fact(out, "Last backup", "", "none", ""),
    }
    match (verdict::open_windows(report).next(), verdict::open_windows(report).last()) {
        (Some(first), Some(last)) => {
            let length = first.from.time.zip(last.to.time).map(|(from, to)| words::span(to - from));
            let from = first.from.time.map_or_else(|| "not known".to_owned(), words::minute);
            let more = format!("UTC; {}, up to {}", length.unwrap_or_default(), since(last.to.time));
            fact(out, "Recoverable since", &title(first.from.time), &from, &more);
        }
        _ => fact(out, "Recoverable since", "", "never", ""),
    }
    match report.archive.last {
        Some(last) => {
            let timeline = report.archive.current.map_or_else(String::new, |it| format!("timeline {it}, "));
            let segments = usize::try_from(report.archive.segments).unwrap_or(usize::MAX);
            let more = format!("{timeline}{}", words::number(segments, "segment", "segments"));
            fact(out, "Newest WAL", &title(Some(last)), &since(Some(last)), &more);
        }
        None => fact(out, "Newest WAL", "", "none", ""),
    }
}

fn foot(page: &mut Page<'_>) {
    page.out.raw(
        "</main><footer class=\"foot\">Times are UTC; a title has the second and the local time. What is archived and missing is \
         told by the names of files and the times they were written; <code>tapster wal verify</code> reads every record, and \
         <code>tapster verify-restore</code> proves a backup by starting it.</footer></div><script>",
    );
    page.out.raw(SCRIPT).raw("</script></body></html>\n");
}
