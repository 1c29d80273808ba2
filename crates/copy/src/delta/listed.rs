//! What a directory elsewhere holds and is not to hold, decided from a list of its names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Inventory, Kind};
use crate::tree::is_excluded;

/// Takes the names below a directory: all directories first, each before those in it, then everything else. Memory is for what
/// goes, not for what is there.
///
/// ```
/// use std::path::Path;
/// use tapster_copy::delta::{Inventory, Kind, Listed};
/// let mut inventory = Inventory::default();
/// inventory.add(Path::new("base/1/1259"), Kind::File);
/// inventory.sort();
/// let keep = ["/log".to_owned()];
/// let mut listed = Listed::new(&inventory, &keep);
/// for directory in ["base", "base/1", "base/2", "log"] {
///     listed.take(Path::new(directory), Some(Kind::Directory));
/// }
/// for file in ["base/1/1259", "base/2/1259", "log/server.log", "standby.signal"] {
///     listed.take(Path::new(file), Some(Kind::File));
/// }
/// assert_eq!(listed.removed(), [Path::new("base/2"), Path::new("standby.signal")]);
/// ```
#[derive(Clone, Debug)]
pub struct Listed<'a> {
    inventory: &'a Inventory,
    keep: &'a [String],
    directories: BTreeSet<PathBuf>,
    others: Vec<PathBuf>,
}

impl<'a> Listed<'a> {
    /// For what the directory is to hold. What `keep` names ([`PruneOptions::keep`](super::PruneOptions::keep)) stays with all that
    /// is in it.
    pub const fn new(inventory: &'a Inventory, keep: &'a [String]) -> Self {
        Self { inventory, keep, directories: BTreeSet::new(), others: Vec::new() }
    }

    /// The next name, relative to the directory; without a kind it is neither directory nor file.
    pub fn take(&mut self, path: &Path, kind: Option<Kind>) {
        let mut above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        if above.any(|above| self.directories.contains(above) || is_excluded(self.keep, above)) {
            return;
        }
        let stays = kind.is_some() && (is_excluded(self.keep, path) || self.inventory.kind(path) == kind);
        if !stays && kind == Some(Kind::Directory) {
            self.directories.insert(path.to_owned());
        } else if !stays {
            self.others.push(path.to_owned());
        }
    }

    /// What goes; a directory with all that is in it.
    pub fn removed(self) -> Vec<PathBuf> {
        let mut removed: Vec<PathBuf> = self.directories.into_iter().chain(self.others).collect();
        removed.sort();
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_something_else_goes_and_nothing_is_named_twice() {
        let mut inventory = Inventory::default();
        for path in ["base/1/1259", "link", "was/a/file"] {
            inventory.add(Path::new(path), Kind::File);
        }
        inventory.sort();
        let keep = ["/log".to_owned(), "/pg_wal/not-archived".to_owned()];
        let mut listed = Listed::new(&inventory, &keep);
        for path in ["base", "base/1", "base/1/1259", "gone", "gone/deep", "pg_wal", "pg_wal/not-archived"] {
            listed.take(Path::new(path), Some(Kind::Directory));
        }
        listed.take(Path::new("was/a"), Some(Kind::File));
        for path in ["gone/deep/1", "base/1/1259/x", "pg_wal/not-archived/x", "log/x"] {
            listed.take(Path::new(path), Some(Kind::File));
        }
        listed.take(Path::new("link"), None);
        listed.take(Path::new("log"), None);
        let expected = ["base/1/1259", "gone", "link", "log", "pg_wal", "was/a"].map(PathBuf::from);
        assert_eq!(listed.removed(), expected);
    }
}
