//! PostgreSQL 17's format of summaries (`blkreftable.c`).
//!
//! ```text
//!  65 2B 13 7B (a number, so little-endian: 7B 13 2B 65)
//!  for each fork, ordered by tablespace, database, file and fork:
//!    tablespace  database  file  fork  limit block  chunks      6 x 4 bytes
//!    words of each chunk                                        2 bytes each
//!    the chunks: below 4096 words the offsets of blocks, otherwise a bitmap of 65536 bits
//!  24 zero bytes
//!  CRC-32C of all that
//! ```

use std::io::{self, Read, Write};

use thiserror::Error;

use crate::changed_blocks::chunk::{BITMAP_WORDS, Chunk};
use crate::changed_blocks::{ChangedBlocks, ForkChanges, ForkId};
use crate::record::{Fields, Fork, RelFile};

const MAGIC: u32 = 0x652B_137B;
const ENTRY_LEN: usize = 24;
/// Every block has a number of 32 bits.
const MAX_CHUNKS: u32 = 1 << 16;

/// A summary that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SummaryError {
    /// Reading failed.
    #[error("cannot read the WAL summary: {0}")]
    Io(#[source] io::Error),
    /// It ends too early.
    #[error("the WAL summary ends in the middle, after {read} bytes")]
    Ends {
        /// Bytes that were complete.
        read: u64,
    },
    /// It is none.
    #[error("no WAL summary: it begins with {found:08X}, not with {MAGIC:08X}")]
    Magic {
        /// What is there.
        found: u32,
    },
    /// No such fork.
    #[error("the WAL summary has an entry for fork {fork} of {relation}")]
    Fork {
        /// The relation.
        relation: RelFile,
        /// The number of the fork.
        fork: u32,
    },
    /// Entries ascend.
    #[error("the entry for {id} is out of order in the WAL summary")]
    Order {
        /// The entry.
        id: ForkId,
    },
    /// More chunks than there are blocks, or a chunk with more words than a bitmap has.
    #[error("the WAL summary says {found} where at most {maximum} can be, for {id}")]
    Length {
        /// The entry.
        id: ForkId,
        /// What it says.
        found: u32,
        /// What is possible.
        maximum: u32,
    },
    /// Its checksum is wrong.
    #[error("the checksum of the WAL summary is {found:08X}, that of its bytes {computed:08X}")]
    Crc {
        /// What its bytes give.
        computed: u32,
        /// What it says.
        found: u32,
    },
    /// Something follows it.
    #[error("the WAL summary goes on after its end")]
    Trailing,
}

/// Reads a summary fork by fork.
///
/// Memory: one fork's changes, which grow only with bytes that came. Give it something buffered.
///
/// ```no_run
/// # fn open() -> std::io::Result<std::fs::File> { unimplemented!() }
/// use walfile::changed_blocks::SummaryReader;
///
/// let mut summary = SummaryReader::new(std::io::BufReader::new(open()?))?;
/// while let Some((fork, changes)) = summary.next_fork()? {
///     println!("{fork}: {} blocks", changes.len());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SummaryReader<R> {
    inner: R,
    crc: u32,
    read: u64,
    last: Option<ForkId>,
    ended: bool,
    buffer: Vec<u8>,
}

impl<R: Read> SummaryReader<R> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// When it is not that of a summary.
    pub fn new(inner: R) -> Result<Self, SummaryError> {
        let mut reader = Self { inner, crc: 0, read: 0, last: None, ended: false, buffer: Vec::new() };
        match u32::from_le_bytes(reader.array()?) {
            MAGIC => Ok(reader),
            found => Err(SummaryError::Magic { found }),
        }
    }

    /// The next fork; `None` at the end, once the checksum was found to be right.
    ///
    /// # Errors
    /// When the summary is damaged or cannot be read. What came before may be damaged too, unless the end is reached.
    pub fn next_fork(&mut self) -> Result<Option<(ForkId, ForkChanges)>, SummaryError> {
        if self.ended {
            return Ok(None);
        }
        let entry: [u8; ENTRY_LEN] = self.array()?;
        if entry == [0; ENTRY_LEN] {
            return self.end().map(|()| None);
        }
        let mut fields = Fields::new(&entry);
        let relation = RelFile::read(&mut fields).unwrap_or_default();
        let [fork, limit, count] = [(); 3].map(|()| fields.u32().unwrap_or_default());
        let fork = Fork::from_number(fork).ok_or(SummaryError::Fork { relation, fork })?;
        let id = ForkId { relation, fork };
        if self.last.replace(id).is_some_and(|last| last >= id) {
            return Err(SummaryError::Order { id });
        }
        if count > MAX_CHUNKS {
            return Err(SummaryError::Length { id, found: count, maximum: MAX_CHUNKS });
        }
        let sizes = self.sizes(count)?;
        let mut changes = ForkChanges { limit, chunks: Vec::new() };
        for (number, words) in (0u16..=u16::MAX).zip(sizes) {
            if words > BITMAP_WORDS {
                return Err(SummaryError::Length { id, found: words.into(), maximum: BITMAP_WORDS.into() });
            }
            if words > 0 {
                self.fill(usize::from(words) * 2)?;
                changes.chunks.push((number, Chunk::decode(&self.buffer)));
            }
        }
        Ok(Some((id, changes)))
    }

    fn sizes(&mut self, count: u32) -> Result<Vec<u16>, SummaryError> {
        // At most 128 KiB.
        self.fill(usize::try_from(count).unwrap_or(0) * 2)?;
        Ok(self.buffer.as_chunks().0.iter().map(|size| u16::from_le_bytes(*size)).collect())
    }

    fn end(&mut self) -> Result<(), SummaryError> {
        let computed = self.crc;
        let found = u32::from_le_bytes(self.array()?);
        if found != computed {
            return Err(SummaryError::Crc { computed, found });
        }
        match self.array::<1>() {
            Err(SummaryError::Ends { .. }) => {}
            Ok(_) => return Err(SummaryError::Trailing),
            Err(error) => return Err(error),
        }
        self.ended = true;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SummaryError> {
        let mut bytes = [0; N];
        read_exact(&mut self.inner, &mut bytes, &mut self.crc, &mut self.read)?;
        Ok(bytes)
    }

    fn fill(&mut self, length: usize) -> Result<(), SummaryError> {
        self.buffer.resize(length, 0);
        read_exact(&mut self.inner, &mut self.buffer, &mut self.crc, &mut self.read)
    }
}

