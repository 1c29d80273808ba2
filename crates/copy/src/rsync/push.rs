//! The other way: a tree of this host to another, for a restore.

use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::buckets::{Bucket, Buckets};
use super::command::Rsync;
use super::copy::Retried;
use super::pace::Pace;
use super::process::{RsyncError, run};
use crate::observer::{CopyObserver, Silent};
use crate::sync::at;
use crate::tree::{Plan, TreeOptions};

/// One tree that goes to another host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PushTree {
    /// What it is called in messages.
    pub label: String,
    /// The directory here.
    pub source: PathBuf,
    /// The directory there.
    pub target: PathBuf,
    /// What is left out, as [`TreeOptions::excludes`] has it.
    pub excludes: Vec<String>,
    /// What is not deleted there though the tree does not have it, likewise.
    pub keep: Vec<String>,
    /// Nothing else is deleted there than this, likewise; with `None`, whatever the tree does not have.
    pub deletable: Option<String>,
    /// Kilobytes per second at most, of each process.
    pub limit: Option<u32>,
}

impl PushTree {
    /// All of a tree, without a limit.
    pub fn new(label: impl Into<String>, source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self {
            label: label.into(),
            source: source.into(),
            target: target.into(),
            excludes: Vec::new(),
            keep: Vec::new(),
            deletable: None,
            limit: None,
        }
    }
}

/// What is done with files the other host has already.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Existing {
    /// There are none, but for those of an attempt that broke off.
    #[default]
    None,
    /// They are compared by checksum, only what differs is sent, and what the tree does not have is deleted. A file that
    /// differs is replaced by a new one: other names of the old one, as in a copy made of hard links, keep their content.
    Compare,
}

/// How trees are pushed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PushOptions {
    /// What is done with files the other host has already.
    pub existing: Existing,
    /// The ssh command for the processes that copy files side by side, where it is another one than
    /// [`Rsync::ssh_command`]: for connections of their own.
    pub side_by_side: Option<String>,
}

struct Work<'t> {
    tree: &'t PushTree,
    bucket: Bucket,
}

impl Rsync {
    /// Copies the trees to the other host: files, directories and links, with modes and times. Nothing is brought to disk there.
    /// `retried` is told of attempts that failed and are made again.
    ///
    /// # Errors
    /// The first failure of a process or a file. A file that vanishes here is one.
    pub fn push(
        &self,
        trees: &[PushTree],
        options: &PushOptions,
        observer: &dyn CopyObserver,
        retried: &(dyn Fn(u32, &RsyncError) + Sync),
        stop: &AtomicBool,
    ) -> Result<(), RsyncError> {
        let lists = tempfile::tempdir().map_err(at("create a directory in", &std::env::temp_dir()))?;
        let compares = options.existing == Existing::Compare;
        let mut work = Vec::new();
        for (index, tree) in trees.iter().enumerate() {
            let mut walk = TreeOptions::default();
            walk.excludes.clone_from(&tree.excludes);
            walk.last = None;
            let plan = Plan::new(&tree.source, walk)?;
            let prefix = index.to_string();
            // Directories and links first, so that the processes that work side by side find them.
            let list = lists.path().join(format!("{prefix}-directories"));
            let names = plan.directories().chain(plan.links());
            write_list(&list, names)?;
            if compares {
                self.delete(tree, retried, stop)?;
            }
            let what = format!("making the directories of {}", tree.label);
            self.send(&|| self.push_list(tree, &list, false, compares), &what, &Silent, retried, stop)?;
            let mut buckets = Buckets::new(lists.path(), &prefix, self.jobs, compares);
            for (path, size) in plan.files() {
                buckets.add(&path, size)?;
            }
            work.extend(buckets.finish()?.into_iter().map(|bucket| Work { tree, bucket }));
        }
        // The heaviest first, so that no process is left with it at the end.
        work.sort_by_key(|work| std::cmp::Reverse(work.bucket.bytes));
        let mut files = self.clone();
        files.ssh_command = options.side_by_side.clone().or(files.ssh_command);
        let broke_off = AtomicBool::new(false);
        let noted = |attempt, error: &RsyncError| {
            broke_off.store(true, Ordering::Relaxed);
            retried(attempt, error);
        };
        files.send_all(&work, compares, observer, &noted, stop)?;
        if compares && broke_off.load(Ordering::Relaxed) {
            // The file an attempt was at has left a temporary name.
            for tree in trees {
                self.delete(tree, retried, stop)?;
            }
        }
        Ok(())
    }

    fn delete(&self, tree: &PushTree, retried: Retried<'_>, stop: &AtomicBool) -> Result<(), RsyncError> {
        let what = format!("removing what is not in {}", tree.label);
        self.send(&|| self.deletion(tree), &what, &Silent, retried, stop)
    }

