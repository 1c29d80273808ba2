//! Walking a tree that changes.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::rules::{Rules, is_database, logged_fork, unlogged};
use super::{LiveReport, LiveTree};
use crate::sync::at;
use crate::tree::TreeError;

/// Deeper than any cluster; a link that leads to a directory above it ends here.
const MAX_DEPTH: usize = 40;
/// How many of the things left out are named.
const MAX_SKIPPED: usize = 100;

/// What a walk comes to, by its path relative to the tree's root.
pub(super) enum Entry {
    /// A directory, before anything in it, and its permission bits. The root has an empty path.
    Directory(PathBuf, u32),
    /// A file.
    File(PathBuf),
}

/// Gives each directory and file to `visit`, until that answers false.
pub(super) fn walk(
    tree: &LiveTree,
    report: &mut LiveReport,
    visit: &mut dyn FnMut(Entry) -> Result<bool, TreeError>,
) -> Result<(), TreeError> {
    let mut pending = vec![(PathBuf::new(), 0)];
    // Of a tablespace's root, the rules leave nothing but the directory of this version.
    let mut seen = false;
    while let Some((directory, depth)) = pending.pop() {
        let place = tree.source.join(&directory);
        let root = directory.as_os_str().is_empty();
        let gone = |error: &std::io::Error| {
            error.kind() == ErrorKind::NotFound && !(root && matches!(tree.rules, Rules::Data { .. }))
        };
        let metadata = match std::fs::metadata(&place) {
            Err(error) if gone(&error) => {
                report.vanished += 1;
                continue;
            }
            result => result.map_err(at("read", &place))?,
        };
        if !visit(Entry::Directory(directory.clone(), metadata.mode() & 0o7777))? {
            return Ok(());
        }
        let not_logged = if is_database(&directory) { not_logged(&place)? } else { HashSet::new() };
        let entries = match std::fs::read_dir(&place) {
            Err(error) if gone(&error) => {
                report.vanished += 1;
                continue;
            }
            result => result.map_err(at("read", &place))?,
        };
        for entry in entries {
            let entry = entry.map_err(at("read", &place))?;
            let name = entry.file_name();
            let path = directory.join(&name);
            let made_anew =
                !not_logged.is_empty() && logged_fork(&name).is_some_and(|node| not_logged.contains(&node));
            if made_anew || tree.rules.leaves_out(&path) {
                continue;
            }
            let mut kind = match entry.file_type() {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    report.vanished += 1;
                    continue;
                }
                result => result.map_err(at("read", &entry.path()))?,
            };
            if kind.is_symlink() {
                if tree.rules.leaves_out_link(&path) {
                    continue;
                }
                kind = match std::fs::metadata(entry.path()) {
                    // It leads nowhere. Whatever else is wrong, there may be data behind it.
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        skip(report, entry.path());
                        continue;
                    }
                    result => result.map_err(at("read", &entry.path()))?.file_type(),
                };
            }
            if kind.is_dir() {
                seen |= root;
                if depth >= MAX_DEPTH {
                    let error = std::io::Error::from(ErrorKind::InvalidFilename);
                    return Err(at("go deeper than", &entry.path())(error).into());
                }
                pending.push((path, depth + 1));
            } else if !kind.is_file() {
                skip(report, entry.path());
            } else if !visit(Entry::File(path))? {
                return Ok(());
            }
        }
    }
    if !seen && matches!(tree.rules, Rules::Tablespace { .. }) {
        report.absent.push(tree.label.clone());
    }
    Ok(())
}

pub(super) fn skip(report: &mut LiveReport, path: PathBuf) {
    if report.skipped.len() < MAX_SKIPPED {
        report.skipped.push(path);
    }
}

/// The relations of a database that are not logged. Read before the names are gone through, as PostgreSQL does it.
fn not_logged(place: &Path) -> Result<HashSet<u32>, TreeError> {
    let entries = match std::fs::read_dir(place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(HashSet::new()),
        result => result.map_err(at("read", place))?,
    };
    let mut found = HashSet::new();
    for entry in entries {
        found.extend(unlogged(&entry.map_err(at("read", place))?.file_name()));
    }
    Ok(found)
}