fn read_exact(
    inner: &mut impl Read,
    bytes: &mut [u8],
    crc: &mut u32,
    read: &mut u64,
) -> Result<(), SummaryError> {
    inner.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SummaryError::Ends { read: *read },
        _ => SummaryError::Io(error),
    })?;
    *crc = crc32c::crc32c_append(*crc, bytes);
    *read += bytes.len() as u64;
    Ok(())
}

/// Writes a summary fork by fork. Give it something buffered.
#[derive(Debug)]
pub struct SummaryWriter<W> {
    inner: W,
    crc: u32,
    last: Option<ForkId>,
    buffer: Vec<u8>,
}

impl<W: Write> SummaryWriter<W> {
    /// Writes the beginning.
    ///
    /// # Errors
    /// When writing fails.
    pub fn new(inner: W) -> io::Result<Self> {
        let mut writer = Self { inner, crc: 0, last: None, buffer: Vec::new() };
        writer.buffer.extend(MAGIC.to_le_bytes());
        writer.flush_buffer()?;
        Ok(writer)
    }

    /// Writes one fork. They ascend.
    ///
    /// # Errors
    /// When writing fails; [`io::ErrorKind::InvalidInput`] for a fork that is not after the one before.
    pub fn write_fork(&mut self, fork: ForkId, changes: &ForkChanges) -> io::Result<()> {
        if self.last.replace(fork).is_some_and(|last| last >= fork) {
            let text = format!("{fork} is out of order in a WAL summary");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let chunks = changes.chunks.iter().filter(|(_, chunk)| chunk.words() > 0);
        let count = chunks.clone().next_back().map_or(0, |(number, _)| u32::from(*number) + 1);
        let RelFile { tablespace, database, number } = fork.relation;
        for word in [tablespace.get(), database.get(), number, fork.fork as u32, changes.limit, count] {
            self.buffer.extend(word.to_le_bytes());
        }
        let mut next = 0;
        for (number, chunk) in chunks.clone() {
            // Chunks between are empty.
            self.buffer.resize(self.buffer.len() + 2 * (usize::from(*number) - next), 0);
            self.buffer.extend(chunk.words().to_le_bytes());
            next = usize::from(*number) + 1;
        }
        for (_, chunk) in chunks {
            self.flush_buffer()?;
            chunk.encode(&mut self.buffer);
        }
        self.flush_buffer()
    }

    /// Writes the end; what is behind it is still to be flushed.
    ///
    /// # Errors
    /// When writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.buffer.resize(ENTRY_LEN, 0);
        self.flush_buffer()?;
        self.inner.write_all(&self.crc.to_le_bytes())?;
        Ok(self.inner)
    }

    fn flush_buffer(&mut self) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, &self.buffer);
        self.inner.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl ChangedBlocks {
    /// Reads a summary of PostgreSQL 17 or later. Give it something buffered.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    pub fn read_summary(reader: impl Read) -> Result<Self, SummaryError> {
        let mut reader = SummaryReader::new(reader)?;
        let mut blocks = Self::new();
        while let Some((fork, changes)) = reader.next_fork()? {
            blocks.insert(fork, changes);
        }
        Ok(blocks)
    }

    /// Writes a summary as PostgreSQL 17 and later does: of the same records, the same bytes.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write_summary(&self, writer: impl Write) -> io::Result<()> {
        let mut writer = SummaryWriter::new(writer)?;
        for (fork, changes) in self.forks() {
            writer.write_fork(*fork, changes)?;
        }
        writer.finish()?.flush()
    }
}
