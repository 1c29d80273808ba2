//! The names a directory is to hold.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::combine::PREFIX;
use crate::manifest::{ManifestError, ManifestFile, ManifestReader};
use crate::tree::is_excluded;

/// What a name stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// A directory.
    Directory = 0,
    /// A regular file.
    File = 1,
}

/// Names and kinds, eight bytes for each name: a keyed hash, which nobody who names files can aim at.
///
/// ```
/// use std::path::Path;
/// use tapster_copy::delta::{Inventory, Kind};
/// let mut inventory = Inventory::default();
/// inventory.add(Path::new("base/1/1259"), Kind::File);
/// inventory.sort();
/// assert_eq!(inventory.kind(Path::new("base/1/1259")), Some(Kind::File));
/// assert_eq!(inventory.kind(Path::new("base/1")), Some(Kind::Directory));
/// assert_eq!(inventory.kind(Path::new("base/2")), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    keys: RandomState,
    /// The last bit is the kind.
    names: Vec<u64>,
    /// Files of one directory follow one another.
    near: PathBuf,
}

impl Inventory {
    /// Adds a name, relative to the directory, and the directories above it.
    pub fn add(&mut self, path: &Path, kind: Kind) {
        self.names.push(self.hash(path) | kind as u64);
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent != self.near {
            for above in parent.ancestors().filter(|above| !above.as_os_str().is_empty()) {
                self.names.push(self.hash(above));
            }
            self.near = parent.to_owned();
        }
    }

    /// To be called when all names are there.
    pub fn sort(&mut self) {
        self.names.sort_unstable();
        self.names.dedup();
    }

    /// What the name is to be; `None` when it is not to be there.
    pub fn kind(&self, path: &Path) -> Option<Kind> {
        let hash = self.hash(path);
        let has = |kind| self.names.binary_search(&(hash | kind as u64)).is_ok();
        if has(Kind::File) { Some(Kind::File) } else { has(Kind::Directory).then_some(Kind::Directory) }
    }

    fn hash(&self, path: &Path) -> u64 {
        self.keys.hash_one(path) & !1
    }

    /// The files a backup's manifest lists, those of an incremental backup under the names they have when it is combined:
    /// the data directory's but for those that `excludes` leaves out (as in [`TreeOptions`](crate::tree::TreeOptions)), and
    /// those of each of `tablespaces`, which lie elsewhere.
    ///
    /// # Errors
    /// When the manifest cannot be read.
    pub fn of_manifest(
        manifest: File,
        tablespaces: &[u32],
        excludes: &[String],
    ) -> Result<(Self, BTreeMap<u32, Self>), ManifestError> {
        let mut data = Self::default();
        let mut others: BTreeMap<u32, Self> = tablespaces.iter().map(|oid| (*oid, Self::default())).collect();
        let mut reader = ManifestReader::new(manifest)?;
        let mut listed = ManifestFile::default();
        while reader.next_file(&mut listed)? {
            let path = combined(Path::new(OsStr::from_bytes(&listed.path)));
            match split(&path, &mut others) {
                Some((inventory, inside)) => inventory.add(inside, Kind::File),
                None if is_excluded(excludes, &path) => {}
                None => data.add(&path, Kind::File),
            }
        }
        reader.finish()?;
        data.sort();
        others.values_mut().for_each(Self::sort);
        Ok((data, others))
    }
}

/// `base/5/INCREMENTAL.1259` becomes `base/5/1259`.
fn combined(path: &Path) -> PathBuf {
    let name =
        path.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX)).filter(|name| !name.is_empty());
    name.map_or_else(|| path.to_owned(), |name| path.with_file_name(name))
}

fn split<'a, 'p>(
    path: &'p Path,
    others: &'a mut BTreeMap<u32, Inventory>,
) -> Option<(&'a mut Inventory, &'p Path)> {
    let rest = path.strip_prefix("pg_tblspc").ok()?;
    let name = rest.iter().next()?;
    let inventory = others.get_mut(&name.to_str()?.parse().ok()?)?;
    Some((inventory, rest.strip_prefix(name).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incremental_files_count_under_their_own_names() {
        assert_eq!(combined(Path::new("base/5/INCREMENTAL.1259")), Path::new("base/5/1259"));
        assert_eq!(combined(Path::new("INCREMENTAL.")), Path::new("INCREMENTAL."));
        assert_eq!(combined(Path::new("base/5/1259")), Path::new("base/5/1259"));
    }

    #[test]
    fn tablespaces_have_inventories_of_their_own() {
        let mut others = BTreeMap::from([(16384, Inventory::default())]);
        let mut inside = |path| split(Path::new(path), &mut others).map(|(_, inside)| inside.to_owned());
        assert_eq!(inside("pg_tblspc/16384/PG_15_1/5/1"), Some("PG_15_1/5/1".into()));
        assert_eq!(inside("pg_tblspc/16385/PG_15_1/5/1"), None);
        assert_eq!(inside("base/5/1"), None);
    }
}
