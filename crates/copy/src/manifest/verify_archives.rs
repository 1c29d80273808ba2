//! A backup in archives (`base.tar`, `<oid>.tar`, compressed or not) against its manifest, as PostgreSQL 18's
//! `pg_verifybackup --format=tar` does it.
//!
//! The archives are read once, each on a thread of its own with another one that decompresses ahead. The order of members and
//! that of the manifest need not agree: what is compared is the sum of keyed hashes over name, size and checksum, so nothing
//! is kept for a file. Only when the sums differ are the archives read again, to name the files.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};

use walfile::codec::{Compression, decoder};

use super::findings::Findings;
use super::verify::MAX_CONTROL_FILE;
use super::{
    ManifestFile, ManifestReader, ManifestSummary, Problem, VerifyError, VerifyOptions, VerifyReport,
};
use crate::decrypt::Decrypt;
use crate::observer::CopyObserver;
use crate::sync::at;
use crate::tar::{Event, MemberKind, Parser};
use crate::{Checksum, ChecksumAlgorithm, Hasher};

/// Bytes that are decompressed at once.
const PIECE: usize = 256 * 1024;
/// Files whose sums are kept in one piece, when they must be kept at all.
const CHUNK: usize = 64 * 1024;

/// Verifies the backup whose archives lie in `directory` against the manifest in the file `manifest`. WAL is not looked at.
///
/// # Errors
/// When the manifest or the directory cannot be read, or the stop flag is raised; what is wrong with the backup is in the
/// report. Options for the places of tablespaces mean nothing here.
pub fn verify_archives(
    manifest: &Path,
    directory: &Path,
    options: &VerifyOptions,
    observer: &dyn CopyObserver,
    stop: &AtomicBool,
) -> Result<VerifyReport, VerifyError> {
    let findings = Findings::new(options, stop);
    let keys = RandomState::new();
    let mut listed = Sum::default();
    let mut algorithms = Vec::new();
    let summary = each_listed(manifest, &findings, |file| {
        let checksum = if options.skip_checksums { Checksum::EMPTY } else { file.checksum };
        listed.add(&Kept::new(
            &keys,
            Path::new(std::ffi::OsStr::from_bytes(&file.path)),
            file.size,
            checksum,
        ));
        if !checksum.as_bytes().is_empty() && !algorithms.contains(&file.algorithm) {
            algorithms.push(file.algorithm);
        }
    })?;
    let archives = archives(directory, options.decrypt.is_some(), &findings)?;
    // A backup has one kind of checksum; a manifest with several was put together by somebody else.
    let algorithm = match algorithms.as_slice() {
        [] => ChecksumAlgorithm::None,
        [one] => *one,
        [_, other, ..] => {
            let path = PathBuf::from(super::FILE_NAME);
            let reason = format!("it has checksums of several kinds, {other} among them");
            findings.problem(Problem::Archive { path, reason });
            return Ok(findings.report(summary));
        }
    };
    let decrypt = options.decrypt.as_ref();
    let pass = Pass {
        directory,
        decrypt,
        archives: &archives,
        algorithm,
        findings: &findings,
        observer,
        keys: &keys,
    };
    let found = Mutex::new(Sum::default());
    pass.run(
        &mut |member| {
            findings.file(Ok(member.kept.size));
            found.lock().unwrap_or_else(PoisonError::into_inner).add(&member.kept);
        },
        Some(&summary),
    );
    if findings.stopped() {
        return Err(VerifyError::Stopped);
    }
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if found != listed && !findings.ended() {
        name_differences(&pass, manifest, options)?;
    }
    if findings.stopped() {
        return Err(VerifyError::Stopped);
    }
    Ok(findings.report(summary))
}

/// Reads the manifest; files that are never verified are left out.
fn each_listed(
    manifest: &Path,
    findings: &Findings<'_>,
    mut take: impl FnMut(&ManifestFile),
) -> Result<ManifestSummary, VerifyError> {
    let mut reader = ManifestReader::new(File::open(manifest).map_err(at("open", manifest))?)?;
    let mut file = ManifestFile::default();
    while reader.next_file(&mut file)? {
        if findings.stopped() {
            return Err(VerifyError::Stopped);
        }
        if !findings.ignored(Path::new(std::ffi::OsStr::from_bytes(&file.path))) {
            take(&file);
        }
    }
    Ok(reader.finish()?)
}

