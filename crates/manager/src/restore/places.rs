//! Where a restore puts things: the data directory, tablespaces, staged WAL.
//!
//! Nothing lies where another thing goes. That everything is empty or absent before, or may be gone over, is found out after that.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags};
use tapster_catalog::BackupRecord;

use super::archived_wal::file_names;
use super::{RestoreOptions, RestorePlanError};

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

pub(crate) fn absolute(path: &Path) -> Result<PathBuf, RestorePlanError> {
    let absolute =
        std::path::absolute(path).map_err(|source| RestorePlanError::Io { path: path.to_owned(), source })?;
    if absolute.components().any(|part| part == Component::ParentDir) {
        let source =
            std::io::Error::new(std::io::ErrorKind::InvalidInput, "'..' in the destination is refused");
        return Err(RestorePlanError::Io { path: path.to_owned(), source });
    }
    Ok(absolute)
}

pub(crate) fn place_tablespaces(
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

/// Everything can be written to, and nothing lies where another thing goes; a tablespace may lie inside the data directory, where it
/// is not in the way of the cluster's own files.
pub(crate) fn check_places(
    destination: &Path,
    tablespaces: &[TablespacePlace],
) -> Result<(), RestorePlanError> {
    check_access(destination)?;
    if is_bare_mount_point(destination)? {
        return Err(RestorePlanError::MountPoint { path: destination.to_owned() });
    }
    let real_destination = resolved(destination);
    for (index, place) in tablespaces.iter().enumerate() {
        let overlap = |second: &Path| {
            Err(RestorePlanError::Overlap { first: place.location.clone(), second: second.to_owned() })
        };
        let real = resolved(&place.location);
        if real_destination.starts_with(&real) {
            return overlap(destination);
        }
        let inside = real.strip_prefix(&real_destination).ok().and_then(|inside| inside.components().next());
        if inside.is_some_and(|first| is_of_the_cluster(&first.as_os_str().to_string_lossy())) {
            let (name, path) = (place.name.clone(), place.location.clone());
            return Err(RestorePlanError::InsideCluster { name, path });
        }
        if inside.is_none() {
            check_access(&place.location)?;
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

/// Names that PostgreSQL gives to what lies in a data directory.
pub(super) fn is_of_the_cluster(first: &str) -> bool {
    first.starts_with("pg_") || ["base", "global", "log"].contains(&first)
}

/// Whether it holds nothing but what the file system itself has put there.
fn is_bare_mount_point(dir: &Path) -> Result<bool, RestorePlanError> {
    Ok(file_names(dir)? == ["lost+found"])
}

/// What does not exist must be possible to make; what exists must be ours, and PostgreSQL will demand the same.
fn check_access(place: &Path) -> Result<(), RestorePlanError> {
    let user = rustix::process::geteuid();
    for dir in place.ancestors() {
        match dir.metadata() {
            Ok(found) if !found.is_dir() => {
                return Err(RestorePlanError::NotADirectory { path: dir.to_owned() });
            }
            Ok(found) => {
                let access = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
                let needed = if dir == place { access } else { Access::WRITE_OK | Access::EXEC_OK };
                let is_allowed = rustix::fs::accessat(rustix::fs::CWD, dir, needed, AtFlags::EACCESS).is_ok();
                if dir == place && found.uid() != user.as_raw() && !user.is_root() {
                    let (path, owner, user) = (dir.to_owned(), found.uid(), user.as_raw());
                    return Err(RestorePlanError::NotOwned { path, owner, user });
                }
                return if is_allowed {
                    Ok(())
                } else {
                    Err(RestorePlanError::NotWritable { path: dir.to_owned() })
                };
            }
            // A link to nothing.
            Err(_) if dir.is_symlink() => {
                return Err(RestorePlanError::NotADirectory { path: dir.to_owned() });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {}
            Err(source) => return Err(RestorePlanError::Io { path: dir.to_owned(), source }),
        }
    }
    Ok(())
}

pub(crate) fn is_empty(dir: &Path) -> Result<bool, RestorePlanError> {
    match std::fs::read_dir(dir) {
        Ok(mut read) => Ok(read.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(RestorePlanError::Io { path: dir.to_owned(), source }),
    }
}
