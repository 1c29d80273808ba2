//! Backups that are kept as archives: `data/base.tar`, `data/<oid>.tar`, compressed or not, and `data/backup_manifest`.
//!
//! They go straight to where they are restored to, several side by side, each decompressed by one thread and written by another.
//! Every file is compared with the manifest that lies beside the archives, so that a damaged archive is found before a server
//! starts on it.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tapster_catalog::BackupRecord;
use tapster_copy::extract::{ControlFile, Outlet, TablespaceTarget};
use tapster_copy::live::Limiter;
use tapster_copy::manifest::ManifestFile;
use tapster_copy::{ChecksumAlgorithm, ExtractError, ExtractOptions, ManifestReader, TarExtractor, Unpacker};
use walfile::codec::{Compression, decoder};

use super::archived_wal::file_names;
use super::destination::io_at;
use super::elsewhere::MOST_STREAMS;
use super::pace::limiter;
use super::{RestoreError, RestorePlan, RestorePlanError};
use crate::event::Progress;
use crate::{Context, Server};

/// Of the old server, and of no use to a new one.
const LEFT_OUT: [&str; 6] = [
    "tablespace_map",
    "recovery.conf",
    "recovery.signal",
    "standby.signal",
    "postmaster.pid",
    ".tapster-restore",
];
const PIECE: usize = 256 * 1024;

/// One archive of a backup.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Archive {
    /// The tablespace; `None` for the data directory.
    oid: Option<u32>,
    path: PathBuf,
    compression: Compression,
    encrypted: bool,
}

