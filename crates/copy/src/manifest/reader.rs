//! Reading a manifest, one file at a time.

use std::fmt;
use std::io::Read;

use walfile::{Lsn, Timeline};

use super::WalRange;
use super::error::ManifestError;
use super::lexer::Lexer;
use crate::checksum::decode_hex;
use crate::{Checksum, ChecksumAlgorithm};

const MAX_PATH: usize = 4096;
/// A key, a date, an LSN; paths are longer.
const MAX_WORD: usize = 256;
const MAX_WAL_RANGES: usize = 65_536;

/// A file of the backup, as the manifest has it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ManifestFile {
    /// Relative to the data directory, bytes as the server has them; tablespaces under `pg_tblspc/<oid>`.
    /// Not checked in any way.
    pub path: Vec<u8>,
    /// Bytes.
    pub size: u64,
    /// `YYYY-MM-DD HH:MM:SS GMT`; empty when absent.
    pub last_modified: String,
    /// How the checksum was made.
    pub algorithm: ChecksumAlgorithm,
    /// Empty for [`ChecksumAlgorithm::None`].
    pub checksum: Checksum,
}

impl Default for ManifestFile {
    fn default() -> Self {
        Self {
            path: Vec::new(),
            size: 0,
            last_modified: String::new(),
            algorithm: ChecksumAlgorithm::None,
            checksum: Checksum::EMPTY,
        }
    }
}

/// What a manifest says besides its files.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ManifestSummary {
    /// 1 or 2.
    pub version: u32,
    /// The cluster's system identifier, from version 2 on.
    pub system_identifier: Option<u64>,
    /// How many files it lists.
    pub files: u64,
    /// The WAL it needs, in the manifest's order. A manifest that Barman made has none.
    pub wal_ranges: Vec<WalRange>,
    /// The SHA-256 in its last line, found right.
    pub checksum: Checksum,
}

/// Reads a manifest front to back in bounded memory.
///
/// ```
/// use tapster_copy::manifest::{ManifestFile, ManifestReader, ManifestWriter};
/// let mut writer = ManifestWriter::new(Vec::new(), 2, Some(7420000000000000123))?;
/// writer.file(b"PG_VERSION", 3, 1_700_000_000, Default::default(), None)?;
/// let text = writer.finish(&[])?;
///
/// let mut reader = ManifestReader::new(text.as_slice())?;
/// let mut file = ManifestFile::default();
/// while reader.next_file(&mut file)? {
///     assert_eq!(file.path, b"PG_VERSION");
/// }
/// assert_eq!(reader.finish()?.system_identifier, Some(7420000000000000123));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ManifestReader<R> {
    lexer: Lexer<R>,
    word: Vec<u8>,
    summary: ManifestSummary,
    seen_files: bool,
    seen_ranges: bool,
    seen_checksum: bool,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Before a key of the outer object.
    Key,
    /// In `Files`, before the first entry.
    FirstFile,
    /// In `Files`, after an entry.
    AfterFile,
    /// After the outer object.
    End,
}

impl<R> fmt::Debug for ManifestReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManifestReader").field("summary", &self.summary).finish_non_exhaustive()
    }
}

impl<R: Read> ManifestReader<R> {
    /// Starts reading; the version comes first.
    ///
    /// # Errors
    /// When this is no manifest, or one of a version not known.
    pub fn new(source: R) -> Result<Self, ManifestError> {
        let mut lexer = Lexer::new(source);
        let mut word = Vec::new();
        lexer.expect(b'{', "an object")?;
        lexer.string(&mut word, MAX_WORD)?;
        if word != b"PostgreSQL-Backup-Manifest-Version" {
            return Err(ManifestError::Missing {
                key: "PostgreSQL-Backup-Manifest-Version",
                offset: lexer.offset(),
            });
        }
        lexer.expect(b':', "a colon")?;
        let version = match lexer.number()? {
            1 => 1,
            2 => 2,
            found => return Err(ManifestError::Version { found }),
        };
        let place = if lexer.more(b'}')? { Place::Key } else { Place::End };
        let summary = ManifestSummary {
            version,
            system_identifier: None,
            files: 0,
            wal_ranges: Vec::new(),
            checksum: Checksum::EMPTY,
        };
        Ok(Self { lexer, word, summary, seen_files: false, seen_ranges: false, seen_checksum: false, place })
    }

