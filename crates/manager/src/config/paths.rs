//! Two names for one directory, within a server or between servers.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use super::server::ServerConfig;

/// The directories that must differ, sorted by name.
const DIRECTORIES: [&str; 6] = [
    "backup_directory",
    "basebackups_directory",
    "errors_directory",
    "incoming_wals_directory",
    "streaming_wals_directory",
    "wals_directory",
];

/// Adds a problem to each server that uses one directory twice; returns what is wrong between servers.
pub(super) fn find_conflicts(servers: &mut BTreeMap<String, ServerConfig>) -> Vec<String> {
    let mut seen: HashMap<PathBuf, (&'static str, String)> = HashMap::new();
    let mut between = Vec::new();
    for (name, server) in servers {
        for label in DIRECTORIES {
            let Some(path) = server.text(label).map(str::to_owned) else { continue };
            // An object store's address is only a prefix, and two may be the same.
            if path.contains("://") {
                continue;
            }
            let real = real_path(Path::new(&path));
            let Some((other_label, other_server)) = seen.get(&real) else {
                seen.insert(real, (label, name.clone()));
                continue;
            };
            let link = if real.as_os_str() == path.as_str() {
                String::new()
            } else {
                format!(" (symlink to: {})", real.display())
            };
            if other_server == name {
                let text = format!(
                    "Conflicting path: {label}={path}{link} conflicts with '{other_label}' for server '{other_server}'"
                );
                server.disable(text);
            } else {
                between.push(format!(
                    "Conflicting path: {label}={path}{link} for server '{name}' conflicts with '{other_label}' for \
                     server '{other_server}'"
                ));
            }
        }
    }
    between
}

/// The path with its symbolic links followed as far as it exists, and `.` and `..` gone.
fn real_path(path: &Path) -> PathBuf {
    const MAX_LINKS: usize = 40;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut todo: Vec<std::ffi::OsString> =
        absolute.components().rev().map(|c| c.as_os_str().to_owned()).collect();
    let mut real = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = todo.pop() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => {
                real.pop();
            }
            Some(Component::Normal(name)) => {
                let next = real.join(name);
                match std::fs::read_link(&next) {
                    Ok(target) if links < MAX_LINKS => {
                        links += 1;
                        if target.is_absolute() {
                            real = PathBuf::from("/");
                        }
                        todo.extend(target.components().rev().map(|c| c.as_os_str().to_owned()));
                    }
                    _ => real = next,
                }
            }
            _ => {}
        }
    }
    real
}