impl Archive {
    /// Bytes of the archive.
    fn bytes(&self) -> u64 {
        self.path.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Bytes of the archive of a tablespace.
    pub(super) fn stored_bytes(&self, oid: u32) -> Option<u64> {
        (self.oid == Some(oid)).then(|| self.bytes())
    }
}

/// By its name: `base.tar.gz`, `16384.tar`.
fn archive(dir: &Path, name: &str) -> Option<Archive> {
    let (plain, encrypted) = match name.strip_suffix(".gpg") {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let (stem, rest) = plain.split_once(".tar")?;
    let compression = match rest {
        "" => Compression::None,
        ".gz" => Compression::Gzip,
        ".lz4" => Compression::Lz4,
        ".zst" => Compression::Zstd,
        _ => return None,
    };
    let oid = match stem {
        "base" => None,
        text => Some(text.parse().ok()?),
    };
    Some(Archive { oid, path: dir.join(name), compression, encrypted })
}

/// The archives in `data`, that of the data directory last, as the server sends them. The error says what is wrong.
pub(super) fn find(
    data: &Path,
    record: &BackupRecord,
) -> Result<Result<Vec<Archive>, String>, RestorePlanError> {
    let mut found: Vec<Archive> = file_names(data)?.iter().filter_map(|name| archive(data, name)).collect();
    found.sort_by_key(|archive| (archive.oid.is_none(), archive.oid));
    if found.last().is_none_or(|last| last.oid.is_some()) {
        return Ok(Err(format!("{} is incomplete: base.tar is missing", data.display())));
    }
    let same = |pair: &[Archive]| matches!(pair, [a, b] if a.oid == b.oid);
    if found.windows(2).any(same) {
        return Ok(Err(format!("{} holds an archive twice", data.display())));
    }
    for tablespace in &record.tablespaces {
        if !found.iter().any(|archive| archive.oid == Some(tablespace.oid)) {
            return Ok(Err(format!("the archive of tablespace {} is missing", tablespace.oid)));
        }
    }
    let unknown = |archive: &&Archive| {
        archive.oid.is_some_and(|oid| !record.tablespaces.iter().any(|tablespace| tablespace.oid == oid))
    };
    if let Some(archive) = found.iter().find(unknown) {
        let oid = archive.oid.unwrap_or_default();
        return Ok(Err(format!("tablespace {oid} is in the backup but not in its record")));
    }
    Ok(Ok(found))
}

/// Whether a backup is kept as archives.
pub(super) const fn is_archived(record: &BackupRecord) -> bool {
    record.compression.is_some()
}

impl Server {
    /// Whether a backup is kept as archives, here or in an object store.
    pub(super) const fn holds_archives(&self, record: &BackupRecord) -> bool {
        self.has_backups_in_bucket() || is_archived(record)
    }

    /// Everything but the control file, compared with the manifest and on disk.
    pub(super) fn unpack_base(
        &self,
        plan: &RestorePlan,
        context: &Context<'_>,
    ) -> Result<ControlFile, RestoreError> {
        let mut options = ExtractOptions::default();
        options.sync = plan.options.sync;
        options.tablespaces = targets(plan);
        options.over = plan.delta.is_some();
        let control = self.unpack(&plan.record, &plan.destination, options, None, plan, context)?;
        // A directory that was there has any mode; PostgreSQL starts with two. The files say which it was.
        let mode = if control.mode & 0o040 == 0 { 0o700 } else { 0o750 };
        for dir in plan.tablespaces.iter().map(|place| &place.location).chain([&plan.destination]) {
            std::fs::set_permissions(dir, Permissions::from_mode(mode)).map_err(io_at(dir))?;
        }
        Ok(control)
    }

    /// The archives of a backup into a directory, which lies behind the outlet if there is one, compared with the manifest.
    pub(super) fn unpack(
        &self,
        record: &BackupRecord,
        destination: &Path,
        mut options: ExtractOptions,
        outlet: Option<Box<dyn Outlet>>,
        plan: &RestorePlan,
        context: &Context<'_>,
    ) -> Result<ControlFile, RestoreError> {
        let data = self.layout().data_dir(&record.id);
        let archives = find(&data, record)
            .map_err(|error| RestoreError::Archives { problem: error.to_string() })?
            .map_err(|problem| RestoreError::Archives { problem })?;
        let manifest = data.join("backup_manifest");
        options.checksum = checksum(&manifest)?;
        options.skip = LEFT_OUT.iter().map(|name| (*name).to_owned()).collect();
        let (is_compared, is_over) = (options.checksum.is_some(), options.over);
        let is_elsewhere = outlet.is_some();
        let mut extractor = match outlet {
            None => TarExtractor::create(destination, options)?,
            Some(outlet) => TarExtractor::relay(destination, options, outlet)?,
        };
        // What cannot go on its own goes with the data directory.
        let (mut together, mut parts) = (Vec::new(), Vec::new());
        for archive in archives {
            match archive.oid.map(|oid| extractor.beside(oid)).transpose()?.flatten() {
                Some(part) => parts.push((vec![archive], part)),
                None => together.push(archive),
            }
        }
        let most = if is_elsewhere { MOST_STREAMS } else { usize::MAX };
        let jobs = plan.options.jobs.unwrap_or(self.config.parallel_jobs as usize).max(2).min(most);
        // The heaviest first, so that no thread is left with it at the end.
        parts.push((together, extractor));
        parts
            .sort_by_key(|(archives, _)| std::cmp::Reverse(archives.iter().map(Archive::bytes).sum::<u64>()));
        let unpacking = Unpacking {
            server: self,
            plan,
            context,
            bytes: AtomicU64::new(0),
            limiter: limiter(self, plan, None),
            failed: AtomicBool::new(false),
        };
        let mut extractor = unpacking.all(parts, jobs)?;
        if is_compared {
            extractor.start_manifest()?;
            let file = File::open(&manifest).map_err(io_at(&manifest))?;
            unpacking.feed(file, &manifest, None, |bytes| extractor.feed(bytes))?;
        }
        let (report, control) = extractor.finish_without_control()?;
        if is_over {
            plan.tell_kept(report.kept, report.kept_bytes, context);
        }
        Ok(control)
    }
}

/// Archives on their way.
struct Unpacking<'a, 'c> {
    server: &'a Server,
    plan: &'a RestorePlan,
    context: &'a Context<'c>,
    bytes: AtomicU64,
    limiter: Option<Limiter>,
    /// One has, and the others need not go on.
    failed: AtomicBool,
}

/// Archives that go one after the other, and what takes them.
type Part = (Vec<Archive>, TarExtractor);

impl Unpacking<'_, '_> {
    /// All parts, so many at a time. The one with the data directory has taken the others back.
    fn all(&self, parts: Vec<Part>, jobs: usize) -> Result<TarExtractor, RestoreError> {
        let count = parts.len();
        let (queue, done) = (Mutex::new(parts.into_iter()), Mutex::new(Ok(Vec::with_capacity(count))));
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        std::thread::scope(|scope| {
            for _ in 0..jobs.min(count) {
                scope.spawn(|| {
                    while let Some((archives, extractor)) = next() {
                        if self.failed.load(Ordering::Relaxed) {
                            return;
                        }
                        let is_main = archives.last().is_none_or(|last| last.oid.is_none());
                        let result = self.part(&archives, extractor);
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        match (result, &mut *done) {
                            (Ok(extractor), Ok(done)) => done.push((is_main, extractor)),
                            // The first failure is the reason of the others.
                            (Err(error), Ok(_)) => {
                                self.failed.store(true, Ordering::Relaxed);
                                *done = Err(error);
                            }
                            (_, Err(_)) => {}
                        }
                    }
                });
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        let main = done.iter().position(|(is_main, _)| *is_main);
        let lost = || RestoreError::Archives { problem: "a thread that unpacks has ended early".to_owned() };
        let (_, mut extractor) = main.map(|at| done.swap_remove(at)).ok_or_else(lost)?;
        if done.len() + 1 != count {
            return Err(lost());
        }
        done.into_iter().try_for_each(|(_, part)| extractor.join(part))?;
        Ok(extractor)
    }

    fn part(&self, archives: &[Archive], extractor: TarExtractor) -> Result<TarExtractor, RestoreError> {
        let mut unpacker = Unpacker::start(extractor);
        for archive in archives {
            unpacker.start_archive(archive.oid, Compression::None)?;
            let file = File::open(&archive.path).map_err(io_at(&archive.path))?;
            let stored: Box<dyn Read + Send> = if archive.encrypted {
                let gpg = self.server.gpg.clone().with_stop(self.context.stop.clone());
                Box::new(gpg.decrypt(&file).map_err(io_at(&archive.path))?)
            } else {
                Box::new(file)
            };
            let reader = decoder(BufReader::with_capacity(PIECE, stored), archive.compression)
                .map_err(|error| io_at(&archive.path)(error.into()))?;
            self.feed(reader, &archive.path, self.limiter.as_ref(), |bytes| unpacker.feed(bytes))?;
        }
        Ok(unpacker.into_extractor()?)
    }

    fn feed(
        &self,
        mut reader: impl Read,
        path: &Path,
        limiter: Option<&Limiter>,
        mut take: impl FnMut(&[u8]) -> Result<(), ExtractError>,
    ) -> Result<(), RestoreError> {
        let (context, mut buffer) = (self.context, vec![0; PIECE]);
        loop {
            if context.stopped() || self.failed.load(Ordering::Relaxed) {
                return Err(RestoreError::Stopped { destination: self.plan.destination.clone() });
            }
            let count = match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(io_at(path)(source)),
            };
            take(buffer.get(..count).unwrap_or_default())?;
            let done = self.bytes.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
            context.observer.progress(Progress { done, total: self.plan.record.cluster_size });
            if let Some(limiter) = limiter {
                limiter.take(count as u64, &context.stop);
            }
        }
    }
}

pub(super) fn targets(plan: &RestorePlan) -> BTreeMap<u32, TablespaceTarget> {
    let place = |oid| plan.tablespaces.iter().find(|place| place.oid == oid);
    plan.record
        .tablespaces
        .iter()
        .map(|tablespace| {
            let target = place(tablespace.oid).map_or(TablespaceTarget::InPlace, |place| {
                TablespaceTarget::Directory(place.location.clone())
            });
            (tablespace.oid, target)
        })
        .collect()
}

/// What the manifest's checksums are; `None` without a manifest, as `pg_basebackup` leaves a backup of PostgreSQL 12.
fn checksum(manifest: &Path) -> Result<Option<ChecksumAlgorithm>, RestoreError> {
    let file = match File::open(manifest) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(io_at(manifest))?,
    };
    let problem = |error: &dyn std::fmt::Display| RestoreError::Archives {
        problem: format!("{}: {error}", manifest.display()),
    };
    let mut reader = ManifestReader::new(file).map_err(|error| problem(&error))?;
    let mut listed = ManifestFile::default();
    while reader.next_file(&mut listed).map_err(|error| problem(&error))? {
        if listed.algorithm != ChecksumAlgorithm::None {
            return Ok(Some(listed.algorithm));
        }
    }
    Ok(Some(ChecksumAlgorithm::None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_known_by_their_names() {
        let dir = Path::new("/b");
        let oid = |name: &str| archive(dir, name).map(|archive| (archive.oid, archive.compression));
        assert_eq!(oid("base.tar"), Some((None, Compression::None)));
        assert_eq!(oid("16384.tar.zst"), Some((Some(16384), Compression::Zstd)));
        assert_eq!(oid("base.tar.lz4"), Some((None, Compression::Lz4)));
        assert!(archive(dir, "base.tar.gz.gpg").unwrap().encrypted);
        for other in ["base.tar.gz.age", "base.tgz", "backup_manifest", "x.tar", ".tar", "base.tar.tmp"] {
            assert_eq!(oid(other), None, "{other}");
        }
    }
}
