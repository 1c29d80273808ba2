//! `check`: lines for people, an object for programs, and one line for Nagios.

use serde_json::{Map, Value, json};
use tapster_manager::config::ServerConfig;
use tapster_manager::{CheckLine, CheckReport};

use super::{Colour, Output};

/// Prints `Server NAME:` with what is special about it, before the check begins.
pub(crate) fn show_heading(output: &Output, server: &ServerConfig) {
    let note = if !server.active {
        " (inactive)"
    } else if server.disabled {
        " (WARNING: disabled)"
    } else {
        ""
    };
    if !output.is_json() {
        output.line(format!("Server {}{note}:", server.name));
    }
}

/// Prints the report of one server.
pub(crate) fn show(output: &Output, report: &CheckReport) {
    if output.is_json() {
        let lines: Map<String, Value> =
            report.lines.iter().map(|line| (key(&line.name), value(line))).collect();
        output.json_insert(report.server.clone(), Value::Object(lines));
    } else {
        for line in &report.lines {
            let (word, colour) = if line.ok { ("OK", Colour::Green) } else { ("FAILED", Colour::Red) };
            let word = output.paint(colour, word);
            let hint = line.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
            output.line(format!("\t{}: {word}{hint}", line.name));
            for detail in &line.details {
                output.line(format!("\t\t{detail}"));
            }
        }
    }
    for line in report.lines.iter().filter(|line| !line.ok) {
        let hint = line.hint.as_deref().unwrap_or_default();
        tracing::error!("Check '{}' failed for server '{}' {hint}", line.name, report.server);
    }
    if !report.passed() {
        output.mark_failed();
    }
}

fn key(name: &str) -> String {
    name.to_lowercase().replace([' ', '-'], "_").replace('.', "")
}

fn value(line: &CheckLine) -> Value {
    let hint = line.hint.clone().unwrap_or_else(|| line.details.join("; "));
    json!({"status": if line.ok { "OK" } else { "FAILED" }, "hint": hint})
}

/// Barman's one line for Nagios, with a line for each failed check below it, and the exit code.
pub(crate) fn nagios(reports: &[CheckReport]) -> (String, u8) {
    let failed = |report: &&CheckReport| report.lines.iter().any(|line| !line.ok);
    let data: Vec<String> = reports.iter().map(perfdata).filter(|text| !text.is_empty()).collect();
    let data = if data.is_empty() { String::new() } else { format!("|{}", data.join(" ")) };
    if reports.iter().all(CheckReport::passed) {
        let (ignored, good): (Vec<&CheckReport>, Vec<&CheckReport>) = reports.iter().partition(failed);
        let names = |reports: &[&CheckReport], prefix: &str| -> String {
            reports.iter().map(|report| format!(" * {prefix}{}", report.server)).collect()
        };
        let text = match good.as_slice() {
            [] => return (format!("BARMAN OK - No server configured{}", names(&ignored, "IGNORING: ")), 0),
            [one] => format!("Ready to serve the Espresso backup for {}", one.server),
            many => {
                format!("Ready to serve the Espresso backup for {} servers{}", many.len(), names(many, ""))
            }
        };
        return (format!("BARMAN OK - {text}{}{data}", names(&ignored, "IGNORING: ")), 0);
    }
    // Once one fails, those that are off are counted as well.
    let issues: Vec<&CheckReport> = reports.iter().filter(failed).collect();
    let mut text = match issues.as_slice() {
        [one] if reports.len() == 1 => format!("BARMAN CRITICAL - server {} has issues", one.server),
        many => format!("BARMAN CRITICAL - {} server out of {} have issues", many.len(), reports.len()),
    };
    let mut details = String::new();
    for report in issues {
        let lines: Vec<&CheckLine> = report.lines.iter().filter(|line| !line.ok).collect();
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        text.push_str(&format!(" * {} FAILED: {}", report.server, names.join(", ")));
        for line in lines {
            let hint = line.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
            details.push_str(&format!("\n{}.{}: FAILED{hint}", report.server, line.name));
        }
    }
    (format!("{text}{data}{details}"), 2)
}

fn perfdata(report: &CheckReport) -> String {
    let measured = |name: &str, suffix: &str| {
        let bytes = report.line(name).and_then(|line| line.perfdata)?;
        Some(format!("{}{suffix}={bytes}B", report.server))
    };
    [
        measured("backup minimum size", ""),
        measured("wal size", "_wals"),
        measured("free space", "_free"),
        measured("slot lag", "_slot_lag"),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" ")
}
