//! What can be done for a file without touching the archive's names: checked, compared, compressed, synced.

use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use walfile::WalName;
use walfile::codec::{Compression, Level};

use super::link::{Link, SourceId};
use super::{IngestError, IngestOptions, Invalid, Source, validate};
use crate::custom_filter::CustomFilter;
use crate::durable::{Disk, DurableError, Publish, Step};
use crate::gpg::Gpg;
use crate::undo::{self, Undo};
use crate::wal_index::{Scanning, SegmentContent, SegmentScan};
use crate::xlogdb::python_mtime;
use crate::{
    ArchivedObject, NotArchived, WalObjects, XlogEntry, encryption, same_content, transcode, wal_end,
    wal_index,
};

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
        source: SourceId,
    },
    /// It is in the object store, durably; `is_new` when it was not before.
    Stored {
        entry: XlogEntry,
        is_new: bool,
        source: SourceId,
    },
    /// The archive has it with the same content.
    Same(SourceId),
    /// The archive has the name with other content.
    Different(SourceId),
    Invalid(Invalid, SourceId),
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
            Self::Ready { how: How::Link(link), .. } => link.sync()?,
            _ => {}
        }
        Ok(self)
    }
}

#[derive(Debug)]
pub(super) enum How<'d> {
    Publish(Publish<'d>),
    Link(Link<'d>),
}

pub(super) fn prepare<'d>(
    disk: &'d dyn Disk,
    item: &Item,
    options: &IngestOptions,
) -> Result<Prepared<'d>, IngestError> {
    match look(item, options) {
        Ok(Looked::Done(done)) => Ok(done),
        Ok(Looked::Take { metadata, stored_as }) => match &options.objects {
            // Nobody could restore it. It stays, with all that the same command sends.
            Some(_) if matches!(stored_as, StoredAs::Encrypted) => Ok(Prepared::Unreadable(
                "it is encrypted, and there is no encryption in an object store".to_owned(),
            )),
            Some(objects) => store(objects.as_ref(), item, &metadata, options),
            None => take(disk, item, &metadata, stored_as, options),
        },
        Err(e) => Ok(unreadable(item, &e)),
    }
}

