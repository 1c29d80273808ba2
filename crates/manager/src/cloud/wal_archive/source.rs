//! A WAL file here, as it is read to be archived.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use walfile::codec::{self, Compression, DETECT_LEN};
use walfile::{SegmentSize, SystemId, WalName};

use super::super::CloudWalError;
use super::super::wal_content::{START, check_length, check_start};
use crate::put_wal::NotThisWal;

/// Which file this is, and of which state: PostgreSQL gives the files of old segments new names and contents, a restore makes others
/// of the same names. Any of that changes one of these numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FileState([i128; 5]);

impl FileState {
    pub(super) fn of(metadata: &Metadata) -> Self {
        let time =
            |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Self([
            i128::from(metadata.dev()),
            i128::from(metadata.ino()),
            i128::from(metadata.len()),
            time(metadata.mtime(), metadata.mtime_nsec()),
            time(metadata.ctime(), metadata.ctime_nsec()),
        ])
    }

    /// One line, by which a later process knows it again.
    pub(super) fn to_line(self) -> String {
        let [dev, ino, len, mtime, ctime] = self.0;
        format!("{dev} {ino} {len} {mtime} {ctime}\n")
    }
}

/// An open WAL file. Reading it gives its content, decompressed if somebody compressed it on the way here.
pub(super) struct Source {
    path: PathBuf,
    name: WalName,
    /// What was opened, and is looked at once more at the end.
    opened: File,
    state: FileState,
    content: Box<dyn Read + Send>,
    size: Option<SegmentSize>,
    /// Whose WAL it is; unknown of texts.
    pub(super) system_id: Option<SystemId>,
    /// Bytes of the file.
    pub(super) length: u64,
    read: u64,
}

impl Source {
    pub(super) fn open(path: &Path, name: WalName) -> Result<Self, CloudWalError> {
        let failed = |source| CloudWalError::Read { path: path.to_owned(), source };
        let opened = File::open(path).map_err(failed)?;
        let metadata = opened.metadata().map_err(failed)?;
        let not_this = |problem| CloudWalError::NotThisWal { path: path.to_owned(), problem };
        if !metadata.is_file() {
            return Err(not_this(NotThisWal::FileType));
        }
        let mut reader = opened.try_clone().map_err(failed)?;
        let mut start = Vec::with_capacity(DETECT_LEN);
        (&mut reader).take(DETECT_LEN as u64).read_to_end(&mut start).map_err(failed)?;
        let compression = codec::detect(&start);
        let whole = io::Cursor::new(start).chain(reader);
        let mut content: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(whole),
            _ => Box::new(codec::decoder(whole, compression).map_err(|e| failed(e.into()))?),
        };
        let mut start = Vec::with_capacity(START);
        (&mut content).take(START as u64).read_to_end(&mut start).map_err(failed)?;
        let (size, system_id) = check_start(name, &start).map_err(not_this)?.unzip();
        if compression == Compression::None {
            check_length(name, size, metadata.len()).map_err(not_this)?;
        }
        let content = Box::new(io::Cursor::new(start).chain(content).take(SegmentSize::MAX.bytes() + 1));
        let (state, length) = (FileState::of(&metadata), metadata.len());
        Ok(Self { path: path.to_owned(), name, opened, state, content, size, system_id, length, read: 0 })
    }

    /// The same file from its first byte. It must not have changed.
    pub(super) fn reopen(&self) -> Result<Self, CloudWalError> {
        let again = Self::open(&self.path, self.name)?;
        if again.state == self.state {
            Ok(again)
        } else {
            Err(CloudWalError::Changed { path: self.path.clone() })
        }
    }

    /// Call it when all was read: only then is it certain that all of it was one and the same file of the right length.
    pub(super) fn finish(&self) -> Result<FileState, CloudWalError> {
        let path = || self.path.clone();
        check_length(self.name, self.size, self.read)
            .map_err(|problem| CloudWalError::NotThisWal { path: path(), problem })?;
        let metadata =
            self.opened.metadata().map_err(|source| CloudWalError::Read { path: path(), source })?;
        if FileState::of(&metadata) == self.state {
            Ok(self.state)
        } else {
            Err(CloudWalError::Changed { path: path() })
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.content.read(buffer)?;
        self.read += got as u64;
        Ok(got)
    }
}
