//! Archives of a base backup on their way to where no files are: tar streams, compressed and cut to size, each into a writer of its
//! own, with nothing kept on this host but the manifest.

use std::fmt;
use std::io::{self, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::{SpooledTempFile, spooled_tempfile_in};
use walfile::codec::{self, Compression, Encoder};

use super::ArchiveReport;
use super::check::Check;
use super::writer::ArchiveError;
use crate::ChecksumAlgorithm;
use crate::compress::{StreamCodec, StreamEncoder};
use crate::manifest::FILE_NAME;
use crate::pages::PageRules;
use crate::sync::at;
use crate::tar::{BLOCK, Event, MemberKind, Parser, Region, member_header, padding};

/// A manifest of more bytes waits in an unnamed temporary file.
const MANIFEST_IN_MEMORY: usize = 8 * 1024 * 1024;

/// Takes one part of an archive.
pub trait PartWriter: Write + Send {
    /// Everything was written. When this returns, the part is durable; a part that is dropped instead must not stay.
    ///
    /// # Errors
    /// When it could not be stored.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// One part of an archive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Part {
    /// The tablespace; `None` for the data directory.
    pub tablespace: Option<u32>,
    /// Counted from 0.
    pub number: u32,
}

/// Makes the writers.
pub trait PartStore {
    /// Begins a part.
    ///
    /// # Errors
    /// When nothing can be written there.
    fn begin(&mut self, part: Part) -> io::Result<Box<dyn PartWriter>>;
}

/// How archives are relayed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RelayOptions {
    /// Compression on this side. Each part is one gzip member, bzip2 stream, or frame.
    pub compression: Compression,
    /// Level of gzip and bzip2; the codec's default without it.
    pub level: Option<u32>,
    /// Threads that compress (gzip and bzip2).
    pub workers: usize,
    /// A part that has become larger than this many bytes (as stored) ends with the member under way.
    pub max_size: u64,
    /// Permission bits of the data directory and of the tablespaces, which get members of their own (`./`), as whoever unpacks with
    /// `tar` needs them.
    pub root_mode: u32,
    /// Modification time of added members, seconds since 1970.
    pub mtime: u64,
    /// Members of the data directory that are left out, by exact name. A backup from which one was gets no manifest, which would
    /// miss it; it is compared with it all the same.
    pub skip: Vec<String>,
    /// The checksum the server was asked to put into the manifest, taken of every file and compared in the end. `None` when there
    /// will be no manifest.
    pub checksum: Option<ChecksumAlgorithm>,
    /// Check the pages of relations, those of a cluster with checksums.
    pub pages: Option<PageRules>,
    /// Where temporary files go when there are very many files.
    pub scratch: PathBuf,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            compression: Compression::None,
            level: None,
            workers: 1,
            max_size: u64::MAX,
            root_mode: 0o700,
            mtime: 0,
            skip: Vec::new(),
            checksum: None,
            pages: None,
            scratch: std::env::temp_dir(),
        }
    }
}

/// Relays the archives of one base backup. Calls as for [`ArchiveWriter`](super::ArchiveWriter).
///
/// Links of tablespaces (`pg_tblspc/<oid>`) are left out: whoever restores makes them to where the tablespaces go. The server's
/// manifest becomes the last member of the data directory's archive.
///
/// ```
/// use std::io::{self, Write};
/// use tapster_copy::archive::{ArchiveRelay, Part, PartStore, PartWriter, RelayOptions};
/// use tapster_copy::tar::member_header;
///
/// struct Sink;
/// impl Write for Sink {
///     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> { Ok(bytes.len()) }
///     fn flush(&mut self) -> io::Result<()> { Ok(()) }
/// }
/// impl PartWriter for Sink {
///     fn finish(self: Box<Self>) -> io::Result<()> { Ok(()) }
/// }
/// struct Sinks;
/// impl PartStore for Sinks {
///     fn begin(&mut self, _: Part) -> io::Result<Box<dyn PartWriter>> { Ok(Box::new(Sink)) }
/// }
/// let mut relay = ArchiveRelay::new(Sinks, RelayOptions::default());
/// relay.start_archive(None)?;
/// relay.feed(&member_header("global/pg_control", 512, 0o600, 0)?)?;
/// relay.feed(&[7; 512])?;
/// assert_eq!(relay.finish()?.report.files, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ArchiveRelay<S> {
    store: S,
    options: RelayOptions,
    check: Check,
    current: Option<Archive>,
    /// The data directory's archive, which waits for the manifest.
    base: Option<Archive>,
    manifest: Option<SpooledTempFile>,
    parts: Vec<RelayedPart>,
    /// Something that the manifest lists was left out.
    lacks: bool,
    failed: bool,
}

