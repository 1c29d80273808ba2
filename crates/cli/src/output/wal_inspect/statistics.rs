//! `--stats`.

use std::io::{self, Write};

use serde_json::json;
use tapster_manager::wal_inspect::{StatisticsRow, WalStatistics};

use crate::args::wal::inspect::Statistics;

/// A named row.
fn rows(statistics: &WalStatistics, kind: Statistics) -> Vec<(String, StatisticsRow)> {
    match kind {
        Statistics::Rmgr => statistics.by_rmgr().map(|(rmgr, row)| (rmgr.to_string(), row)).collect(),
        Statistics::Record => statistics
            .by_type()
            .map(|(rmgr, code, name, row)| {
                let name = name.map_or_else(|| format!("UNKNOWN ({code:x})"), str::to_owned);
                (format!("{rmgr}/{name}"), row)
            })
            .collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage with two decimals")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// The table of `pg_waldump`; nothing when nothing was counted.
pub(crate) fn statistics_text(
    out: &mut impl Write,
    statistics: &WalStatistics,
    kind: Statistics,
) -> io::Result<()> {
    let Some((start, end)) = statistics.range() else { return Ok(()) };
    writeln!(out, "WAL statistics between {start} and {end}:")?;
    let heads = ["Type", "N", "(%)", "Record size", "(%)", "FPI size", "(%)", "Combined size", "(%)"];
    let [name, columns @ ..] = heads;
    for underlined in [false, true] {
        let text = |head: &str| if underlined { "-".repeat(head.len()) } else { head.to_owned() };
        write!(out, "{:<27}", text(name))?;
        for pair in columns.as_chunks::<2>().0 {
            write!(out, " {:>20} {:>8}", text(pair[0]), text(pair[1]))?;
        }
        writeln!(out)?;
    }
    let total = statistics.total();
    for (name, row) in rows(statistics, kind) {
        write!(out, "{name:<27}")?;
        for (part, whole) in [
            (row.count, total.count),
            (row.record_bytes, total.record_bytes),
            (row.image_bytes, total.image_bytes),
            (row.bytes(), total.bytes()),
        ] {
            write!(out, " {part:20} ({:6.2})", percent(part, whole))?;
        }
        writeln!(out)?;
    }
    let line = "--------";
    writeln!(out, "{:<27} {line:>20} {:>8} {line:>20} {:>8} {line:>20} {:>8} {line:>20}", "", "", "", "")?;
    let share = |part| format!("[{:.2}%]", percent(part, total.bytes()));
    writeln!(
        out,
        "{:<27} {:20} {:<9}{:20} {:<9}{:20} {:<9}{:20} {:<6}",
        "Total",
        total.count,
        "",
        total.record_bytes,
        share(total.record_bytes),
        total.image_bytes,
        share(total.image_bytes),
        total.bytes(),
        "[100%]"
    )
}

/// One object.
pub(crate) fn statistics_json(
    out: &mut impl Write,
    statistics: &WalStatistics,
    kind: Statistics,
) -> io::Result<()> {
    let row = |row: &StatisticsRow| json!({"count": row.count, "record_bytes": row.record_bytes, "fpi_bytes": row.image_bytes});
    let types: serde_json::Map<_, _> =
        rows(statistics, kind).iter().map(|(name, counts)| (name.clone(), row(counts))).collect();
    let (start, end) = statistics.range().map_or((None, None), |(start, end)| (Some(start), Some(end)));
    let position = |lsn: Option<walfile::Lsn>| lsn.map(|lsn| lsn.to_string());
    let object = json!({
        "start": position(start),
        "end": position(end),
        "types": types,
        "total": row(&statistics.total()),
    });
    writeln!(out, "{object}")
}