/// An archive of the backup.
struct Archive {
    name: PathBuf,
    size: u64,
    /// What its members' names begin with.
    prefix: PathBuf,
    compression: Compression,
    encrypted: bool,
}

/// The archives in a directory, the largest first.
fn archives(directory: &Path, decrypts: bool, findings: &Findings<'_>) -> Result<Vec<Archive>, VerifyError> {
    let mut archives = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(at("read", directory))? {
        let entry = entry.map_err(at("read", directory))?;
        let name = PathBuf::from(entry.file_name());
        if findings.ignored(&name) {
            continue;
        }
        let plain = name.to_str().map(|name| (name, decrypts.then(|| name.strip_suffix(".gpg")).flatten()));
        let encrypted = plain.is_some_and(|(_, plain)| plain.is_some());
        let plain = plain.map(|(name, plain)| plain.unwrap_or(name));
        let Some((stem, suffix)) = plain.and_then(|name| name.split_once(".tar")) else {
            findings.problem(Problem::Unexpected { path: name });
            continue;
        };
        let compression = match suffix {
            "" => Compression::None,
            ".gz" => Compression::Gzip,
            ".lz4" => Compression::Lz4,
            ".zst" => Compression::Zstd,
            ".bz2" => Compression::Bzip2,
            ".xz" => Compression::Xz,
            _ if suffix.ends_with(".gpg") => {
                let reason =
                    "it is encrypted, and its contents cannot be compared without the key".to_owned();
                findings.problem(Problem::Archive { path: name, reason });
                continue;
            }
            _ => {
                findings.problem(Problem::Unexpected { path: name });
                continue;
            }
        };
        let is_oid = !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = match stem {
            "base" => PathBuf::new(),
            // Written beside the backup by the program that streamed it; never in the manifest.
            "pg_wal" => continue,
            _ if is_oid => Path::new("pg_tblspc").join(stem),
            _ => {
                findings.problem(Problem::Unexpected { path: name });
                continue;
            }
        };
        let metadata = std::fs::metadata(entry.path()).map_err(at("read", &entry.path()))?;
        if metadata.is_file() {
            archives.push(Archive { size: metadata.len(), prefix, compression, encrypted, name });
        } else {
            findings.problem(Problem::NotAFile { path: name });
        }
    }
    archives.sort_by_key(|archive| std::cmp::Reverse(archive.size));
    Ok(archives)
}

/// A number of files, and the sum of their keyed hashes.
#[derive(Debug, Default, PartialEq)]
struct Sum {
    files: u64,
    sum: u64,
}

impl Sum {
    fn add(&mut self, file: &Kept) {
        self.files = self.files.wrapping_add(1);
        self.sum = self.sum.wrapping_add(file.whole);
    }
}

/// What is known of a file: hashes instead of its name and its sum.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Kept {
    name: u64,
    size: u64,
    /// The first bytes of the checksum.
    start: [u8; 8],
    /// Over all of it.
    whole: u64,
}

impl Kept {
    fn new(keys: &RandomState, path: &Path, size: u64, checksum: Checksum) -> Self {
        let mut start = [0; 8];
        start.iter_mut().zip(checksum.as_bytes()).for_each(|(to, from)| *to = *from);
        let whole = keys.hash_one((path, size, checksum.as_bytes()));
        Self { name: keys.hash_one(path), size, start, whole }
    }
}

/// A member that was read.
struct MemberSum<'a> {
    path: &'a Path,
    kept: Kept,
}

/// One reading of all archives.
struct Pass<'a> {
    directory: &'a Path,
    decrypt: Option<&'a Decrypt>,
    archives: &'a [Archive],
    algorithm: ChecksumAlgorithm,
    findings: &'a Findings<'a>,
    observer: &'a dyn CopyObserver,
    keys: &'a RandomState,
}