/// A part that was stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RelayedPart {
    /// Which.
    pub part: Part,
    /// Bytes, as stored.
    pub size: u64,
}

/// What was relayed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RelayReport {
    /// What was in the archives.
    pub report: ArchiveReport,
    /// The parts, in the order of their ends.
    pub parts: Vec<RelayedPart>,
}

impl<S> fmt::Debug for ArchiveRelay<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveRelay").field("parts", &self.parts).finish_non_exhaustive()
    }
}

struct Archive {
    part: Part,
    packer: Packer,
    parser: Parser,
    /// Headers of a member whose name is not known yet.
    held: Vec<u8>,
    skipping: bool,
}

impl<S: PartStore> ArchiveRelay<S> {
    /// A relay into the writers of `store`.
    pub fn new(store: S, options: RelayOptions) -> Self {
        let check = Check::new(&options.scratch, options.checksum, options.pages);
        Self {
            store,
            options,
            check,
            current: None,
            base: None,
            manifest: None,
            parts: Vec::new(),
            lacks: false,
            failed: false,
        }
    }

    /// Begins the archive of a tablespace, or of the data directory (`None`).
    ///
    /// # Errors
    /// When the one before cannot be completed, or nothing can be written.
    pub fn start_archive(&mut self, tablespace: Option<u32>) -> Result<(), ArchiveError> {
        self.guarded(|this| {
            this.end_archive()?;
            if tablespace.is_none() && this.base.is_some() {
                return Err(ArchiveError::Sequence { what: "the server sent the data directory twice" });
            }
            this.check.begin(tablespace);
            let part = Part { tablespace, number: 0 };
            let mut packer = this.pack(part)?;
            let root = member_header("./", 0, this.options.root_mode, this.options.mtime)?;
            packer.write_all(&root).map_err(relaying(part))?;
            let (parser, held) = (Parser::new(), Vec::new());
            this.current = Some(Archive { part, packer, parser, held, skipping: false });
            Ok(())
        })
    }

    /// Begins the manifest.
    ///
    /// # Errors
    /// When the last archive cannot be completed.
    pub fn start_manifest(&mut self) -> Result<(), ArchiveError> {
        self.guarded(|this| {
            this.end_archive()?;
            if this.manifest.is_some() {
                return Err(ArchiveError::Sequence { what: "the server sent a second manifest" });
            }
            this.manifest = Some(spooled_tempfile_in(MANIFEST_IN_MEMORY, &this.options.scratch));
            Ok(())
        })
    }