/// One bad sector or one wrong permission does not hold up the files behind it.
fn unreadable<'d>(item: &Item, error: &std::io::Error) -> Prepared<'d> {
    match error.kind() {
        ErrorKind::NotFound if !item.path.exists() => Prepared::Vanished,
        _ => Prepared::Unreadable(format!("it cannot be read: {error}")),
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
    /// By the user's own filter.
    Custom,
    Encrypted,
}

/// Whether a file came compressed with the user's filter. Only a magic tells: what is no WAL and has none is invalid.
fn is_custom(item: &Item, first: &[u8], options: &IngestOptions) -> bool {
    let filter = options.custom.as_ref().filter(|filter| filter.magic.is_some());
    item.source == Source::FileArchival && filter.is_some_and(|filter| filter.wrote(first))
}

fn look<'d>(item: &Item, options: &IngestOptions) -> std::io::Result<Looked<'d>> {
    let mut file = File::open(&item.path)?;
    let metadata = file.metadata()?;
    let mut first = [0; 16];
    let got = same_content::read_up_to(&mut file, &mut first)?;
    let first = first.get(..got).unwrap_or_default();
    let stored_as = match (encryption::detect(first), walfile::codec::detect(first)) {
        (Some(_), _) => StoredAs::Encrypted,
        (None, codec) if codec != Compression::Bzip2 && is_custom(item, first, options) => StoredAs::Custom,
        (None, Compression::None) => StoredAs::Plain,
        (None, codec) => StoredAs::Compressed(codec),
    };
    let checked = match stored_as {
        _ if !options.validate => Ok(()),
        StoredAs::Encrypted => validate::check_encrypted(&item.path)?,
        _ => {
            let compressed = matches!(stored_as, StoredAs::Compressed(_) | StoredAs::Custom);
            validate::check(&item.path, item.name, compressed, options)?
        }
    };
    if let Err(reason) = &checked
        && is_unsettled(&metadata, options)
    {
        return Ok(Looked::Done(Prepared::Unsettled(reason.clone())));
    }
    if options.objects.is_none() && item.target.try_exists()? {
        let same = is_same(item, options)?;
        let source = SourceId::of(&metadata);
        return Ok(Looked::Done(if same { Prepared::Same(source) } else { Prepared::Different(source) }));
    }
    Ok(match checked {
        Ok(()) => Looked::Take { metadata, stored_as },
        Err(reason) => Looked::Done(Prepared::Invalid(reason, SourceId::of(&metadata))),
    })
}

/// As [`same_as_archived`]; where nothing can be decrypted, nobody will ever know, and the file would wait for ever with those
/// that PostgreSQL sends behind it. As one that differs it is kept beside the archive.
pub(super) fn is_same(item: &Item, options: &IngestOptions) -> std::io::Result<bool> {
    match same_as_archived(item.name, &item.target, &item.path, options.undo()) {
        Err(error) if undo::cannot_decrypt(&error) => {
            let file = item.path.display();
            tracing::warn!(%file, %error, "cannot be compared with what is archived under its name");
            Ok(false)
        }
        done => done,
    }
}

/// Whether the archived file and a new one of its name hold the same WAL: the same bytes, stored or decompressed, or the same
/// up to where the WAL ends before the segment does. One that cannot be decompressed is different: it is never replaced,
/// and the new one is kept as well.
pub(crate) fn same_as_archived(
    name: WalName,
    archived: &Path,
    new: &Path,
    undo: Undo<'_>,
) -> std::io::Result<bool> {
    if same_content::files(archived, new)? {
        return Ok(true);
    }
    let same = || -> std::io::Result<bool> {
        if same_content::segments(archived, new, undo)? {
            return Ok(true);
        }
        let WalName::Segment(_) = name else { return Ok(false) };
        wal_end::same_before_the_end(
            || same_content::decoded(archived, undo),
            || same_content::decoded(new, undo),
        )
    };
    match same() {
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

/// Into the object store, which says itself what is archived there.
fn store<'d>(
    objects: &dyn WalObjects,
    item: &Item,
    metadata: &Metadata,
    options: &IngestOptions,
) -> Result<Prepared<'d>, IngestError> {
    let (source, codec) = (SourceId::of(metadata), options.compression);
    let archived = objects.archive(item.name, &item.path, codec, options.compression_level);
    let (is_new, size) = match archived {
        Ok(ArchivedObject::New { size }) => (true, size),
        Ok(ArchivedObject::Same { size }) => (false, size),
        Ok(ArchivedObject::Different) => return Ok(Prepared::Different(source)),
        Err(NotArchived::Invalid { problem }) => {
            let reason = Invalid::Refused { problem };
            let unsettled = is_unsettled(metadata, options);
            return Ok(if unsettled {
                Prepared::Unsettled(reason)
            } else {
                Prepared::Invalid(reason, source)
            });
        }
        Err(NotArchived::Changed) => return Ok(Prepared::Unsettled(Invalid::Changed)),
        Err(NotArchived::Unreadable(error)) => return Ok(unreadable(item, &error)),
        Err(NotArchived::Store(source)) => {
            return Err(IngestError::Objects { path: item.path.clone(), source });
        }
    };
    let named = options.compression_name.as_deref().unwrap_or(codec.name());
    let entry = XlogEntry {
        name: item.name,
        size,
        mtime: python_mtime(metadata.mtime(), metadata.mtime_nsec()),
        compression: (codec != Compression::None).then(|| named.to_owned()),
        encryption: None,
    };
    Ok(Prepared::Stored { entry, is_new, source })
}

fn take<'d>(
    disk: &'d dyn Disk,
    item: &Item,
    metadata: &Metadata,
    stored_as: StoredAs,
    options: &IngestOptions,
) -> Result<Prepared<'d>, IngestError> {
    // What came encrypted stays as it is, with whatever key.
    let encrypt =
        options.gpg.as_ref().filter(|_| options.encrypt && !matches!(stored_as, StoredAs::Encrypted));
    // What came compressed stays as it is.
    let codec = match (stored_as, &options.custom) {
        (StoredAs::Plain, Some(filter)) => Codec::Custom(filter),
        (StoredAs::Plain, None) => Codec::Known(options.compression),
        _ => Codec::Known(Compression::None),
    };
    let compression = match (stored_as, codec) {
        (StoredAs::Custom, _) | (StoredAs::Plain, Codec::Custom(_)) => Some("custom"),
        (StoredAs::Plain, Codec::Known(codec)) if codec != Compression::None => {
            Some(options.compression_name.as_deref().unwrap_or(codec.name()))
        }
        (StoredAs::Compressed(codec), _) => Some(codec.name()),
        (StoredAs::Plain, Codec::Known(_)) => None,
        (StoredAs::Encrypted, _) => None,
    };
    let mut entry = XlogEntry {
        name: item.name,
        size: metadata.len(),
        mtime: python_mtime(metadata.mtime(), metadata.mtime_nsec()),
        compression: compression.map(str::to_owned),
        encryption: (encrypt.is_some() || matches!(stored_as, StoredAs::Encrypted)).then(|| "gpg".to_owned()),
    };
    let source = SourceId::of(metadata);
    let mut scan = match item.name {
        WalName::Segment(name) if options.index => Some(SegmentScan::new(name)),
        _ => None,
    };
    if matches!(codec, Codec::Known(Compression::None))
        && encrypt.is_none()
        && may_link(item, metadata)
        && let Some(link) = Link::new(disk, item, source, mode(metadata))?
    {
        let content = scan.and_then(|_| scan_apart(item));
        return Ok(Prepared::Ready { how: How::Link(link), entry, content, source });
    }
    let passes = matches!((stored_as, codec), (StoredAs::Plain, Codec::Known(_)));
    let passing = scan.as_mut().filter(|_| passes);
    let publish = match copy(disk, item, metadata, (codec, encrypt), options, passing)? {
        Ok(publish) => publish,
        Err(e) => return Ok(unreadable(item, &e)),
    };
    let stored = publish.temp_path().metadata();
    entry.size = stored.map_err(|e| DurableError::io(Step::Read, publish.temp_path(), e))?.len();
    let content = match (scan, stored_as) {
        (Some(scan), _) if passes => Some(Box::new(scan.finish())),
        (Some(_), StoredAs::Plain | StoredAs::Compressed(_)) => scan_apart(item),
        _ => None,
    };
    Ok(Prepared::Ready { how: How::Publish(publish), entry, content, source })
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

