//! What `pg_control` of a backup says: whether it is that of the cluster, and which settings the restored server must have.
//!
//! A server that replays WAL with fewer connections, workers, senders, prepared transactions or locks than the one that wrote it
//! had cannot be a hot standby, and refuses to start (`CheckRequiredParameterValues` in `xlogrecovery.c`).

use std::path::Path;

use tapster_catalog::BackupRecord;
use walfile::{ControlFile, ControlFileError};

use super::RestorePlanError;
use crate::beginning::read_beginning;

/// The files in which the settings of a backup stand, in the order in which PostgreSQL reads them.
pub(super) const CONFIGURATION: [&str; 2] = ["postgresql.conf", "postgresql.auto.conf"];

/// Longer configuration files exist only by mistake.
const MAX_CONFIGURATION: u64 = 4 << 20;

/// Looks at the control file and the configuration in a directory. Settings that are too low are returned as warnings.
pub(super) fn check(data: &Path, record: &BackupRecord) -> Result<Vec<String>, RestorePlanError> {
    let path = data.join("global/pg_control");
    let io = |source| RestorePlanError::Io { path: path.clone(), source };
    let Some(bytes) = read_beginning(&path, ControlFile::FILE_LEN as u64).map_err(io)? else {
        return Ok(Vec::new());
    };
    let mut files = Vec::new();
    for name in CONFIGURATION {
        let path = data.join(name);
        files.push(
            read_beginning(&path, MAX_CONFIGURATION)
                .map_err(|source| RestorePlanError::Io { path, source })?,
        );
    }
    judge(&bytes, &files, record).map_err(|problem| RestorePlanError::Control { id: record.id, problem })
}

/// The same with the content of both. The error says what is wrong with the control file.
pub(super) fn judge(
    bytes: &[u8],
    files: &[Option<Vec<u8>>],
    record: &BackupRecord,
) -> Result<Vec<String>, String> {
    let id = record.id;
    let control = match ControlFile::parse(bytes) {
        Ok(control) => control,
        // Of a release that is not known here, or of a machine that is not.
        Err(error @ (ControlFileError::UnknownLayout { .. } | ControlFileError::BigEndian { .. })) => {
            return Ok(vec![format!("pg_control of backup {id} is not judged: {error}")]);
        }
        Err(error) => return Err(error.to_string()),
    };
    let recorded = record.systemid.as_ref().and_then(|text| text.parse().ok());
    if recorded.is_some_and(|recorded| control.system_id != recorded) {
        return Err(format!("it is of the cluster {}, the record of another one", control.system_id));
    }
    let major = record.version.map(|version| version / 10_000);
    if major.is_some_and(|major| major != u32::from(control.major)) {
        let recorded = major.unwrap_or_default();
        return Err(format!("it is of PostgreSQL {}, by the record it must be of {recorded}", control.major));
    }
    // Where one is kept elsewhere, nobody knows what it will say.
    match files {
        [Some(first), Some(second)] => Ok(too_low(&control, &[first, second])),
        _ => Ok(Vec::new()),
    }
}

fn too_low(control: &ControlFile, files: &[&[u8]]) -> Vec<String> {
    let senders = control.max_wal_senders.unwrap_or_default();
    let required = [
        ("max_connections", control.max_connections, 100),
        ("max_worker_processes", control.max_worker_processes, 8),
        ("max_wal_senders", senders, 10),
        ("max_prepared_transactions", control.max_prepared_xacts, 0),
        ("max_locks_per_transaction", control.max_locks_per_xact, 64),
    ];
    let set = |key: &str| files.iter().rev().find_map(|file| last_value(file, key));
    let low = required.into_iter().filter_map(|(key, needed, default)| {
        // What is not a plain number is not judged.
        let value = set(key).map_or(Some(default), |text| text.parse().ok())?;
        (value < needed).then(|| {
            format!(
                "{key} is {value} in the configuration of the backup, but the server ran with {needed}: with less than that a \
                 restored server that allows connections during recovery (hot_standby) refuses to start"
            )
        })
    });
    low.collect()
}

/// The value of the last line that sets it.
fn last_value(file: &[u8], key: &str) -> Option<String> {
    let lines = file.split(|byte| *byte == b'\n').rev();
    lines.map(String::from_utf8_lossy).find_map(|line| {
        let line = line.trim();
        let (name, rest) = line.split_at_checked(key.len())?;
        let ends = rest.starts_with(|c: char| c.is_whitespace() || c == '=');
        if !name.eq_ignore_ascii_case(key) || !ends {
            return None;
        }
        let rest = rest.trim_start();
        let value = rest.strip_prefix('=').unwrap_or(rest).trim_start();
        let value = match value.strip_prefix('\'') {
            Some(quoted) => quoted.split('\'').next().unwrap_or_default(),
            None => value.split(|c: char| c.is_whitespace() || c == '#').next().unwrap_or_default(),
        };
        Some(value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(major: u32) -> ControlFile {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../walfile/tests/data/{major}/pg_control.production"));
        ControlFile::parse(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn settings_below_those_of_the_server_are_named_with_both_numbers() {
        let control = control(15);
        let high = |key: &str, value: u32| format!("{key} = {}\n", value + 1);
        let enough = high("max_connections", control.max_connections)
            + &high("max_worker_processes", control.max_worker_processes)
            + &high("max_wal_senders", control.max_wal_senders.unwrap())
            + &high("max_prepared_transactions", control.max_prepared_xacts)
            + &high("max_locks_per_transaction", control.max_locks_per_xact);
        let warn = |more: &str| too_low(&control, &[enough.as_bytes(), more.as_bytes()]);
        assert_eq!(warn(""), Vec::<String>::new());
        let said = warn("# max_connections = 5\nMax_Connections '3' # few\n");
        let expected = format!(
            "max_connections is 3 in the configuration of the backup, but the server ran with {}: ",
            control.max_connections
        );
        assert!(said.len() == 1 && said[0].starts_with(&expected), "{said:?}");
        // The last line counts; and what is no number is not judged.
        assert_eq!(
            warn("max_connections = 3\nmax_connections = 5000\nmax_worker_processes=0x8\n"),
            Vec::<String>::new()
        );
        assert_eq!(warn("max_connections_x = 3\n"), Vec::<String>::new());
    }
}