    /// Takes the next bytes of the archive or manifest begun last.
    ///
    /// # Errors
    /// When they are not acceptable or cannot be written. An error of a writer comes as [`ArchiveError::Relay`].
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.guarded(|this| match (this.current.take(), &mut this.manifest) {
            (Some(mut archive), _) => {
                let result = this.pass(&mut archive, bytes);
                this.current = Some(archive);
                result
            }
            (None, Some(manifest)) => {
                Ok(manifest.write_all(bytes).map_err(at("write", &this.options.scratch))?)
            }
            (None, None) => Err(ArchiveError::Sequence { what: "data outside an archive" }),
        })
    }

    /// Compares everything with the manifest, and ends the data directory's archive with it.
    ///
    /// # Errors
    /// When the backup is incomplete, differs from its manifest, or could not be stored.
    pub fn finish(mut self) -> Result<RelayReport, ArchiveError> {
        self.guarded(Self::end_archive)?;
        let mut base =
            self.base.take().ok_or(ArchiveError::Sequence { what: "there was no data directory" })?;
        let scratch = self.options.scratch.clone();
        let rewind = |manifest: &mut SpooledTempFile| manifest.rewind().map_err(at("read", &scratch));
        let mut manifest = self.manifest.take();
        manifest.as_mut().map_or(Ok(()), rewind)?;
        let report = self.check.finish(manifest.as_mut())?;
        if let Some(mut manifest) = manifest.filter(|_| !self.lacks) {
            let size = manifest.seek(io::SeekFrom::End(0)).map_err(at("read", &scratch))?;
            rewind(&mut manifest)?;
            let header = member_header(FILE_NAME, size, 0o600, self.options.mtime)?;
            let mut write = |packer: &mut Packer| {
                packer.write_all(&header)?;
                io::copy(&mut (&mut manifest).take(size), packer)?;
                packer.write_all(zeros(padding(size)))
            };
            write(&mut base.packer).map_err(relaying(base.part))?;
        }
        self.parts.push(base.end()?);
        Ok(RelayReport { report, parts: self.parts })
    }

    fn guarded(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        if self.failed {
            return Err(ArchiveError::Sequence { what: "the backup has failed before" });
        }
        let result = step(self);
        self.failed = result.is_err();
        result
    }

    fn pack(&mut self, part: Part) -> Result<Packer, ArchiveError> {
        let writer = self.store.begin(part).map_err(relaying(part))?;
        Packer::new(writer, &self.options).map_err(relaying(part))
    }

    fn end_archive(&mut self) -> Result<(), ArchiveError> {
        if let Some(archive) = self.current.take() {
            archive.parser.finish()?;
            if archive.part.tablespace.is_none() {
                self.base = Some(archive);
            } else {
                self.parts.push(archive.end()?);
            }
        }
        Ok(())
    }

    fn pass(&mut self, archive: &mut Archive, bytes: &[u8]) -> Result<(), ArchiveError> {
        let mut input = bytes;
        loop {
            let (region, before) = (archive.parser.region(), input);
            let event = archive.parser.next(&mut input)?;
            let used = before.get(..before.len().saturating_sub(input.len())).unwrap_or_default();
            match region {
                Region::Header => archive.held.extend_from_slice(used),
                Region::Body if !archive.skipping => {
                    archive.packer.write_all(used).map_err(relaying(archive.part))?;
                }
                Region::Body | Region::Trailer => {}
            }
            let Some(event) = event else { return Ok(()) };
            match &event {
                Event::Member(member) => {
                    let is_link = matches!(member.kind, MemberKind::Symlink(_));
                    let is_left_out = archive.part.tablespace.is_none()
                        && self.options.skip.iter().any(|name| member.path == Path::new(name));
                    self.lacks |= is_left_out;
                    archive.skipping = is_left_out || is_link && member.path.starts_with("pg_tblspc");
                    if !archive.skipping {
                        if archive.packer.written() > self.options.max_size {
                            self.next_part(archive)?;
                        }
                        archive.packer.write_all(&archive.held).map_err(relaying(archive.part))?;
                    }
                    archive.held.clear();
                }
                Event::EndOfArchive => archive.held.clear(),
                _ => {}
            }
            self.check.event(&event)?;
        }
    }

    fn next_part(&mut self, archive: &mut Archive) -> Result<(), ArchiveError> {
        let part = Part { number: archive.part.number.saturating_add(1), ..archive.part };
        let next = self.pack(part)?;
        let full = std::mem::replace(&mut archive.packer, next);
        let ended = std::mem::replace(&mut archive.part, part);
        self.parts.push(end(full, ended)?);
        Ok(())
    }
}

impl Archive {
    fn end(self) -> Result<RelayedPart, ArchiveError> {
        end(self.packer, self.part)
    }
}

/// The two zero blocks, and everything out.
fn end(mut packer: Packer, part: Part) -> Result<RelayedPart, ArchiveError> {
    let size = packer.write_all(&[0; 2 * BLOCK]).and_then(|()| packer.finish()).map_err(relaying(part))?;
    Ok(RelayedPart { part, size })
}

fn relaying(part: Part) -> impl FnOnce(io::Error) -> ArchiveError {
    move |source| ArchiveError::Relay { part, source }
}

fn zeros(count: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    usize::try_from(count).ok().and_then(|count| ZEROS.get(..count)).unwrap_or_default()
}

