//! A directory tree held in memory: what was there at the start, and what a crash left.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[derive(Clone, Debug, Hash, PartialEq)]
pub(super) enum Entry {
    Dir,
    Link(PathBuf),
    File { bytes: Vec<u8>, mode: u32, modified: Option<SystemTime> },
}

/// Relative path → what is there. A directory stands before what is in it.
#[derive(Clone, Debug, Default, Hash, PartialEq)]
pub(super) struct Tree(pub(super) BTreeMap<PathBuf, Entry>);

impl Tree {
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        let mut dirs = vec![PathBuf::new()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(root.join(&dir))? {
                let entry = entry?;
                let relative = dir.join(entry.file_name());
                let metadata = entry.metadata()?;
                let read = if metadata.is_dir() {
                    dirs.push(relative.clone());
                    Entry::Dir
                } else if metadata.is_symlink() {
                    Entry::Link(fs::read_link(entry.path())?)
                } else {
                    let mode = metadata.permissions().mode() & 0o7777;
                    Entry::File { bytes: fs::read(entry.path())?, mode, modified: Some(metadata.modified()?) }
                };
                tree.0.insert(relative, read);
            }
        }
        Ok(tree)
    }
}

/// What is on disk after a crash.
#[derive(Clone, Debug)]
pub struct CrashState {
    /// How many of the recorded operations had been done.
    pub cut: usize,
    /// What had been acknowledged by then.
    pub marks: Vec<String>,
    pub(super) fate: String,
    pub(super) tree: Tree,
}

impl CrashState {
    /// Writes the state into the empty directory `into`.
    ///
    /// # Errors
    /// When that fails.
    pub fn materialise(&self, into: &Path) -> io::Result<()> {
        for (relative, entry) in &self.tree.0 {
            let path = into.join(relative);
            match entry {
                Entry::Dir => fs::create_dir(&path)?,
                Entry::Link(target) => std::os::unix::fs::symlink(target, &path)?,
                Entry::File { bytes, mode, modified } => {
                    let mut file = File::create(&path)?;
                    file.write_all(bytes)?;
                    file.set_permissions(Permissions::from_mode(*mode))?;
                    if let Some(modified) = modified {
                        file.set_times(FileTimes::new().set_modified(*modified))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for CrashState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cut after operation {}, {}, acknowledged: [{}]",
            self.cut,
            self.fate,
            self.marks.join(", ")
        )
    }
}