    /// The next file into `file`; `false` when there are no more.
    ///
    /// # Errors
    /// When the manifest is malformed or cannot be read.
    pub fn next_file(&mut self, file: &mut ManifestFile) -> Result<bool, ManifestError> {
        loop {
            match self.place {
                Place::End => return Ok(false),
                Place::Key => self.key()?,
                Place::FirstFile if self.lexer.peek_token()? == Some(b']') => self.place = Place::AfterFile,
                Place::AfterFile if !self.lexer.more(b']')? => self.after_value()?,
                Place::FirstFile | Place::AfterFile => {
                    self.entry(file)?;
                    self.summary.files = self.summary.files.saturating_add(1);
                    self.place = Place::AfterFile;
                    return Ok(true);
                }
            }
        }
    }

    /// Reads to the end and checks the manifest's own checksum.
    ///
    /// # Errors
    /// When the manifest is malformed, incomplete or damaged.
    pub fn finish(mut self) -> Result<ManifestSummary, ManifestError> {
        let mut file = ManifestFile::default();
        while self.next_file(&mut file)? {}
        let offset = self.lexer.offset();
        for (seen, key) in [
            (self.seen_files, "Files"),
            // Barman writes version 1 without.
            (self.seen_ranges || self.summary.version == 1, "WAL-Ranges"),
            (self.seen_checksum, "Manifest-Checksum"),
            (self.summary.version == 1 || self.summary.system_identifier.is_some(), "System-Identifier"),
        ] {
            if !seen {
                return Err(ManifestError::Missing { key, offset });
            }
        }
        let found = self.lexer.finish()?;
        let expected = self.summary.checksum;
        if found != expected {
            return Err(ManifestError::Checksum { expected: expected.to_string(), found: found.to_string() });
        }
        Ok(self.summary)
    }

    fn after_value(&mut self) -> Result<(), ManifestError> {
        self.place = if self.lexer.more(b'}')? { Place::Key } else { Place::End };
        Ok(())
    }

    fn key(&mut self) -> Result<(), ManifestError> {
        self.lexer.string(&mut self.word, MAX_WORD)?;
        self.lexer.expect(b':', "a colon")?;
        match self.word.as_slice() {
            b"Files" if !self.seen_files => {
                self.seen_files = true;
                self.lexer.expect(b'[', "a list")?;
                self.place = Place::FirstFile;
                return Ok(());
            }
            b"WAL-Ranges" if !self.seen_ranges => {
                self.seen_ranges = true;
                self.wal_ranges()?;
            }
            b"System-Identifier" if self.summary.system_identifier.is_none() => {
                self.summary.system_identifier = Some(self.lexer.number()?);
            }
            b"Manifest-Checksum" if !self.seen_checksum => {
                self.seen_checksum = true;
                self.summary.checksum = self.checksum()?;
            }
            _ => return Err(self.lexer.syntax("a key of a manifest, once")),
        }
        self.after_value()
    }

    fn checksum(&mut self) -> Result<Checksum, ManifestError> {
        self.lexer.string(&mut self.word, MAX_WORD)?;
        Checksum::from_hex(&self.word).map_err(|_| self.lexer.syntax("a checksum"))
    }

    /// A string that some type of this crate or of `walfile` parses.
    fn parsed<T: std::str::FromStr>(&mut self, expected: &'static str) -> Result<T, ManifestError> {
        self.lexer.string(&mut self.word, MAX_WORD)?;
        let text = std::str::from_utf8(&self.word).ok();
        text.and_then(|text| text.parse().ok()).ok_or_else(|| self.lexer.syntax(expected))
    }

