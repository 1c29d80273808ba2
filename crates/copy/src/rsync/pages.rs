//! Pages of what was transferred.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::command::{Rsync, RsyncTree, silent};
use super::copy::Retried;
use super::process::RsyncError;
use crate::pages::{FilePages, PageReport, PageRules};
use crate::sync::at;
use crate::tree::TreeError;

/// How often files with pages that look torn are fetched again.
const AGAIN: u32 = 2;
/// Files that are fetched again; with more, something else is wrong than a page caught half written.
const MAX_AGAIN: usize = 1000;

/// Files with pages that look torn.
#[derive(Default)]
struct Suspects {
    /// One more than are fetched again, at most.
    paths: BTreeSet<PathBuf>,
    /// What is to be said of all of them, if they stay as they are.
    report: PageReport,
}

impl Suspects {
    fn sort(&mut self, good: &mut PageReport, path: &Path, report: PageReport) {
        if report.bad == 0 {
            return good.merge(report);
        }
        self.report.merge(report);
        if self.paths.len() <= MAX_AGAIN {
            self.paths.insert(path.to_path_buf());
        }
    }
}

impl Rsync {
    /// Reads every file of a relation that is not shared with the previous backup. A page that looks torn is fetched again.
    pub(super) fn verify(
        &self,
        trees: &[RsyncTree],
        rules: PageRules,
        lists: &Path,
        retried: Retried<'_>,
        stop: &AtomicBool,
    ) -> Result<PageReport, RsyncError> {
        let mut all = PageReport::default();
        for (index, tree) in trees.iter().enumerate() {
            let (good, mut suspects) = self.verify_tree(tree, rules, stop)?;
            all.merge(good);
            for attempt in 0..AGAIN {
                if suspects.paths.is_empty() || suspects.paths.len() > MAX_AGAIN {
                    break;
                }
                let list = lists.join(format!("{index}-again-{attempt}"));
                let mut file = File::create(&list).map_err(at("create", &list))?;
                for path in &suspects.paths {
                    let written =
                        file.write_all(path.as_os_str().as_bytes()).and_then(|()| file.write_all(&[0]));
                    written.map_err(at("write", &list))?;
                }
                let what = format!("copying {} again", tree.label);
                self.with_retries(stop, &mut |attempt, error| retried(attempt, error), || {
                    silent(self.copy_again(tree, &list), stop, &what)
                })?;
                let mut still = Suspects::default();
                for path in &suspects.paths {
                    still.sort(&mut all, path, verify_file(tree, path, rules, stop)?);
                }
                suspects = still;
            }
            all.merge(suspects.report);
        }
        Ok(all)
    }

    fn verify_tree(
        &self,
        tree: &RsyncTree,
        rules: PageRules,
        stop: &AtomicBool,
    ) -> Result<(PageReport, Suspects), RsyncError> {
        let mut good = PageReport::default();
        let mut suspects = Suspects::default();
        let mut pending = vec![PathBuf::new()];
        while let Some(directory) = pending.pop() {
            // A directory at a time: as many names as a database has files.
            let place = tree.target.join(&directory);
            let mut files = Vec::new();
            for entry in std::fs::read_dir(&place).map_err(at("read", &place))? {
                let entry = entry.map_err(at("read", &place))?;
                let metadata = entry.metadata().map_err(at("read", &entry.path()))?;
                let path = directory.join(entry.file_name());
                if metadata.is_dir() {
                    pending.push(path);
                } else if metadata.nlink() == 1 && tree.rules.segment(&path).is_some() {
                    files.push(path);
                }
            }
            verify_files(tree, &files, self.jobs, stop, rules, (&mut good, &mut suspects))?;
        }
        Ok((good, suspects))
    }
}

/// Verifies files of one tree and sorts them into good and suspect ones.
fn verify_files(
    tree: &RsyncTree,
    files: &[PathBuf],
    threads: usize,
    stop: &AtomicBool,
    rules: PageRules,
    (good, suspects): (&mut PageReport, &mut Suspects),
) -> Result<(), RsyncError> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new((Ok(()), good, suspects));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, files.len().max(1)) {
            scope.spawn(|| {
                while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = verify_file(tree, path, rules, stop);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    let (result, good, suspects) = &mut *found;
                    match report {
                        _ if result.is_err() => return,
                        Ok(report) => suspects.sort(good, path, report),
                        Err(error) => *result = Err(error),
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner).0
}

fn verify_file(
    tree: &RsyncTree,
    path: &Path,
    rules: PageRules,
    stop: &AtomicBool,
) -> Result<PageReport, RsyncError> {
    let mut report = PageReport::default();
    let Some(segment) = tree.rules.segment(path) else { return Ok(report) };
    let place = tree.target.join(path);
    let mut file = match File::open(&place) {
        // It vanished when it was fetched again.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(report),
        result => result.map_err(at("open", &place))?,
    };
    let mut pages = FilePages::new(rules, segment);
    let mut buffer = vec![0; 256 * 1024];
    let mut at_byte = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(TreeError::Stopped.into());
        }
        let count = match file.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            result => result.map_err(at("read", &place))?,
        };
        if count == 0 {
            break;
        }
        let piece = buffer.get(..count).unwrap_or_default();
        pages.feed(at_byte, piece, |suspect| report.add(path, &suspect));
        at_byte += count as u64;
    }
    report.count(&pages.finish());
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_are_all_counted_and_few_of_them_named() {
        let (mut good, mut suspects) = (PageReport::default(), Suspects::default());
        for n in 0..2 * MAX_AGAIN {
            let report = PageReport { good: 1, bad: u64::from(n % 4 != 0), pages: Vec::new() };
            suspects.sort(&mut good, Path::new(&n.to_string()), report);
        }
        assert_eq!((good.good, good.bad), (500, 0));
        assert_eq!((suspects.report.good, suspects.report.bad), (1500, 1500));
        assert_eq!(suspects.paths.len(), MAX_AGAIN + 1);
    }
}
