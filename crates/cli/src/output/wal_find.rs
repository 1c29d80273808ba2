//! `wal find`: what was found, and the command that restores to just before it.

use serde_json::{Value, json};
use tapster_catalog::wal_store::Place;
use tapster_manager::WalFindReport;
use tapster_manager::wal_find::{FoundPoint, FoundWhat, Removal, RestoreAdvice, WalTarget};
use walfile::record::RelFile;

use super::Output;
use crate::format::timestamp::python_datetime;

/// Prints the report; nothing found is an error.
pub(crate) fn show(
    output: &Output,
    program: &[String],
    server: &str,
    target: &WalTarget,
    report: &WalFindReport,
) {
    report.warnings.iter().for_each(|warning| output.warning(warning));
    if output.is_json() {
        output.json_insert(server, value(program, server, report));
    } else {
        show_text(output, program, server, target, report);
    }
    if report.found.is_empty() {
        output.error(format!(
            "nothing found in {} archived WAL segments of server '{server}' and in what waits to be archived",
            report.segments
        ));
    }
}

fn show_text(output: &Output, program: &[String], server: &str, target: &WalTarget, report: &WalFindReport) {
    for point in &report.found {
        let time = point.time.map_or_else(|| "-".to_owned(), python_datetime);
        let xid = point.xid.map_or_else(|| "-".to_owned(), |xid| xid.to_string());
        output.line(format!(
            "{:<17} timeline {}  xid {xid:<10} {time:<32}  {}",
            point.lsn.to_string(),
            point.timeline,
            describe(&point.what)
        ));
    }
    // Around a time: before the first commit after it, which is where recovery to that time ends.
    let wanted: Vec<&FoundPoint> = match target {
        WalTarget::Time { time, .. } => {
            let after = report.found.iter().filter(|point| point.time.is_some_and(|at| at > *time));
            after.min_by_key(|point| point.time).into_iter().collect()
        }
        _ => report.found.iter().collect(),
    };
    for point in wanted {
        let at = point.lsn;
        match command(program, server, point) {
            Some(words) => {
                output.line(format!("To restore to just before {at}, replace DEST and run:"));
                output.line(format!("\t{}", quote(&words)));
                if let Some(sql) = point.what.after_restore() {
                    output.line("and in the restored cluster, where PostgreSQL has marked it as invalid:");
                    output.line(format!("\tpsql -c \"{sql}\""));
                }
            }
            None => output.warning(format!("no backup ends before {at}: nothing can be restored to it")),
        }
    }
}

fn quote(words: &[String]) -> String {
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

fn command(program: &[String], server: &str, point: &FoundPoint) -> Option<Vec<String>> {
    let RestoreAdvice::Stop { timeline, lsn, partial } = &point.restore else { return None };
    let mut words = program.to_vec();
    words.push("restore".to_owned());
    words.extend(["--target-tli".to_owned(), timeline.to_string()]);
    words.extend(["--target-lsn".to_owned(), lsn.to_string(), "--exclusive".to_owned()]);
    if *partial {
        words.push("--partial-wal".to_owned());
    }
    words.extend([server.to_owned(), "auto".to_owned(), "DEST".to_owned()]);
    Some(words)
}

fn describe(what: &FoundWhat) -> String {
    match what {
        FoundWhat::Commit { prepared, removed, removal, .. } => {
            let mut text = if *prepared { "COMMIT PREPARED" } else { "COMMIT" }.to_owned();
            if !removed.is_empty() {
                text.push_str(" removes ");
                text.push_str(&files(removed));
            }
            text.push_str(match removal {
                Some(Removal::Dropped) => " (DROP)",
                Some(Removal::Replaced) => " (TRUNCATE or another rewrite: new files were made)",
                None => "",
            });
            text
        }
        FoundWhat::Abort { prepared: false } => "ROLLBACK".to_owned(),
        FoundWhat::Abort { prepared: true } => "ROLLBACK PREPARED".to_owned(),
        FoundWhat::Prepare { gid } => format!("PREPARE TRANSACTION '{gid}'"),
        FoundWhat::RestorePoint { name } => format!("restore point '{name}'"),
        FoundWhat::Cut { file, blocks } => format!("{file} cut off to {blocks} blocks"),
        FoundWhat::DropDatabase { file } => format!("DROP DATABASE {}", file.database),
        _ => "another record".to_owned(),
    }
}

fn files(files: &[RelFile]) -> String {
    let shown: Vec<String> = files.iter().take(8).map(ToString::to_string).collect();
    let more = files.len().saturating_sub(shown.len());
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

fn value(program: &[String], server: &str, report: &WalFindReport) -> Value {
    json!({
        "found": report.found.iter().map(|point| point_value(program, server, point)).collect::<Vec<_>>(),
        "segments": report.segments,
        "segments_read": report.read,
        "segments_indexed": report.indexed,
        "warnings": report.warnings,
    })
}

fn point_value(program: &[String], server: &str, point: &FoundPoint) -> Value {
    let texts = |files: &[RelFile]| files.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut value = match &point.what {
        FoundWhat::Commit { prepared, subtransactions, removed, removal } => json!({
            "kind": if *prepared { "commit prepared" } else { "commit" },
            "subtransactions": subtransactions.iter().map(|xid| xid.get()).collect::<Vec<_>>(),
            "removed": texts(removed),
            "removal": removal.map(|removal| match removal {
                Removal::Dropped => "dropped",
                Removal::Replaced => "replaced",
            }),
        }),
        FoundWhat::Abort { prepared } => json!({"kind": if *prepared { "abort prepared" } else { "abort" }}),
        FoundWhat::Prepare { gid } => json!({"kind": "prepare", "gid": gid}),
        FoundWhat::RestorePoint { name } => json!({"kind": "restore point", "name": name}),
        FoundWhat::Cut { file, blocks } => {
            json!({"kind": "cut", "file": file.to_string(), "blocks": blocks})
        }
        FoundWhat::DropDatabase { file } => {
            json!({
                "kind": "drop database",
                "database": file.database.get(),
                "after_restore": point.what.after_restore(),
            })
        }
        _ => json!({"kind": "other"}),
    };
    let place = match point.place {
        Place::Archive => "archive",
        Place::Incoming => "incoming",
        Place::Streaming => "streaming",
    };
    let common = json!({
        "lsn": point.lsn.to_string(),
        "end_lsn": point.end.to_string(),
        "timeline": point.timeline.get(),
        "xid": point.xid.map(|xid| xid.get()),
        "time": point.time.map(python_datetime),
        "file": point.file.to_string(),
        "place": place,
        "restore": command(program, server, point),
    });
    if let (Some(map), Value::Object(common)) = (value.as_object_mut(), common) {
        map.extend(common);
    }
    value
}
