//! What is wrong with a backup, in the words of `pg_verifybackup`.

use tapster_copy::manifest::{ManifestError, Problem, VerifyReport};
use tapster_manager::WalRangeFault;
use tapster_manager::text::system_text;

/// One line of `pg_verifybackup`, without its prefix.
pub(crate) fn problem(problem: &Problem) -> String {
    match problem {
        Problem::Missing { path } => {
            format!("\"{}\" is present in the manifest but not on disk", path.display())
        }
        Problem::Extra { path } => {
            format!("\"{}\" is present on disk but not in the manifest", path.display())
        }
        Problem::Size { path, expected, found } => {
            format!("\"{}\" has size {found} on disk but size {expected} in the manifest", path.display())
        }
        Problem::Checksum { path, .. } => format!("checksum mismatch for file \"{}\"", path.display()),
        Problem::NotAFile { path } => format!("\"{}\" is not a file or directory", path.display()),
        Problem::Unreadable { path, source } => {
            format!("could not read file \"{}\": {}", path.display(), system_text(source))
        }
        Problem::Unexpected { path } => {
            format!("file \"{}\" is not expected in a tar format backup", path.display())
        }
        Problem::Archive { path, reason } => {
            format!("could not read archive \"{}\": {reason}", path.display())
        }
        Problem::SystemIdentifier { manifest, control } => {
            format!("manifest system identifier is {manifest}, but control file has {control}")
        }
        Problem::ControlFile { reason } => format!("could not read file \"global/pg_control\": {reason}"),
        other => other.to_string(),
    }
}

/// All lines about the files.
pub(crate) fn problems(report: &VerifyReport) -> Vec<String> {
    let mut lines: Vec<String> = report.problems.iter().map(problem).collect();
    let more = report.problem_count.saturating_sub(lines.len() as u64);
    if more > 0 {
        lines.push(format!("{more} more problems"));
    }
    lines
}

/// A manifest that cannot be used.
pub(crate) fn manifest(error: &ManifestError) -> String {
    match error {
        ManifestError::Checksum { .. } => "manifest checksum mismatch".to_owned(),
        ManifestError::Io(source) => format!("could not read backup manifest: {}", system_text(source)),
        other => format!("could not parse backup manifest: {other}"),
    }
}

/// What `pg_waldump` would have found, and what `pg_verifybackup` says then.
pub(crate) fn wal(fault: &WalRangeFault) -> [String; 2] {
    [fault.reason.clone(), format!("WAL parsing failed for timeline {}", fault.timeline)]
}
