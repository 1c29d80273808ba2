//! What can be done for a file without touching the archive's names: checked, compared, compressed, synced.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use walfile::WalName;
use walfile::codec::Compression;

use super::{IngestError, IngestOptions, Invalid, Source, validate};
use crate::durable::{Disk, DurableError, Publish, Step};
use crate::wal_index::{Scanning, SegmentContent, SegmentScan};
use crate::xlogdb::python_mtime;
use crate::{XlogEntry, encryption, same_content, transcode, wal_index};

/// A file of the run with its place in the archive.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) source: Source,
    pub(super) name: WalName,
    pub(super) path: PathBuf,
    pub(super) target: PathBuf,
}

/// How far a file got on its own.
#[derive(Debug)]
pub(super) enum Prepared<'d> {
    /// Its bytes are durable under a temporary name (or under the source's, to be linked).
    Ready {
        how: How<'d>,
        entry: XlogEntry,
        /// What is in it, for the index of the WAL's content.
        content: Option<Box<SegmentContent>>,
    },
    /// The archive has it with the same content.
    Same,
    /// The archive has the name with other content.
    Different,
    Invalid(Invalid),
    Unsettled(Invalid),
    Unreadable(String),
    Vanished,
}

impl Prepared<'_> {
    /// Whether its bytes are still to be synced.
    pub(super) const fn needs_sync(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// Syncs its bytes.
    pub(super) fn synced(mut self) -> Result<Self, IngestError> {
        match &mut self {
            Self::Ready { how: How::Publish(publish), .. } => publish.sync()?,
            // The receiver has synced it; whoever else wrote it may not have.
            Self::Ready { how: How::Link { disk, path }, .. } => {
                disk.sync_file(path).map_err(|e| DurableError::io(Step::Sync, path, e))?;
            }
            _ => {}
        }
        Ok(self)
    }
}

#[derive(Debug)]
pub(super) enum How<'d> {
    Publish(Publish<'d>),
    Link { disk: &'d dyn Disk, path: PathBuf },
}

pub(super) fn prepare<'d>(
    disk: &'d dyn Disk,
    item: &Item,
    options: &IngestOptions,
) -> Result<Prepared<'d>, IngestError> {
    match look(item, options) {
        Ok(Looked::Done(done)) => Ok(done),
        Ok(Looked::Take { metadata, stored_as }) => take(disk, item, &metadata, stored_as, options),
        Err(e) => Ok(unreadable(item, &e)),
    }
}

/// One bad sector or one wrong permission does not hold up the files behind it.
fn unreadable<'d>(item: &Item, error: &std::io::Error) -> Prepared<'d> {
    match error.kind() {
        ErrorKind::NotFound if !item.path.exists() => Prepared::Vanished,
        _ => Prepared::Unreadable(error.to_string()),
    }
}

/// Tells a source that cannot be read from an archive that cannot be written.
struct Input {
    input: File,
    failed: bool,
}

impl std::io::Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.input.read(buffer);
        self.failed |= got.as_ref().is_err_and(|e| e.kind() != ErrorKind::Interrupted);
        got
    }
}

enum Looked<'d> {
    Done(Prepared<'d>),
    /// `stored_as`: the form the file has already and keeps.
    Take {
        metadata: Metadata,
        stored_as: StoredAs,
    },
}

#[derive(Clone, Copy)]
enum StoredAs {
    Plain,
    Compressed(Compression),
    Encrypted,
}

fn look<'d>(item: &Item, options: &IngestOptions) -> std::io::Result<Looked<'d>> {
    let mut file = File::open(&item.path)?;
    let metadata = file.metadata()?;
    let mut first = [0; 16];
    let got = same_content::read_up_to(&mut file, &mut first)?;
    let first = first.get(..got).unwrap_or_default();
    let stored_as = match (encryption::detect(first), walfile::codec::detect(first)) {
        (Some(_), _) => StoredAs::Encrypted,
        (None, Compression::None) => StoredAs::Plain,
        (None, codec) => StoredAs::Compressed(codec),
    };
    // What somebody else encrypted cannot be looked into.
    let checked = match stored_as {
        StoredAs::Encrypted => Ok(()),
        _ if !options.validate => Ok(()),
        _ => validate::check(&item.path, item.name, matches!(stored_as, StoredAs::Compressed(_)), options)?,
    };
    if let Err(reason) = &checked
        && is_unsettled(&metadata, options)
    {
        return Ok(Looked::Done(Prepared::Unsettled(reason.clone())));
    }
    if item.target.try_exists()? {
        let same = same_as_archived(&item.target, &item.path)?;
        return Ok(Looked::Done(if same { Prepared::Same } else { Prepared::Different }));
    }
    Ok(match checked {
        Ok(()) => Looked::Take { metadata, stored_as },
        Err(reason) => Looked::Done(Prepared::Invalid(reason)),
    })
}

