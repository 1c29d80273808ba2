//! Backups that are kept as archives: `data/base.tar`, `data/<oid>.tar`, compressed or not, and `data/backup_manifest`.
//!
//! They go straight to where they are restored to, decompressed by one thread and written by another. Every file is compared
//! with the manifest that lies beside the archives, so that a damaged archive is found before a server starts on it.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tapster_catalog::BackupRecord;
use tapster_copy::extract::{ControlFile, Outlet, TablespaceTarget};
use tapster_copy::live::Limiter;
use tapster_copy::manifest::ManifestFile;
use tapster_copy::{ChecksumAlgorithm, ExtractOptions, ManifestReader, TarExtractor, Unpacker};
use walfile::codec::{Compression, decoder};

use super::archived_wal::file_names;
use super::destination::io_at;
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
    /// Bytes of the archive of a tablespace.
    pub(super) fn stored_bytes(&self, oid: u32) -> Option<u64> {
        (self.oid == Some(oid)).then(|| self.path.metadata().map_or(0, |metadata| metadata.len()))
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
    /// Everything but the control file, compared with the manifest and on disk.
    pub(super) fn unpack_base(
        &self,
        plan: &RestorePlan,
        context: &Context<'_>,
    ) -> Result<ControlFile, RestoreError> {
        let mut options = ExtractOptions::default();
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
        let mut unpacker = Unpacker::start(match outlet {
            None => TarExtractor::create(destination, options)?,
            Some(outlet) => TarExtractor::relay(destination, options, outlet)?,
        });
        let bytes = AtomicU64::new(0);
        let limiter = limiter(self, plan, None);
        for archive in &archives {
            unpacker.start_archive(archive.oid, Compression::None)?;
            let file = File::open(&archive.path).map_err(io_at(&archive.path))?;
            let stored: Box<dyn Read + Send> = if archive.encrypted {
                let gpg = self.gpg.clone().with_stop(context.stop.clone());
                Box::new(gpg.decrypt(&file).map_err(io_at(&archive.path))?)
            } else {
                Box::new(file)
            };
            let reader = decoder(BufReader::with_capacity(PIECE, stored), archive.compression)
                .map_err(|error| io_at(&archive.path)(error.into()))?;
            feed(&mut unpacker, reader, &archive.path, plan, (&bytes, limiter.as_ref()), context)?;
        }
        if is_compared {
            unpacker.start_manifest()?;
            let file = File::open(&manifest).map_err(io_at(&manifest))?;
            feed(&mut unpacker, file, &manifest, plan, (&bytes, None), context)?;
        }
        let (report, control) = unpacker.into_extractor()?.finish_without_control()?;
        if is_over {
            plan.tell_kept(report.kept, report.kept_bytes, context);
        }
        Ok(control)
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

fn feed(
    unpacker: &mut Unpacker,
    mut reader: impl Read,
    path: &Path,
    plan: &RestorePlan,
    (bytes, limiter): (&AtomicU64, Option<&Limiter>),
    context: &Context<'_>,
) -> Result<(), RestoreError> {
    let mut buffer = vec![0; PIECE];
    loop {
        if context.stopped() {
            return Err(RestoreError::Stopped { destination: plan.destination.clone() });
        }
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(io_at(path)(source)),
        };
        unpacker.feed(buffer.get(..count).unwrap_or_default())?;
        let done = bytes.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
        context.observer.progress(Progress { done, total: plan.record.cluster_size });
        if let Some(limiter) = limiter {
            limiter.take(count as u64, &context.stop);
        }
    }
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