    fn entry(&mut self, file: &mut ManifestFile) -> Result<(), ManifestError> {
        let (mut path, mut size) = (false, false);
        let mut algorithm = None;
        let mut checksum = None;
        file.last_modified.clear();
        self.lexer.expect(b'{', "an object")?;
        loop {
            self.lexer.string(&mut self.word, MAX_WORD)?;
            self.lexer.expect(b':', "a colon")?;
            match self.word.as_slice() {
                b"Path" if !path => {
                    path = true;
                    self.lexer.string(&mut file.path, MAX_PATH)?;
                }
                b"Encoded-Path" if !path => {
                    path = true;
                    self.lexer.string(&mut self.word, 2 * MAX_PATH)?;
                    file.path.clear();
                    file.path.resize(self.word.len() / 2, 0);
                    decode_hex(&self.word, &mut file.path)
                        .ok_or_else(|| self.lexer.syntax("a path in hexadecimal"))?;
                }
                b"Size" if !size => {
                    size = true;
                    file.size = self.lexer.number()?;
                }
                b"Last-Modified" => {
                    self.lexer.string(&mut self.word, MAX_WORD)?;
                    let text = std::str::from_utf8(&self.word).map_err(|_| self.lexer.syntax("a date"))?;
                    file.last_modified.clear();
                    file.last_modified.push_str(text);
                }
                b"Checksum-Algorithm" if algorithm.is_none() => {
                    algorithm = Some(self.parsed::<ChecksumAlgorithm>("a checksum algorithm")?);
                }
                b"Checksum" if checksum.is_none() => checksum = Some(self.checksum()?),
                b"Path" | b"Encoded-Path" | b"Size" | b"Checksum-Algorithm" | b"Checksum" => {
                    return Err(self.lexer.syntax("each key of a file once"));
                }
                _ => self.lexer.skip(&mut self.word, 0)?,
            }
            if !self.lexer.more(b'}')? {
                break;
            }
        }
        let offset = self.lexer.offset();
        if !path {
            return Err(ManifestError::Missing { key: "Path", offset });
        }
        if !size {
            return Err(ManifestError::Missing { key: "Size", offset });
        }
        file.algorithm = algorithm.unwrap_or(ChecksumAlgorithm::None);
        file.checksum = checksum.unwrap_or(Checksum::EMPTY);
        if file.checksum.as_bytes().len() != file.algorithm.length() {
            return Err(self.lexer.syntax("a checksum as long as its algorithm says"));
        }
        Ok(())
    }

    fn wal_ranges(&mut self) -> Result<(), ManifestError> {
        self.lexer.expect(b'[', "a list")?;
        if self.lexer.peek_token()? == Some(b']') {
            return self.lexer.expect(b']', "the end of the list");
        }
        loop {
            let range = self.wal_range()?;
            if self.summary.wal_ranges.len() >= MAX_WAL_RANGES {
                return Err(self.lexer.syntax("fewer WAL ranges"));
            }
            self.summary.wal_ranges.push(range);
            if !self.lexer.more(b']')? {
                return Ok(());
            }
        }
    }

    fn wal_range(&mut self) -> Result<WalRange, ManifestError> {
        let (mut timeline, mut start, mut end) = (None, None, None);
        self.lexer.expect(b'{', "an object")?;
        loop {
            self.lexer.string(&mut self.word, MAX_WORD)?;
            self.lexer.expect(b':', "a colon")?;
            match self.word.as_slice() {
                b"Timeline" => {
                    let number = u32::try_from(self.lexer.number()?).ok().and_then(Timeline::new);
                    timeline = Some(number.ok_or_else(|| self.lexer.syntax("a timeline"))?);
                }
                b"Start-LSN" => start = Some(self.parsed::<Lsn>("an LSN")?),
                b"End-LSN" => end = Some(self.parsed::<Lsn>("an LSN")?),
                _ => return Err(self.lexer.syntax("a key of a WAL range")),
            }
            if !self.lexer.more(b'}')? {
                break;
            }
        }
        match (timeline, start, end) {
            (Some(timeline), Some(start), Some(end)) => Ok(WalRange { timeline, start, end }),
            _ => Err(ManifestError::Missing {
                key: "Timeline, Start-LSN, End-LSN",
                offset: self.lexer.offset(),
            }),
        }
    }
}
