//! List, link, deal out, transfer, verify, sync.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::buckets::{Bucket, Buckets};
use super::command::{Rsync, RsyncTree};
use super::list::{Listed, parse};
use super::pace::Pace;
use super::process::{MAX_LINE, RsyncError, run};
use super::shared::{Scratch, unlink_shared};
use crate::live::{LiveReport, Reuse, Rules, Span, TreeTimes};
use crate::observer::CopyObserver;
use crate::sync::{self, FileSystem, at};

/// What may be told while it goes on, from whatever thread: the attempt, counted from zero, and why it failed.
pub(super) type Retried<'a> = &'a (dyn Fn(u32, &RsyncError) + Sync);

/// A process to run.
struct Work {
    tree: usize,
    bucket: Bucket,
}

impl Rsync {
    /// Copies the trees, without `global/pg_control`, and verifies the pages if `rules` say how. When this returns, all of it
    /// is on disk. `retried` is told of attempts that failed and are made again.
    ///
    /// # Errors
    /// The first failure of a process or a file. Files that vanish are none.
    pub fn copy(
        &self,
        trees: &[RsyncTree],
        rules: Option<crate::pages::PageRules>,
        observer: &dyn CopyObserver,
        retried: &(dyn Fn(u32, &RsyncError) + Sync),
        stop: &AtomicBool,
    ) -> Result<LiveReport, RsyncError> {
        let lists = tempfile::tempdir().map_err(at("create a directory in", &std::env::temp_dir()))?;
        let mut report = LiveReport::default();
        let mut file_systems = Vec::new();
        let mut scratch = Vec::new();
        let mut work = Vec::new();
        let begin = Instant::now();
        for (index, tree) in trees.iter().enumerate() {
            sync::create_dir_all(&tree.target, 0o700)?;
            // Held open from before the first write, so that no error is missed.
            file_systems.push(FileSystem::open(&tree.target)?);
            let prefix = index.to_string();
            scratch.push(self.links(tree).then(|| Scratch::make(&tree.target)).transpose()?);
            let buckets =
                self.list_tree(tree, (lists.path(), &prefix), &mut report, observer, retried, stop)?;
            work.extend(buckets.into_iter().map(|bucket| Work { tree: index, bucket }));
        }
        report.walk = begin.elapsed();
        // The heaviest first, so that no process is left with it at the end.
        work.sort_by_key(|work| std::cmp::Reverse(work.bucket.bytes));
        report.trees = self.transfer(trees, &scratch, &work, observer, retried, stop)?;
        scratch.into_iter().flatten().try_for_each(Scratch::remove)?;
        if let Some(rules) = rules {
            report.pages = Some(self.verify(trees, rules, lists.path(), retried, stop)?);
        }
        file_systems.iter().try_for_each(FileSystem::sync)?;
        Ok(report)
    }

    /// Makes the directories, links what is known, and deals out the rest.
    fn list_tree(
        &self,
        tree: &RsyncTree,
        (lists, prefix): (&Path, &str),
        report: &mut LiveReport,
        observer: &dyn CopyObserver,
        retried: Retried<'_>,
        stop: &AtomicBool,
    ) -> Result<Vec<Bucket>, RsyncError> {
        let what = format!("listing {}", tree.label);
        let whole = lists.join(format!("{prefix}-all"));
        // The whole list first: an attempt that fails must not leave half of it done.
        self.with_retries(stop, &mut |attempt, error| retried(attempt, error), || {
            let file = std::fs::File::create(&whole).map_err(at("create", &whole))?;
            let mut writer = std::io::BufWriter::new(file);
            let mut write = |line: &[u8]| {
                use std::io::Write as _;
                if line.len() >= MAX_LINE {
                    return Err(bad_line(&what, line));
                }
                let written = writer.write_all(line).and_then(|()| writer.write_all(b"\n"));
                Ok(written.map_err(at("write", &whole))?)
            };
            let ended = run(self.list(tree), stop, &mut write)?;
            std::io::Write::flush(&mut writer).map_err(at("write", &whole))?;
            if ended.has_no_root() {
                // An empty list says so below.
                std::fs::File::create(&whole).map_err(at("create", &whole))?;
            } else {
                ended.check_as(self.strict, &what)?;
            }
            Ok(())
        })?;
        let mut safe = Buckets::new(lists, prefix, self.jobs, false);
        let mut check = Buckets::new(lists, prefix, self.jobs, true);
        let (mut root, mut version) = (false, false);
        let reader = std::io::BufReader::new(std::fs::File::open(&whole).map_err(at("read", &whole))?);
        for line in std::io::BufRead::split(reader, b'\n') {
            let line = line.map_err(at("read", &whole))?;
            let listed = parse(&line).ok_or_else(|| bad_line(&what, &line))?;
            root |= listed.path.as_os_str().is_empty();
            if left_out(tree, &listed) {
                continue;
            }
            // The rules leave nothing else of a tablespace's root.
            version |= listed.kind == b'd' && listed.path.components().count() == 1;
            match listed.kind {
                b'd' => make_directory(&tree.target.join(&listed.path), listed.mode)?,
                b'-' => {
                    report.files += 1;
                    report.bytes = report.bytes.saturating_add(listed.size);
                    match self.known(tree, &listed) {
                        Known::Linked => {
                            report.reused += 1;
                            report.reused_bytes = report.reused_bytes.saturating_add(listed.size);
                            observer.bytes(listed.size);
                        }
                        Known::Perhaps => check.add(&listed.path, listed.size)?,
                        Known::No if self.in_doubt && tree.target.join(&listed.path).exists() => {
                            check.add(&listed.path, listed.size)?;
                        }
                        Known::No => safe.add(&listed.path, listed.size)?,
                    }
                }
                _ if report.skipped.len() < 100 => report.skipped.push(listed.path),
                _ => {}
            }
        }
        match tree.rules {
            Rules::Data { .. } | Rules::Stored { .. } if !root => {
                return Err(RsyncError::Missing { path: tree.source.clone() });
            }
            // Dropped meanwhile, or not visible to rsync.
            Rules::Tablespace { .. } if !version => {
                report.vanished += u64::from(!root);
                report.absent.push(tree.label.clone());
            }
            _ => {}
        }
        let mut buckets = safe.finish()?;
        buckets.append(&mut check.finish()?);
        Ok(buckets)
    }