    fn send_all(
        &self,
        work: &[Work<'_>],
        anew: bool,
        observer: &dyn CopyObserver,
        retried: Retried<'_>,
        stop: &AtomicBool,
    ) -> Result<(), RsyncError> {
        let next = AtomicUsize::new(0);
        let failure: Mutex<Option<RsyncError>> = Mutex::new(None);
        let lock = || failure.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = Pace::new(self.batch_size, self.batch_period);
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.clamp(1, work.len().max(1)) {
                scope.spawn(|| {
                    while let Some(Work { tree, bucket }) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if lock().is_some() {
                            return;
                        }
                        pace.wait(stop);
                        let command = || self.push_list(tree, &bucket.list, bucket.checksum, anew);
                        let what = format!("copying {}", tree.label);
                        if let Err(error) = self.send(&command, &what, observer, retried, stop) {
                            lock().get_or_insert(error);
                        }
                    }
                });
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Runs a command to its end, as often as it takes.
    fn send(
        &self,
        command: &dyn Fn() -> Command,
        what: &str,
        observer: &dyn CopyObserver,
        retried: Retried<'_>,
        stop: &AtomicBool,
    ) -> Result<(), RsyncError> {
        self.with_retries(stop, &mut |attempt, error| retried(attempt, error), || {
            let ended = run(command(), stop, &mut |line| {
                observer.bytes(sent(line).unwrap_or(0));
                Ok(())
            })?;
            ended.complete(what)
        })
    }

    /// Sends the files of a list; its directories are made, and what is in them is not sent. With `anew` no file is written
    /// that is there already.
    fn push_list(&self, tree: &PushTree, list: &Path, checksum: bool, anew: bool) -> Command {
        let mut command = self.base();
        command.args(["-lptOs", "--from0", "--out-format=%i %l"]);
        if !anew {
            command.arg("--inplace");
        }
        if checksum {
            command.arg("--checksum");
        }
        if let Some(limit) = tree.limit {
            command.arg(format!("--bwlimit={limit}"));
        }
        let mut from = std::ffi::OsString::from("--files-from=");
        from.push(list);
        command.arg(from).args(self.ends(tree));
        command
    }

    /// Deletes what the tree does not have. Nothing is sent.
    fn deletion(&self, tree: &PushTree) -> Command {
        let mut command = self.base();
        command.args(["-rls", "--delete", "--delete-excluded", "--force", "--existing", "--ignore-existing"]);
        command.args(tree.keep.iter().map(|pattern| format!("--filter=P {pattern}")));
        if let Some(pattern) = &tree.deletable {
            command.arg(format!("--filter=R {pattern}")).arg("--filter=P /**");
        }
        command.args(tree.excludes.iter().map(|pattern| format!("--exclude={pattern}")));
        command.args(self.ends(tree));
        command
    }

    /// Both with a slash at their end: it is the content that goes from one to the other.
    fn ends(&self, tree: &PushTree) -> [std::ffi::OsString; 2] {
        let mut source = tree.source.clone().into_os_string();
        source.push("/");
        let mut target = std::ffi::OsString::from(if self.ssh_command.is_some() { ":" } else { "" });
        target.push(&tree.target);
        target.push("/");
        [source, target]
    }
}

/// The size of a file in a line such as `<f+++++++++ 8192`.
fn sent(line: &[u8]) -> Option<u64> {
    let (kind, size) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    kind.starts_with("<f").then(|| size.trim().replace(',', "").parse().ok()).flatten()
}

fn write_list<'p>(list: &Path, names: impl Iterator<Item = &'p Path>) -> Result<(), RsyncError> {
    let file = std::fs::File::create_new(list).map_err(at("create", list))?;
    let mut writer = BufWriter::new(file);
    for name in names.filter(|name| !name.as_os_str().is_empty()) {
        let written = writer.write_all(name.as_os_str().as_bytes()).and_then(|()| writer.write_all(&[0]));
        written.map_err(at("write", list))?;
    }
    Ok(writer.flush().map_err(at("write", list))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_commands() {
        let rsync = Rsync { ssh_command: Some("ssh db".to_owned()), ..Rsync::default() };
        let mut tree = PushTree::new("pgdata", "/b/data", "/srv/it's new");
        tree.limit = Some(7);
        let words = |command: Command| -> Vec<String> {
            command.get_args().map(|word| word.to_str().unwrap().to_owned()).collect()
        };
        let list = words(rsync.push_list(&tree, Path::new("/l"), true, false));
        assert_eq!(list[2..6], ["-lptOs", "--from0", "--out-format=%i %l", "--inplace"]);
        assert_eq!(
            list[6..],
            ["--checksum", "--bwlimit=7", "--files-from=/l", "/b/data/", ":/srv/it's new/"]
        );
        tree.excludes = vec!["/pg_wal/*".to_owned()];
        let words = words(rsync.deletion(&tree));
        assert!(words.contains(&"--exclude=/pg_wal/*".to_owned()) && words.contains(&"--delete".to_owned()));
    }

    #[test]
    fn files_are_counted_when_they_are_sent() {
        assert_eq!(sent(b"<f+++++++++ 8192"), Some(8192));
        assert_eq!(sent(b"<f.st...... 8,192"), Some(8192));
        assert_eq!(sent(b"cd+++++++++ 4096"), None);
        assert_eq!(sent(b"\xff"), None);
    }

    #[test]
    fn a_tree_arrives_as_it_is() {
        if !Path::new("/usr/bin/rsync").exists() {
            return;
        }
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to here"));
        std::fs::create_dir_all(from.join("base/5")).unwrap();
        std::fs::create_dir_all(from.join("pg_wal/archive_status")).unwrap();
        std::fs::create_dir_all(from.join("empty")).unwrap();
        let put = |root: &Path, name: &str, text: &str| {
            Write::write_all(&mut std::fs::File::create(root.join(name)).unwrap(), text.as_bytes()).unwrap();
        };
        for (name, text) in
            [("base/5/1", "one"), ("base/5/2", "two"), ("a b\n'c", "three"), ("pg_wal/x", "no")]
        {
            put(&from, name, text);
        }
        std::fs::set_permissions(from.join("base/5/1"), std::fs::Permissions::from_mode(0o640)).unwrap();
        symlink("nowhere", from.join("link")).unwrap();
        std::fs::create_dir(&to).unwrap();
        let mut tree = PushTree::new("pgdata", &from, &to);
        tree.excludes = vec!["/pg_wal/*".to_owned()];
        let rsync = Rsync { jobs: 2, ..Rsync::default() };
        let push = |existing| {
            let options = PushOptions { existing, ..PushOptions::default() };
            rsync.push(&[tree.clone()], &options, &Silent, &|_, _| {}, &AtomicBool::new(false)).unwrap();
        };
        push(Existing::None);
        let text = |name: &str| std::fs::read_to_string(to.join(name)).unwrap();
        assert_eq!((text("base/5/1"), text("a b\n'c")), ("one".to_owned(), "three".to_owned()));
        assert_eq!(to.join("base/5/1").metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(to.join("empty").is_dir() && to.join("pg_wal").is_dir() && !to.join("pg_wal/x").exists());
        assert_eq!(std::fs::read_link(to.join("link")).unwrap(), Path::new("nowhere"));
        // What is there already is compared by content, and what does not belong there goes.
        let before = to.join("base/5/2").metadata().unwrap().modified().unwrap();
        put(&to, "base/5/1", "ONE");
        std::fs::File::open(to.join("base/5/1"))
            .unwrap()
            .set_modified(from.join("base/5/1").metadata().unwrap().modified().unwrap())
            .unwrap();
        put(&to, "pg_wal/old", "old");
        put(&to, "stray", "stray");
        std::fs::hard_link(to.join("base/5/1"), dir.path().join("safe")).unwrap();
        push(Existing::Compare);
        assert_eq!(text("base/5/1"), "one");
        assert_eq!(std::fs::read_to_string(dir.path().join("safe")).unwrap(), "ONE");
        assert!(!to.join("stray").exists() && !to.join("pg_wal/old").exists());
        assert_eq!(to.join("base/5/2").metadata().unwrap().modified().unwrap(), before);
    }

    #[test]
    fn only_what_may_be_deleted_is() {
        if !Path::new("/usr/bin/rsync").exists() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        for path in ["from/PG_15_1/5", "to/PG_15_1/6", "to/PG_15_0", "to/PG_14_1/5", "to/own/PG_15_1"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
            Write::write_all(&mut std::fs::File::create(dir.path().join(path).join("1")).unwrap(), b"x")
                .unwrap();
        }
        let mut tree = PushTree::new("space", &from, &to);
        tree.deletable = Some("/PG_15_*/***".to_owned());
        let options = PushOptions { existing: Existing::Compare, ..PushOptions::default() };
        Rsync::default().push(&[tree], &options, &Silent, &|_, _| {}, &AtomicBool::new(false)).unwrap();
        let there = |name: &str| to.join(name).exists();
        assert!(there("PG_15_1/5/1") && there("PG_14_1/5/1") && there("own/PG_15_1/1"));
        assert!(!there("PG_15_1/6") && !there("PG_15_0"));
    }
}