impl Pass<'_> {
    /// Hands every file over, from any thread but one at a time; the control file is looked at with a summary.
    fn run(&self, take: &mut (dyn FnMut(&MemberSum<'_>) + Send), summary: Option<&ManifestSummary>) {
        let (next, take) = (AtomicUsize::new(0), Mutex::new(take));
        std::thread::scope(|scope| {
            for _ in 0..self.archives.len().min(self.threads()) {
                scope.spawn(|| {
                    while let Some(archive) = self.archives.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let read = self.read(archive, summary, &mut |member| {
                            (take.lock().unwrap_or_else(PoisonError::into_inner))(member);
                        });
                        // The second reading has nothing new to say.
                        if let (Err(reason), Some(_)) = (read, summary) {
                            let path = archive.name.clone();
                            self.findings.problem(Problem::Archive { path, reason });
                        }
                        if self.findings.ended() {
                            return;
                        }
                    }
                });
            }
        });
    }

    fn threads(&self) -> usize {
        self.findings.threads()
    }

    /// Reads one archive, decompressing ahead.
    fn read(
        &self,
        archive: &Archive,
        summary: Option<&ManifestSummary>,
        take: &mut dyn FnMut(&MemberSum<'_>),
    ) -> Result<(), String> {
        let path = self.directory.join(&archive.name);
        let file = File::open(&path).map_err(|error| error.to_string())?;
        let stored: Box<dyn Read + Send> = match self.decrypt.filter(|_| archive.encrypted) {
            Some(decrypt) => decrypt.open(&file).map_err(|error| error.to_string())?,
            None => Box::new(file),
        };
        let mut source = decoder(io::BufReader::with_capacity(PIECE, stored), archive.compression)
            .map_err(|error| error.to_string())?;
        let (full, pieces) = sync_channel::<io::Result<Vec<u8>>>(4);
        let (spent, empty) = sync_channel::<Vec<u8>>(8);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                loop {
                    let mut piece = empty.try_recv().unwrap_or_default();
                    piece.resize(PIECE, 0);
                    let read = fill(&mut source, &mut piece);
                    let last = !matches!(read, Ok(PIECE));
                    let piece = read.map(|length| {
                        piece.truncate(length);
                        piece
                    });
                    if full.send(piece).is_err() || last {
                        return;
                    }
                }
            });
            let mut members = Members::new(self, archive, summary);
            while let Ok(piece) = pieces.recv() {
                if self.findings.ended() {
                    return Ok(());
                }
                let piece = piece.map_err(|error| error.to_string())?;
                members.feed(&piece, take)?;
                self.observer.bytes(piece.len() as u64);
                let _ = spent.try_send(piece);
            }
            members.parser.finish().map_err(|error| error.to_string())
        })
    }
}