    /// What the previous backup has of a file, judged as rsync would: by size, time in seconds, and mode.
    fn known(&self, tree: &RsyncTree, listed: &Listed) -> Known {
        let Some(reference) = tree.reference.as_ref().filter(|_| self.reuse != Reuse::Off) else {
            return Known::No;
        };
        let there = reference.root.join(&listed.path);
        let same = |other: &Metadata| {
            other.is_file()
                && other.len() == listed.size
                && other.mtime() == listed.mtime
                && other.mode() & 0o7777 == listed.mode
        };
        if !std::fs::symlink_metadata(&there).is_ok_and(|other| same(&other)) {
            return Known::No;
        }
        if !reference.is_old(listed.mtime) {
            return Known::Perhaps;
        }
        // Whatever keeps it from being linked, rsync can copy it.
        let linked =
            self.reuse == Reuse::Link && std::fs::hard_link(&there, tree.target.join(&listed.path)).is_ok();
        if linked { Known::Linked } else { Known::No }
    }

    fn transfer(
        &self,
        trees: &[RsyncTree],
        scratch: &[Option<Scratch>],
        work: &[Work],
        observer: &dyn CopyObserver,
        retried: Retried<'_>,
        stop: &AtomicBool,
    ) -> Result<Vec<TreeTimes>, RsyncError> {
        let next = AtomicUsize::new(0);
        let halt = AtomicBool::new(false);
        let failure: Mutex<Option<RsyncError>> = Mutex::new(None);
        let times = Mutex::new(vec![Span::default(); trees.len()]);
        let pace = Pace::new(self.batch_size, self.batch_period);
        let one = |work: &Work, tree: &RsyncTree| {
            pace.wait(stop);
            let begin = Instant::now();
            let what = format!("copying {}", tree.label);
            let scratch = scratch.get(work.tree).and_then(Option::as_ref).map(Scratch::path);
            let Bucket { list, checksum, .. } = &work.bucket;
            self.with_retries(stop, &mut |attempt, error| retried(attempt, error), || {
                if scratch.is_some() || self.strict {
                    unlink_shared(&tree.target, list)?;
                }
                run(self.copy_list(tree, list, *checksum, scratch), stop, &mut |_| Ok(()))?
                    .check_as(self.strict, &what)
            })?;
            observer.bytes(work.bucket.bytes);
            let end = Instant::now();
            let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(span) = times.get_mut(work.tree) {
                span.note(begin, end);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.clamp(1, work.len().max(1)) {
                scope.spawn(|| {
                    while let Some(work) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let Some(tree) = trees.get(work.tree) else { return };
                        if halt.load(Ordering::Relaxed) {
                            return;
                        }
                        if let Err(error) = one(work, tree) {
                            halt.store(true, Ordering::Relaxed);
                            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        }
                    }
                });
            }
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let times = times.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(trees.iter().zip(times).map(|(tree, span)| span.of(&tree.label)).collect())
    }
}

enum Known {
    /// It is linked already.
    Linked,
    /// The same as far as its time tells, which is not far enough.
    Perhaps,
    /// To be transferred.
    No,
}

fn bad_line(what: &str, line: &[u8]) -> RsyncError {
    let line = String::from_utf8_lossy(line).chars().take(200).collect();
    RsyncError::List { what: what.trim_start_matches("listing ").to_owned(), line }
}

/// What the exclusions of the list did not cover.
fn left_out(tree: &RsyncTree, listed: &Listed) -> bool {
    let path = &listed.path;
    if path.as_os_str().is_empty() {
        return false;
    }
    let of_link = matches!(tree.rules, Rules::Data { .. })
        && path.strip_prefix("pg_tblspc").is_ok_and(|below| {
            let oid = below.components().next().and_then(|part| part.as_os_str().to_str());
            oid.is_some_and(|oid| !oid.parse().is_ok_and(|oid| tree.in_place.contains(&oid)))
        });
    // Nothing is left out but what is below something left out.
    of_link
        || path
            .ancestors()
            .filter(|above| !above.as_os_str().is_empty())
            .any(|above| tree.rules.leaves_out(above))
}

fn make_directory(path: &Path, mode: u32) -> Result<(), RsyncError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(_) if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) => Ok(()),
        result => result.map_err(at("create", path)),
    }?;
    // rsync needs to write into it, and sets the rest.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | 0o700))
        .map_err(at("chmod", path))?;
    Ok(())
}
