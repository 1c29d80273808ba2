//! Sizes over time: a column for each backup, and the WAL archived in each hour, day or week.

use std::collections::BTreeMap;

use tapster_manager::ServerReport;
use time::{Duration, OffsetDateTime};

use super::markup::Markup;
use super::scale::{Percent, TimeScale};
use super::timeline::{key, time_of};
use crate::output::report::words;

const TOP: i32 = 22;
const HEIGHT: f64 = 84.0;
struct Column {
    from: OffsetDateTime,
    /// Where it ends; `None` for a moment.
    to: Option<OffsetDateTime>,
    bytes: u64,
    title: String,
}

/// Draws both.
pub(super) fn draw(page: &mut Markup, report: &ServerReport, scale: &TimeScale) {
    let copied = report.backups.iter().filter(|backup| backup.listed.is_copied());
    let backups = copied.filter_map(|backup| {
        let (from, bytes) = (time_of(backup)?, backup.listed.record.size?);
        let title = format!("{}: {}", backup.listed.record.id, words::size(bytes));
        Some(Column { from, to: None, bytes, title })
    });
    let width = Duration::seconds(report.archive.column_seconds.max(1));
    let wal = report.archive.sizes.iter().map(|column| Column {
        from: column.begin,
        to: Some(column.begin.saturating_add(width)),
        bytes: column.bytes,
        title: format!(
            "{} UTC: {} in {}",
            words::minute(column.begin),
            words::size(column.bytes),
            words::number(usize::try_from(column.files).unwrap_or(usize::MAX), "file", "files")
        ),
    });
    // On one place the largest is seen.
    let mut places: BTreeMap<i64, Column> = BTreeMap::new();
    for column in backups.filter(|column| scale.holds(column.from)) {
        let place = key(scale.at(column.from));
        if places.get(&place).is_none_or(|known| known.bytes < column.bytes) {
            places.insert(place, column);
        }
    }
    let (backups, wal): (Vec<_>, Vec<_>) = (places.into_values().collect(), wal.collect());
    if backups.is_empty() && wal.is_empty() {
        return;
    }
    page.raw("<div class=\"two\">");
    chart(page, "Size of each backup", "bar-b", &backups, scale);
    let each = match report.archive.column_seconds {
        3_600 => "hour".to_owned(),
        86_400 => "day".to_owned(),
        seconds => words::span(Duration::seconds(seconds)),
    };
    chart(page, &format!("WAL archived per {each}, as stored"), "bar", &wal, scale);
    page.raw("</div>");
}

fn chart(page: &mut Markup, title: &str, class: &'static str, columns: &[Column], scale: &TimeScale) {
    let columns: Vec<&Column> = columns
        .iter()
        .filter(|column| scale.touches(column.from, column.to.unwrap_or(column.from)))
        .collect();
    let Some(most) = columns.iter().map(|column| column.bytes).max().filter(|most| *most > 0) else { return };
    page.raw("<div>").element("h3", &[], title);
    let label = format!("{title}; at most {}", words::size(most));
    page.open(
        "svg",
        &[("class", &"chart"), ("height", &(TOP + 106)), ("role", &"img"), ("aria-label", &label)],
    );
    let base = TOP + 84;
    for tick in scale.ticks().iter().step_by(2) {
        let x = scale.at(tick.time);
        page.shape("line", &[("class", &"grid"), ("x1", &x), ("x2", &x), ("y1", &TOP), ("y2", &base)], "");
        page.element("text", &[("x", &x), ("y", &(base + 17)), ("text-anchor", &"middle")], &tick.label);
    }
    page.shape("line", &[("class", &"base"), ("x1", &"0"), ("x2", &"100%"), ("y1", &TOP), ("y2", &TOP)], "");
    page.element("text", &[("x", &0), ("y", &(TOP - 7))], words::size(most));
    for column in columns {
        #[expect(clippy::cast_precision_loss, reason = "a height for people")]
        let height = (column.bytes as f64 / most as f64 * HEIGHT).max(1.5);
        let y = format!("{:.1}", f64::from(base) - height);
        let height = format!("{height:.1}");
        let (x, width) = match column.to {
            Some(to) => {
                let (x, width) = scale.stretch(column.from, to);
                (x, Percent((width.0 * 0.86).max(0.2)))
            }
            None => (Percent(scale.at(column.from).0 - 0.45), Percent(0.9)),
        };
        page.shape(
            "rect",
            &[("class", &class), ("x", &x), ("y", &y), ("width", &width), ("height", &height), ("rx", &1)],
            &column.title,
        );
    }
    page.shape(
        "line",
        &[("class", &"base"), ("x1", &"0"), ("x2", &"100%"), ("y1", &base), ("y2", &base)],
        "",
    );
    page.raw("</svg></div>");
}
