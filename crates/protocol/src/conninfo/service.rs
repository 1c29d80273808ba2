//! `pg_service.conf`: named sets of connection options (`parseServiceInfo` of libpq).

use std::io;
use std::path::{Path, PathBuf};

use super::keyvalue::is_space;
use super::{ConnInfo, ConnInfoError, Environment, keyword};

/// libpq reads lines into a buffer of 1024 bytes.
const LINE_LIMIT: usize = 1023;

/// Adds the options of the service that the connection string or `PGSERVICE` names; what is already set stays.
pub(super) fn apply(conninfo: &mut ConnInfo, environment: &Environment) -> Result<(), ConnInfoError> {
    let named = conninfo.get("service").or_else(|| environment.variable("PGSERVICE"));
    let Some(service) = named.map(str::to_owned) else { return Ok(()) };
    let explicit = conninfo.get("servicefile").or_else(|| environment.variable("PGSERVICEFILE"));
    if let Some(path) = explicit.map(PathBuf::from) {
        let text = read(&path)?.ok_or_else(|| ConnInfoError::ServiceFileNotFound { path: path.clone() })?;
        if apply_file(conninfo, &service, &path, &text)? {
            return Ok(());
        }
    } else if let Some(path) = environment.home_file(".pg_service.conf")
        && let Some(text) = read(&path)?
        && apply_file(conninfo, &service, &path, &text)?
    {
        return Ok(());
    }
    let directory = environment
        .variable("PGSYSCONFDIR")
        .map_or_else(|| environment.system_configuration.clone(), PathBuf::from);
    let path = directory.join("pg_service.conf");
    if let Some(text) = read(&path)?
        && apply_file(conninfo, &service, &path, &text)?
    {
        return Ok(());
    }
    Err(ConnInfoError::ServiceNotFound { service })
}

fn read(path: &Path) -> Result<Option<String>, ConnInfoError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(ConnInfoError::ServiceFileRead { path: path.to_owned(), source }),
    }
}

/// Whether the service was in this file.
fn apply_file(
    conninfo: &mut ConnInfo,
    service: &str,
    path: &Path,
    text: &str,
) -> Result<bool, ConnInfoError> {
    let mut found = false;
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let at = || (path.to_owned(), line);
        if raw.len() > LINE_LIMIT {
            let (path, line) = at();
            return Err(ConnInfoError::ServiceLineTooLong { path, line });
        }
        let entry = raw.trim_matches(is_space);
        if entry.is_empty() || entry.starts_with('#') {
            continue;
        }
        if let Some(group) = entry.strip_prefix('[') {
            if found {
                break;
            }
            // Like libpq, text after the bracket is not looked at.
            found = group.strip_prefix(service).is_some_and(|tail| tail.starts_with(']'));
            continue;
        }
        if !found {
            continue;
        }
        let (path, line) = at();
        let Some((name, value)) = entry.split_once('=') else {
            return Err(ConnInfoError::ServiceSyntax { path, line });
        };
        if matches!(name, "service" | "servicefile") {
            return Err(ConnInfoError::ServiceNested { path, line });
        }
        if keyword::find(name).is_none() {
            return Err(ConnInfoError::ServiceSyntax { path, line });
        }
        if conninfo.get(name).is_none() {
            conninfo.set(name, value)?;
        }
    }
    Ok(found)
}