/// Counts what is stored.
struct Counted {
    inner: Box<dyn PartWriter>,
    written: Arc<AtomicU64>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.written.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Bytes of an archive in, a part out.
struct Packer {
    inner: Inner,
    written: Arc<AtomicU64>,
}

enum Inner {
    /// Plain, or on several threads.
    Stream(StreamEncoder<Counted>),
    Codec(Box<Encoder<Counted>>),
}

impl Packer {
    fn new(inner: Box<dyn PartWriter>, options: &RelayOptions) -> io::Result<Self> {
        let written = Arc::new(AtomicU64::new(0));
        let output = Counted { inner, written: Arc::clone(&written) };
        let codec = match options.compression {
            Compression::None => None,
            Compression::Gzip => Some(StreamCodec::Gzip),
            Compression::Bzip2 => Some(StreamCodec::Bzip2),
            Compression::Xz => Some(StreamCodec::Xz),
            other => {
                let encoder = codec::encoder(output, other, codec::Level::default())?;
                return Ok(Self { inner: Inner::Codec(Box::new(encoder)), written });
            }
        };
        // gzip's 9 costs twice the time of 6 for a hundredth of the size.
        let level = options.level.unwrap_or_else(|| match codec {
            Some(StreamCodec::Gzip) => 6,
            Some(codec) => codec.default_level(),
            None => 0,
        });
        let encoder = StreamEncoder::new(output, codec, level, options.workers)?;
        Ok(Self { inner: Inner::Stream(encoder), written })
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn finish(self) -> io::Result<u64> {
        let output = match self.inner {
            Inner::Stream(encoder) => encoder.finish()?,
            Inner::Codec(encoder) => encoder.finish()?,
        };
        output.inner.finish()?;
        Ok(self.written.load(Ordering::Relaxed))
    }
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.inner {
            Inner::Stream(encoder) => encoder.write(bytes),
            Inner::Codec(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::tar::Event;

    type Stored = Arc<Mutex<BTreeMap<(Option<u32>, u32), Vec<u8>>>>;

    /// Keeps what was finished.
    #[derive(Clone, Default)]
    struct Shelf(Stored);

    struct Item(Stored, Part, Vec<u8>);

    impl PartStore for Shelf {
        fn begin(&mut self, part: Part) -> io::Result<Box<dyn PartWriter>> {
            Ok(Box::new(Item(Arc::clone(&self.0), part, Vec::new())))
        }
    }

    impl Write for Item {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.2.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl PartWriter for Item {
        fn finish(self: Box<Self>) -> io::Result<()> {
            let Self(stored, part, bytes) = *self;
            stored.lock().unwrap().insert((part.tablespace, part.number), bytes);
            Ok(())
        }
    }

    fn members(archive: &[u8], compression: Compression) -> Vec<String> {
        let mut clear = Vec::new();
        codec::decoder(archive, compression).unwrap().read_to_end(&mut clear).unwrap();
        let (mut parser, mut input, mut names) = (Parser::new(), &clear[..], Vec::new());
        while let Some(event) = parser.next(&mut input).unwrap() {
            if let Event::Member(member) = event {
                names.push(member.path.display().to_string());
            }
        }
        parser.finish().unwrap();
        names
    }

    fn file(name: &str, size: usize) -> Vec<u8> {
        let mut bytes = member_header(name, size as u64, 0o600, 0).unwrap().to_vec();
        bytes.resize(512 + size.next_multiple_of(512), 0);
        bytes.get_mut(512..512 + size).unwrap().fill(7);
        bytes
    }

    fn link(name: &str) -> Vec<u8> {
        let mut writer = crate::tar::Writer::new(Vec::new());
        let mut member = crate::tar::NewMember::file(Path::new(name), 0);
        member.kind = MemberKind::Symlink("/somewhere".into());
        writer.start(&member).unwrap();
        let mut bytes = writer.finish().unwrap();
        bytes.truncate(512);
        bytes
    }

    #[test]
    fn archives_are_cut_between_members_and_links_left_out() {
        for compression in [Compression::None, Compression::Gzip, Compression::Lz4, Compression::Snappy] {
            let shelf = Shelf::default();
            let mut options = RelayOptions::default();
            (options.compression, options.max_size) = (compression, 512);
            options.skip = vec!["standby.signal".to_owned()];
            let mut relay = ArchiveRelay::new(shelf.clone(), options);
            relay.start_archive(Some(5)).unwrap();
            relay.feed(&file("PG_15/1", 3)).unwrap();
            relay.start_archive(None).unwrap();
            let stream = [
                file("backup_label", 4),
                link("pg_tblspc/5"),
                file("standby.signal", 1),
                file("base/1/2", 1000),
                file("global/pg_control", 8192),
                vec![0; 1024],
            ];
            for piece in stream.concat().chunks(333) {
                relay.feed(piece).unwrap();
            }
            let report = relay.finish().unwrap();
            assert_eq!(report.report.label.as_deref(), Some(&[7; 4][..]));
            let stored = shelf.0.lock().unwrap();
            let all = |oid| {
                let parts = stored.iter().filter(|((tablespace, _), _)| *tablespace == oid);
                parts.flat_map(|(_, bytes)| members(bytes, compression)).collect::<Vec<_>>()
            };
            assert_eq!(all(Some(5)), ["", "PG_15/1"]);
            assert_eq!(all(None), ["", "backup_label", "base/1/2", "global/pg_control"]);
            let sizes: u64 = report.parts.iter().map(|part| part.size).sum();
            assert_eq!(sizes, stored.values().map(|bytes| bytes.len() as u64).sum::<u64>());
            if compression == Compression::None {
                assert_eq!(stored.len(), 4, "each file in a part of its own");
            }
        }
    }

    #[test]
    fn nothing_is_stored_of_a_stream_that_breaks_off() {
        let shelf = Shelf::default();
        let mut relay = ArchiveRelay::new(shelf.clone(), RelayOptions::default());
        relay.start_archive(None).unwrap();
        relay.feed(&file("base/1/2", 1000)[..700]).unwrap();
        assert!(relay.finish().is_err());
        assert!(shelf.0.lock().unwrap().is_empty());
    }
}
