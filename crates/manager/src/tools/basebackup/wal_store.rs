//! Where streamed WAL goes: `pg_wal`, or `pg_wal.tar`.

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tapster_catalog::{SegmentDir, SegmentDirOptions};
use tapster_copy::{publish, sync};
use walfile::{Lsn, SegmentName, SegmentSize, Timeline, WalName, WalSink};

use super::error::BaseBackupToolError;
use super::wal_tar::{WalTar, WalTarOptions};

/// What there is to know before the first byte.
#[derive(Debug)]
pub(super) struct WalPlace {
    pub(super) directory: PathBuf,
    /// Modes of directories; `None` for an archive in `directory`.
    pub(super) plain_mode: Option<u32>,
    pub(super) gzip: Option<u32>,
    pub(super) sync: bool,
    pub(super) time: u64,
}

#[derive(Debug)]
pub(super) enum WalStore {
    Directory { sink: Box<SegmentDir>, path: PathBuf, file_mode: u32, sync: bool },
    Tar(Box<WalTar>),
}

impl WalStore {
    pub(super) fn create(
        place: &WalPlace,
        segment_size: SegmentSize,
        timeline: Timeline,
    ) -> Result<Self, BaseBackupToolError> {
        let Some(mode) = place.plain_mode else {
            let options = WalTarOptions {
                segment_size,
                timeline,
                gzip: place.gzip,
                time: place.time,
                sync: place.sync,
            };
            let path = place.directory.join("pg_wal.tar");
            let tar = WalTar::create(&place.directory, &options);
            return Ok(Self::Tar(Box::new(tar.map_err(BaseBackupToolError::file("create file", path))?)));
        };
        for path in [place.directory.clone(), place.directory.join("archive_status")] {
            match std::fs::DirBuilder::new().mode(mode).create(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(BaseBackupToolError::CreateDirectory { path, source: error });
                }
                _ => {}
            }
        }
        let mut options = SegmentDirOptions::with_segment_size(segment_size);
        options.sync = place.sync;
        options.file_mode = mode & 0o640;
        let file_mode = options.file_mode;
        let path = place.directory.clone();
        let failed = |error: io::Error| BaseBackupToolError::File {
            action: "open directory",
            path: path.clone(),
            source: error,
        };
        let (mut sink, _) =
            SegmentDir::open(&place.directory, options).map_err(|error| failed(error.into()))?;
        sink.begin(timeline);
        Ok(Self::Directory { sink: Box::new(sink), path, file_mode, sync: place.sync })
    }

    pub(super) fn sink(&mut self) -> &mut dyn WalSink {
        match self {
            Self::Directory { sink, .. } => sink.as_mut(),
            Self::Tar(tar) => tar.as_mut(),
        }
    }

    pub(super) fn flushed(&self) -> Lsn {
        match self {
            Self::Directory { sink, .. } => sink.flushed(),
            Self::Tar(tar) => tar.flushed(),
        }
    }

    /// The history of the timeline that receiving begins on.
    pub(super) fn history(&mut self, timeline: Timeline, raw: &[u8]) -> Result<(), BaseBackupToolError> {
        let stored = match self {
            Self::Directory { sink, .. } => sink.store_history(timeline, raw).map_err(Into::into),
            Self::Tar(tar) => tar.history(timeline, raw),
        };
        let name = format!("{}.history", timeline.to_hex());
        stored.map_err(BaseBackupToolError::file("write file", name))
    }

    /// Everything on disk under its final name, and marked as archived: a server that starts on this must not archive
    /// again what the original server archives.
    pub(super) fn finish(self) -> Result<(), BaseBackupToolError> {
        match self {
            Self::Tar(tar) => {
                let path = tar.path().to_owned();
                tar.finish().map_err(BaseBackupToolError::file("write to file", path))
            }
            Self::Directory { sink, path, file_mode, sync } => {
                let closed = sink.close().map_err(io::Error::from);
                closed.map_err(BaseBackupToolError::file("fsync directory", &path))?;
                name_segments(&path, file_mode, sync)
            }
        }
    }
}

fn name_segments(path: &Path, file_mode: u32, durable: bool) -> Result<(), BaseBackupToolError> {
    let read = |error| BaseBackupToolError::AccessDirectory { path: path.to_owned(), source: error };
    let mut partial: Vec<SegmentName> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(read)? {
        let name = entry.map_err(read)?.file_name();
        match name.to_str().map(str::parse) {
            Some(Ok(WalName::Partial(segment))) => partial.push(segment),
            // Only what is complete is done: the server archives the rest of the last segment.
            Some(Ok(name @ (WalName::Segment(_) | WalName::History(_)))) => {
                let done = path.join("archive_status").join(format!("{name}.done"));
                std::fs::File::options()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(file_mode)
                    .open(&done)
                    .map_err(BaseBackupToolError::file("create file", &done))?;
            }
            _ => {}
        }
    }
    for segment in partial {
        let from = path.join(WalName::Partial(segment).to_string());
        let to = path.join(segment.to_string());
        let renamed = if durable { publish::publish(&from, &to) } else { publish::rename(&from, &to) };
        renamed.map_err(BaseBackupToolError::synced)?;
    }
    if durable {
        sync::directory(&path.join("archive_status")).map_err(BaseBackupToolError::synced)?;
        sync::directory(path).map_err(BaseBackupToolError::synced)?;
    }
    Ok(())
}