/// Reads until `piece` is full or the source ends.
fn fill(source: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match source.read(piece.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(length) => filled = filled.saturating_add(length),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The members of one archive, summed up.
struct Members<'a> {
    pass: &'a Pass<'a>,
    prefix: &'a Path,
    summary: Option<&'a ManifestSummary>,
    parser: Parser,
    /// The file at hand; none for links, directories, and what is never verified.
    current: Option<(PathBuf, u64, Hasher)>,
    control: Option<Vec<u8>>,
}

impl<'a> Members<'a> {
    fn new(pass: &'a Pass<'a>, archive: &'a Archive, summary: Option<&'a ManifestSummary>) -> Self {
        let (parser, prefix) = (Parser::new(), archive.prefix.as_path());
        Self { pass, prefix, summary, parser, current: None, control: None }
    }

    fn feed(&mut self, mut input: &[u8], take: &mut dyn FnMut(&MemberSum<'_>)) -> Result<(), String> {
        while let Some(event) = self.parser.next(&mut input).map_err(|error| error.to_string())? {
            match event {
                Event::Member(member) => {
                    let path = self.prefix.join(&member.path);
                    let wanted = member.kind == MemberKind::File && !self.pass.findings.ignored(&path);
                    let is_control =
                        path == Path::new("global/pg_control") && member.size <= MAX_CONTROL_FILE;
                    self.control = (wanted && is_control && self.summary.is_some()).then(Vec::new);
                    self.current = wanted.then(|| (path, member.size, self.pass.algorithm.hasher()));
                }
                Event::Data(bytes) => {
                    if let Some((_, _, hasher)) = &mut self.current {
                        hasher.update(bytes);
                    }
                    if let Some(control) = &mut self.control {
                        control.extend_from_slice(bytes);
                    }
                }
                Event::End => {
                    if let (Some(control), Some(summary)) = (self.control.take(), self.summary) {
                        self.pass.findings.control_file(&control, summary);
                    }
                    if let Some((path, size, hasher)) = self.current.take() {
                        let kept = Kept::new(self.pass.keys, &path, size, hasher.finish());
                        take(&MemberSum { path: &path, kept });
                        self.pass.observer.file(&path);
                    }
                }
                Event::EndOfArchive => {}
            }
        }
        Ok(())
    }
}

/// Reads everything again, to say which files differ.
fn name_differences(pass: &Pass<'_>, manifest: &Path, options: &VerifyOptions) -> Result<(), VerifyError> {
    // Sorted pieces instead of one growing list, which would need twice its size for a moment.
    let mut chunks: Vec<Vec<Kept>> = Vec::new();
    pass.run(
        &mut |member| {
            if chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
                chunks.push(Vec::with_capacity(CHUNK));
            }
            if let Some(chunk) = chunks.last_mut() {
                chunk.push(member.kept);
            }
        },
        None,
    );
    for chunk in &mut chunks {
        chunk.sort_unstable();
    }
    let mut matched: Vec<Vec<bool>> = chunks.iter().map(|chunk| vec![false; chunk.len()]).collect();
    each_listed(manifest, pass.findings, |file| {
        let path = Path::new(std::ffi::OsStr::from_bytes(&file.path));
        let checksum = if options.skip_checksums { Checksum::EMPTY } else { file.checksum };
        let expected = Kept::new(pass.keys, path, file.size, checksum);
        let path = || path.to_path_buf();
        match take_match(&chunks, &mut matched, expected.name) {
            None => pass.findings.problem(Problem::Missing { path: path() }),
            Some(found) if found.size != file.size => {
                let (expected, found) = (file.size, found.size);
                pass.findings.problem(Problem::Size { path: path(), expected, found });
            }
            Some(found) if found.whole != expected.whole && !checksum.as_bytes().is_empty() => {
                let start: String = found.start.iter().map(|byte| format!("{byte:02x}")).collect();
                let found = match checksum.as_bytes().len() {
                    length @ ..8 => start.chars().take(2 * length).collect(),
                    _ => start + "...",
                };
                let expected = checksum.to_string();
                pass.findings.problem(Problem::Checksum { path: path(), expected, found });
            }
            Some(_) => {}
        }
    })?;
    if matched.iter().flatten().any(|matched| !matched) {
        let extra = |kept: &Kept| {
            chunks.iter().zip(&matched).any(|(chunk, matched)| {
                chunk.binary_search(kept).is_ok_and(|at| matched.get(at) == Some(&false))
            })
        };
        pass.run(
            &mut |member| {
                if extra(&member.kept) {
                    pass.findings.problem(Problem::Extra { path: member.path.to_path_buf() });
                }
            },
            None,
        );
    }
    Ok(())
}

/// A member of this name that was not taken yet.
fn take_match(chunks: &[Vec<Kept>], matched: &mut [Vec<bool>], name: u64) -> Option<Kept> {
    chunks.iter().zip(matched).find_map(|(chunk, matched)| {
        let first = chunk.partition_point(|kept| kept.name < name);
        let same = chunk.iter().zip(matched.iter_mut()).skip(first).take_while(|(kept, _)| kept.name == name);
        for (kept, matched) in same {
            if !*matched {
                *matched = true;
                return Some(*kept);
            }
        }
        None
    })
}