/// Whether the archived file and a new one of its name hold the same WAL. One that cannot be decompressed is different:
/// it is never replaced, and the new one is kept as well.
pub(crate) fn same_as_archived(archived: &Path, new: &Path) -> std::io::Result<bool> {
    if same_content::files(archived, new)? {
        return Ok(true);
    }
    match same_content::segments(archived, new) {
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::InvalidData
                    | ErrorKind::InvalidInput
                    | ErrorKind::UnexpectedEof
                    | ErrorKind::Other
            ) =>
        {
            Ok(false)
        }
        done => done,
    }
}

/// The change time cannot be set from outside, unlike the modification time that `cp -p` preserves.
fn is_unsettled(metadata: &Metadata, options: &IngestOptions) -> bool {
    let age = options.now.unix_timestamp().saturating_sub(metadata.ctime());
    !options.settle.is_zero() && u64::try_from(age).map_or(true, |age| age < options.settle.as_secs())
}

fn take<'d>(
    disk: &'d dyn Disk,
    item: &Item,
    metadata: &Metadata,
    stored_as: StoredAs,
    options: &IngestOptions,
) -> Result<Prepared<'d>, IngestError> {
    let (codec, stored) = match stored_as {
        StoredAs::Plain => (options.compression, options.compression),
        StoredAs::Compressed(codec) => (Compression::None, codec),
        StoredAs::Encrypted => (Compression::None, Compression::None),
    };
    let mut entry = XlogEntry {
        name: item.name,
        size: metadata.len(),
        mtime: python_mtime(metadata.mtime(), metadata.mtime_nsec()),
        compression: (stored != Compression::None).then(|| stored.name().to_owned()),
        encryption: matches!(stored_as, StoredAs::Encrypted).then(|| "gpg".to_owned()),
    };
    let mut scan = match item.name {
        WalName::Segment(name) if options.index => Some(SegmentScan::new(name)),
        _ => None,
    };
    if codec == Compression::None && item.source == Source::Streaming && may_link(item, metadata) {
        let content = scan.and_then(|_| scan_apart(item));
        return Ok(Prepared::Ready { how: How::Link { disk, path: item.path.clone() }, entry, content });
    }
    let passing = scan.as_mut().filter(|_| matches!(stored_as, StoredAs::Plain));
    let publish = match copy(disk, item, metadata, codec, options, passing)? {
        Ok(publish) => publish,
        Err(e) => return Ok(unreadable(item, &e)),
    };
    let stored = publish.temp_path().metadata();
    entry.size = stored.map_err(|e| DurableError::io(Step::Read, publish.temp_path(), e))?.len();
    let content = match (scan, stored_as) {
        (Some(scan), StoredAs::Plain) => Some(Box::new(scan.finish())),
        (Some(_), StoredAs::Compressed(_)) => scan_apart(item),
        _ => None,
    };
    Ok(Prepared::Ready { how: How::Publish(publish), entry, content })
}

/// The summary of a file whose bytes do not pass through here. Without one the index is completed later.
fn scan_apart(item: &Item) -> Option<Box<SegmentContent>> {
    match wal_index::scan_file(&item.path, item.name.segment()?) {
        Ok(content) => Some(Box::new(content)),
        Err(error) => {
            tracing::warn!(file = %item.path.display(), %error, "cannot be summed up for the index");
            None
        }
    }
}

/// A second name instead of a copy costs no I/O. Only for `streaming/`, whose whole segments nobody writes again: a plain
/// `cp` as `archive_command` that PostgreSQL repeats would truncate the file under both its names.
fn may_link(item: &Item, metadata: &Metadata) -> bool {
    let device = item.target.parent().and_then(|dir| dir.metadata().ok()).map(|dir| dir.dev());
    let regular = item.path.symlink_metadata().is_ok_and(|own| own.is_file());
    regular && matches!(item.name, WalName::Segment(_)) && device == Some(metadata.dev())
}

/// The content under a temporary name beside the target, summed up by `scan` as it passes. The inner error is one of reading the source.
pub(super) fn copy<'d>(
    disk: &'d dyn Disk,
    item: &Item,
    metadata: &Metadata,
    codec: Compression,
    options: &IngestOptions,
    scan: Option<&mut SegmentScan>,
) -> Result<std::io::Result<Publish<'d>>, IngestError> {
    let fail = |source| IngestError::Compress { path: item.path.clone(), source };
    let publish = Publish::create(disk, &item.target, None)?;
    let input = match File::open(&item.path) {
        Ok(input) => input,
        Err(e) => return Ok(Err(e)),
    };
    let mut input = Input { input, failed: false };
    let passing = Scanning { input: &mut input, scan };
    let mut publish = match transcode::copy(passing, publish, codec, options.compression_level) {
        Ok(publish) => publish,
        Err(e) if input.failed => return Ok(Err(e)),
        Err(e) => return Err(fail(e)),
    };
    publish.set_mode(mode(metadata))?;
    publish.set_modified(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH))?;
    Ok(Ok(publish))
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}
