//! Where a restore puts things: the data directory, tablespaces, staged WAL.
//!
//! Nothing lies where another thing goes. That everything is empty or absent before, or may be gone over, is found out after that.

use std::path::{Component, Path, PathBuf};

use tapster_catalog::BackupRecord;

use super::archived_wal::file_names;
use super::{RestoreOptions, RestorePlanError, WalPlan};

/// Where a tablespace is restored to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TablespacePlace {
    /// OID.
    pub oid: u32,
    /// Name.
    pub name: String,
    /// The new directory.
    pub location: PathBuf,
}

/// A link in `pg_tblspc` that the record does not know. Copied as it is, the restored server would write into the backup.
pub(super) fn unlisted_tablespace(
    data: &Path,
    record: &BackupRecord,
) -> Result<Option<String>, RestorePlanError> {
    let dir = data.join("pg_tblspc");
    let is_listed = |name: &str| record.tablespaces.iter().any(|t| t.oid.to_string() == name);
    Ok(file_names(&dir)?.into_iter().find(|name| !is_listed(name) && dir.join(name).is_symlink()))
}

/// The path with the links in the part of it that exists resolved, for comparing places.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let real = |above: &Path| {
        let rest = path.strip_prefix(above).ok()?;
        Some(above.canonicalize().ok()?.join(rest))
    };
    path.ancestors().find_map(real).unwrap_or_else(|| path.to_owned())
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, RestorePlanError> {
    let absolute =
        std::path::absolute(path).map_err(|source| RestorePlanError::Io { path: path.to_owned(), source })?;
    if absolute.components().any(|part| part == Component::ParentDir) {
        let source =
            std::io::Error::new(std::io::ErrorKind::InvalidInput, "'..' in the destination is refused");
        return Err(RestorePlanError::Io { path: path.to_owned(), source });
    }
    Ok(absolute)
}

pub(super) fn place_tablespaces(
    record: &BackupRecord,
    options: &RestoreOptions,
    destination: &Path,
) -> Result<Vec<TablespacePlace>, RestorePlanError> {
    for (name, _) in &options.tablespaces {
        if !record.tablespaces.iter().any(|tablespace| tablespace.name == *name) {
            let known = record.tablespaces.iter().map(|tablespace| tablespace.name.clone()).collect();
            return Err(RestorePlanError::Tablespace { name: name.clone(), known });
        }
    }
    record
        .tablespaces
        .iter()
        // In-place tablespaces are inside the data directory and come with it.
        .filter(|tablespace| Path::new(&tablespace.location).is_absolute())
        .map(|tablespace| {
            let moved = options.tablespaces.iter().rev().find(|(name, _)| *name == tablespace.name);
            let location = match (moved, &options.tablespace_root) {
                (Some((_, location)), _) => location.clone(),
                (None, Some(root)) => root.join(tablespace.oid.to_string()),
                (None, None) => PathBuf::from(&tablespace.location),
            };
            // A relative place is meant from the new data directory, as in Barman.
            let location = absolute(&destination.join(location))?;
            Ok(TablespacePlace { oid: tablespace.oid, name: tablespace.name.clone(), location })
        })
        .collect()
}

/// Nothing lies where another thing goes; a tablespace may lie inside the data directory.
pub(super) fn check_places(
    destination: &Path,
    tablespaces: &[TablespacePlace],
) -> Result<(), RestorePlanError> {
    let real_destination = resolved(destination);
    for (index, place) in tablespaces.iter().enumerate() {
        let overlap = |second: &Path| {
            Err(RestorePlanError::Overlap { first: place.location.clone(), second: second.to_owned() })
        };
        let real = resolved(&place.location);
        if real_destination.starts_with(&real) {
            return overlap(destination);
        }
        for other in tablespaces.iter().skip(index + 1) {
            let other_real = resolved(&other.location);
            if other_real.starts_with(&real) || real.starts_with(&other_real) {
                return overlap(&other.location);
            }
        }
    }
    Ok(())
}

pub(super) fn is_empty(dir: &Path) -> Result<bool, RestorePlanError> {
    match std::fs::read_dir(dir) {
        Ok(mut read) => Ok(read.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(RestorePlanError::Io { path: dir.to_owned(), source }),
    }
}

/// Whether the file system of the destination has room. Files that can be shared with the backup need none, but nobody knows
/// that beforehand, so this only refuses what is clearly too little. `staged` is what is unpacked there on the way.
pub(super) fn check_space(
    destination: &Path,
    record: &BackupRecord,
    wal: &WalPlan,
    copies_wal: bool,
    staged: u64,
    present: u64,
) -> Result<(), RestorePlanError> {
    let Some(existing) = destination.ancestors().find(|dir| dir.is_dir()) else { return Ok(()) };
    let Ok(stat) = rustix::fs::statvfs(existing) else { return Ok(()) };
    // What is there goes, or is kept.
    let free = stat.f_bavail.saturating_mul(stat.f_frsize).saturating_add(present);
    let elsewhere: bool = !record.tablespaces.is_empty();
    // What archives hold takes the room it had on the server.
    let is_less = record.compression.is_some() || record.parent_backup_id.is_some();
    let size = if is_less { record.cluster_size } else { record.size };
    let base = if elsewhere { 0 } else { size.unwrap_or(0) };
    let segments = wal.segments.len() as u64 + u64::from(wal.partial.is_some());
    let wal_bytes = if copies_wal { segments.saturating_mul(record.segment_size().bytes()) } else { 0 };
    let needed = base.saturating_add(wal_bytes).saturating_add(staged);
    if free < needed {
        return Err(RestorePlanError::Space { path: existing.to_owned(), free, needed });
    }
    Ok(())
}