/// How the bytes are transformed on their way.
#[derive(Clone, Copy)]
pub(super) enum Codec<'o> {
    Known(Compression),
    Custom(&'o CustomFilter),
}

/// A second name instead of a copy costs no I/O. Only for whole segments, on the same file system.
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
    (codec, encrypt): (Codec<'_>, Option<&Gpg>),
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
    let done = match (codec, encrypt) {
        (Codec::Custom(filter), encrypt) => filter
            .compressor(&input.input)
            .and_then(|filtered| write(filtered, publish, (Compression::None, Level::Medium), encrypt)),
        (Codec::Known(codec), encrypt) => {
            let passing = Scanning { input: &mut input, scan };
            write(passing, publish, (codec, options.compression_level), encrypt)
        }
    };
    match done {
        Ok(publish) => Ok(Ok(with_attributes(publish, metadata)?)),
        Err(e) if input.failed => Ok(Err(e)),
        Err(e) => Err(fail(e)),
    }
}

/// Compressed first and then encrypted, since nothing can be compressed afterwards.
fn write<'d>(
    input: impl std::io::Read + Send,
    mut publish: Publish<'d>,
    (codec, level): (Compression, Level),
    encrypt: Option<&Gpg>,
) -> std::io::Result<Publish<'d>> {
    let Some(gpg) = encrypt else { return transcode::copy(input, publish, codec, level) };
    gpg.encrypt(|pipe| transcode::copy(input, pipe, codec, level).map(|_| ()), &mut publish)?;
    Ok(publish)
}

fn with_attributes<'d>(mut publish: Publish<'d>, metadata: &Metadata) -> Result<Publish<'d>, DurableError> {
    publish.set_mode(mode(metadata))?;
    publish.set_modified(metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH))?;
    Ok(publish)
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}
