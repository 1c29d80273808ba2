//! How WAL goes into the archive, and who watches.

use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use walfile::codec::{Compression, Level};
use walfile::{SegmentSize, WalName};

use super::Outcome;
use crate::custom_filter::CustomFilter;
use crate::gpg::Gpg;
use crate::undo::Undo;
use crate::{ServerLayout, WalObjects};

/// Where WAL comes from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Source {
    /// `streaming/`, written by a WAL receiver.
    Streaming,
    /// `incoming/`, written by `archive_command`.
    FileArchival,
}

impl Source {
    pub(super) fn dir(self, layout: &ServerLayout) -> &Path {
        match self {
            Self::Streaming => &layout.streaming,
            Self::FileArchival => &layout.incoming,
        }
    }
}

impl fmt::Display for Source {
    /// Barman's words: `streaming`, `file archival`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Streaming => "streaming",
            Self::FileArchival => "file archival",
        })
    }
}

/// Options of [`ingest`](super::ingest).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IngestOptions {
    /// Take from `streaming/` (`streaming_archiver`).
    pub streaming: bool,
    /// Take from `incoming/` (`archiver`).
    pub file_archival: bool,
    /// Objects of `streaming/` looked at in one run; zero for all (`streaming_archiver_batch_size`).
    pub streaming_batch_size: usize,
    /// Objects of `incoming/` looked at in one run; zero for all (`archiver_batch_size`).
    pub file_archival_batch_size: usize,
    /// What archived files become (`compression`).
    pub compression: Compression,
    /// What the index calls it, when that is not the codec's own name: Barman writes `pigz`, `pygzip` and `pybzip2` as configured.
    pub compression_name: Option<String>,
    /// How hard to compress (`compression_level`).
    pub compression_level: Level,
    /// The user's own codec (`compression = custom`): used instead of `compression`, and recognised in what is there.
    pub custom: Option<CustomFilter>,
    /// Decrypts what is in the archive, to compare; and encrypts, with `encrypt`.
    pub gpg: Option<Gpg>,
    /// Encrypt what is archived (`encryption = gpg`). What comes encrypted stays as it is.
    pub encrypt: bool,
    /// Threads that check and compress.
    pub workers: usize,
    /// Files that become durable with one sync of the index; with several workers, twice as many are under way at most. With hook scripts set it to 1: each file is then archived before
    /// the next one begins, as in Barman.
    pub group: usize,
    /// The cluster's segment size; when unknown, the one in each file's own header counts.
    pub segment_size: Option<SegmentSize>,
    /// The cluster's system identifier; when unknown it is not compared.
    pub system_id: Option<u64>,
    /// Compare content with name before archiving. Off, any bytes with a WAL file's name are archived, as in Barman.
    pub validate: bool,
    /// Sum up each segment for the [`wal_index`](crate::wal_index).
    pub index: bool,
    /// A file that does not pass and changed so recently may still be being written (a plain `cp` as
    /// `archive_command`); it is left for the next run.
    pub settle: Duration,
    /// Where the archive is, when that is an object store: files are sent there instead of into the archive's directory. There is no
    /// encryption and no filter of the user's then.
    pub objects: Option<Arc<dyn WalObjects>>,
    /// The time of the run, for the names of refused files.
    pub now: OffsetDateTime,
}

impl IngestOptions {
    /// The defaults of a run at `now`: both sources, everything, uncompressed, validated.
    pub fn new(now: OffsetDateTime) -> Self {
        Self {
            streaming: true,
            file_archival: true,
            streaming_batch_size: 0,
            file_archival_batch_size: 0,
            compression: Compression::None,
            compression_name: None,
            compression_level: Level::Medium,
            custom: None,
            gpg: None,
            encrypt: false,
            workers: 1,
            group: 32,
            segment_size: None,
            system_id: None,
            validate: true,
            index: true,
            settle: Duration::from_secs(60),
            objects: None,
            now,
        }
    }

    pub(crate) const fn undo(&self) -> Undo<'_> {
        Undo { custom: self.custom.as_ref(), gpg: self.gpg.as_ref() }
    }

    pub(super) const fn batch_size(&self, source: Source) -> usize {
        match source {
            Source::Streaming => self.streaming_batch_size,
            Source::FileArchival => self.file_archival_batch_size,
        }
    }
}

/// A file on its way.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct IngestFile<'a> {
    /// Where it comes from.
    pub source: Source,
    /// Its name.
    pub name: WalName,
    /// Where it lies now.
    pub path: &'a Path,
    /// Where it is to lie.
    pub target: &'a Path,
    /// Its place in this run of this source, from 1.
    pub number: usize,
    /// Files in this run of this source.
    pub count: usize,
}

/// Watches a run; hook scripts are called from here. Every method does nothing by default.
pub trait IngestObserver {
    /// A source has been listed: `found` objects, of which `run` are archived now.
    fn source(&mut self, source: Source, found: usize, run: usize) {
        let _ = (source, found, run);
    }

    /// Before a file is touched. `Break` ends the run of this source, with the reason in the report
    /// (`pre_archive_retry_script` with exit code 63).
    fn before(&mut self, file: &IngestFile<'_>) -> ControlFlow<String> {
        let _ = file;
        ControlFlow::Continue(())
    }

    /// After a file. A file that failed gets no call of this; the run ends with the error.
    fn after(&mut self, file: &IngestFile<'_>, outcome: &Outcome) {
        let _ = (file, outcome);
    }

    /// A file failed; the run ends with this error.
    fn failed(&mut self, file: &IngestFile<'_>, error: &super::IngestError) {
        let _ = (file, error);
    }
}

/// Watches nothing.
impl IngestObserver for () {}
