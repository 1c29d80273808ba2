//! `barman-cloud-restore`, `cloud verify-backup`: the plan of a dry run, and what a person must know.

use tapster_manager::cloud::restore::{CloudRestorePlan, CloudRestoreReport};
use tapster_manager::cloud::verify::CloudVerifyReport;
use tapster_manager::text::{human_elapsed, pretty_bytes};
use walfile::SegmentName;

use super::Output;
use crate::format::timestamp::python_datetime;

/// How many names of WAL files are told.
const MOST_NAMES: usize = 10;

/// Tells of WAL without which the backup cannot be recovered.
pub(crate) fn warn(plan: &CloudRestorePlan) {
    let missing = &plan.wal.missing;
    if missing.is_empty() {
        return;
    }
    tracing::warn!(
        "WAL that backup {} needs is not in the store: {}; without it no server can be recovered from the backup",
        plan.record.id,
        names(missing)
    );
}

/// The first of them.
fn names(missing: &[SegmentName]) -> String {
    let names: Vec<String> = missing.iter().take(MOST_NAMES).map(ToString::to_string).collect();
    let more = if missing.len() > MOST_NAMES { ", …" } else { "" };
    names.join(", ") + more
}

/// Tells of a backup that can be relied on.
pub(crate) fn verified(output: &Output, report: &CloudVerifyReport) {
    output.raw_line(format!(
        "Backup {}: {} files, {}, in {} archives agree with the manifest",
        report.record.id,
        report.files,
        pretty_bytes(report.bytes),
        report.archives
    ));
}

/// What is wrong with one.
pub(crate) fn faults(report: &CloudVerifyReport) -> String {
    let fault = report.fault.iter().map(ToString::to_string);
    let missing = report.wal.iter().filter(|wal| !wal.missing.is_empty());
    let missing =
        missing.map(|wal| format!("WAL that it needs is not in the store: {}", names(&wal.missing)));
    let faults: Vec<String> = fault.chain(missing).collect();
    format!("Backup {} failed verification: {}", report.record.id, faults.join("; "))
}

/// Shows a plan.
pub(crate) fn plan(output: &Output, plan: &CloudRestorePlan) {
    let say = |text: String| output.raw_line(text);
    let end = plan.record.end_time.map_or_else(|| "-".to_owned(), python_datetime);
    say(format!("Backup {}, which ended at {end}", plan.record.id));
    say(format!("Destination directory: {}", plan.destination.display()));
    for place in &plan.tablespaces {
        say(format!("\t{}, {}, {}", place.oid, place.name, place.location.display()));
    }
    say(format!("Archives ({} in all):", pretty_bytes(plan.stored)));
    for archive in &plan.archives {
        say(format!("\t{} ({})", archive.key, pretty_bytes(archive.size)));
    }
    let wal = &plan.wal;
    match (wal.missing.len(), plan.record.begin_wal, wal.last) {
        (0, Some(begin), Some(last)) => {
            say(format!("WAL: {} segments without a gap, from {begin} to {last}", wal.segments));
        }
        (0, ..) => say("WAL: the record does not say which is needed".to_owned()),
        (count, ..) => say(format!("WAL: {count} segments that the backup needs are missing")),
    }
    say("Nothing was written: this is a dry run.".to_owned());
}

/// Logs the end.
pub(crate) fn log(report: &CloudRestoreReport) {
    let compared =
        if report.verified { "compared with the manifest" } else { "without a manifest to compare with" };
    tracing::info!(
        "Restored {} files, {}, {compared} (elapsed time: {})",
        report.files,
        pretty_bytes(report.bytes),
        human_elapsed(report.elapsed)
    );
}
