//! The objects below `wals/`: names, endings, and what there is of a segment.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use tapster_cloud::CloudError;
use walfile::codec::{self, Compression, DETECT_LEN};
use walfile::{SegmentName, SegmentSize, WalName};

use super::{CloudServer, CloudWalError};

/// A file in the archive, in the form it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct StoredWal {
    pub(super) name: WalName,
    pub(super) key: String,
}

/// What Barman 3.19 appends to the name of a compressed file (`barman/clients/cloud_walarchive.py`).
pub(crate) const fn ending(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "",
        Compression::Gzip => ".gz",
        Compression::Bzip2 => ".bz2",
        Compression::Xz => ".xz",
        Compression::Zstd => ".zst",
        Compression::Lz4 => ".lz4",
        Compression::Snappy => ".snappy",
    }
}

impl StoredWal {
    /// Of a key below `wals/`; `None` for other objects. It is the one reader of these names: what is planned, restored and removed
    /// by them must be the same.
    pub(super) fn of(key: &str) -> Option<Self> {
        let file = key.rsplit('/').next()?;
        let bare = Compression::ALL.iter().filter(|format| **format != Compression::None);
        let stem = bare.filter_map(|format| file.strip_suffix(ending(*format))).next().unwrap_or(file);
        Some(Self { name: stem.parse().ok()?, key: key.to_owned() })
    }
}

impl CloudServer {
    /// What is archived of `from` and of what follows it in its directory, in the order of the keys, until `take` says `false`.
    pub(super) fn wals_from(
        &self,
        from: SegmentName,
        mut take: impl FnMut(StoredWal) -> bool,
    ) -> Result<(), CloudError> {
        let first = self.layout().wal(from.into());
        let dir = first.rsplit_once('/').map_or("", |(dir, _)| dir);
        // Of all keys with a digit less, those that begin so come right after it.
        let after = first.get(..first.len().saturating_sub(1)).unwrap_or_default();
        for object in self.store().list_after(dir, after) {
            let object = object?;
            if object.key < first {
                continue;
            }
            if StoredWal::of(&object.key).is_some_and(|stored| !take(stored)) {
                break;
            }
        }
        Ok(())
    }

    /// Every form in which `name` is archived. A segment has its partial ones too.
    pub(super) fn forms(&self, name: WalName) -> Result<Vec<StoredWal>, CloudError> {
        let mut found = Vec::new();
        match name {
            WalName::History(_) => {
                // Listing them would list everything that is archived, where the store cannot begin at a key.
                let store = self.store();
                let keys = Compression::ALL.map(|c| format!("{}{}", self.layout().wal(name), ending(c)));
                let heads: Vec<_> = std::thread::scope(|scope| {
                    let asked: Vec<_> = keys.iter().map(|key| scope.spawn(|| store.head(key))).collect();
                    asked.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
                });
                for (key, head) in keys.into_iter().zip(heads) {
                    match head {
                        Ok(Ok(_)) => found.push(StoredWal { name, key }),
                        Ok(Err(CloudError::NotFound { .. })) => {}
                        Ok(Err(error)) => return Err(error),
                        Err(_) => return Err(CloudError::Stopped),
                    }
                }
            }
            WalName::Segment(segment)
            | WalName::Partial(segment)
            | WalName::BackupLabel { start: segment, .. } => {
                self.wals_from(segment, |stored| {
                    let is_of_it = stored.name.segment() == Some(segment);
                    if is_of_it {
                        found.push(stored);
                    }
                    is_of_it
                })?;
                found.retain(|stored| {
                    stored.name == name
                        || (name == segment.into() && stored.name == WalName::Partial(segment))
                });
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// The content of an archived file, decompressed as its first bytes say: at most one byte more than the largest segment.
    pub(super) fn open_wal(&self, stored: &StoredWal) -> Result<Box<dyn Read + Send>, CloudWalError> {
        let mut input = self.store().get(&stored.key, None)?;
        let mut start = Vec::with_capacity(DETECT_LEN);
        (&mut input)
            .take(DETECT_LEN as u64)
            .read_to_end(&mut start)
            .map_err(|e| self.unreadable(stored, e))?;
        let compression = codec::detect(&start);
        let whole = io::Cursor::new(start).chain(input);
        let content = Decoded::new(whole, |whole| codec::decoder(whole, compression))
            .map_err(|e| self.unreadable(stored, e.into()))?;
        Ok(Box::new(content.take(SegmentSize::MAX.bytes() + 1)))
    }

    /// What reading failed for: the store, or what it has.
    pub(super) fn unreadable(&self, stored: &StoredWal, error: io::Error) -> CloudWalError {
        match error.downcast::<CloudError>() {
            Ok(error) => error.into(),
            Err(problem) => CloudWalError::Content {
                name: stored.name.to_string(),
                store: self.store().url().to_string(),
                key: stored.key.clone(),
                problem: problem.to_string(),
            },
        }
    }
}

/// Between the store and a decoder: keeps the store's own error, of which a decoder may leave no more than a text, or nothing.
struct Source<R> {
    input: R,
    failed: Failed,
}

/// Behind the decoder: what failed is the store, whatever the decoder made of it.
struct Decoded<D> {
    decoder: D,
    failed: Failed,
}

type Failed = Arc<Mutex<Option<CloudError>>>;

impl<D> Decoded<D> {
    fn new<R: Read, E>(input: R, decoder: impl FnOnce(Source<R>) -> Result<D, E>) -> Result<Self, E> {
        let failed = Failed::default();
        Ok(Self { decoder: decoder(Source { input, failed: Arc::clone(&failed) })?, failed })
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer).map_err(|error| match error.downcast::<CloudError>() {
            Ok(error) => {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                io::Error::other("the store has failed")
            }
            Err(error) => error,
        })
    }
}

impl<D: Read> Read for Decoded<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer);
        match self.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(io::Error::other(error)),
            None => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that refuses after some bytes.
    struct Refusing(bool);

    impl Read for Refusing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                let (store, key) = ("s3://b".to_owned(), "k".to_owned());
                let reason = "expired".to_owned();
                return Err(io::Error::other(CloudError::Denied { store, action: "reading", key, reason }));
            }
            buffer.fill(7);
            Ok(buffer.len())
        }
    }

    struct Decoder<R>(Source<R>, fn(io::Error) -> io::Result<usize>);

    impl<R: Read> Read for Decoder<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer).or_else(self.1)
        }
    }

    #[test]
    fn names_of_objects_are_read_with_one_ending() {
        let name: SegmentName = "000000010000000000000001".parse().unwrap();
        let of =
            |file: String| StoredWal::of(&format!("main/wals/0000000100000000/{file}")).map(|wal| wal.name);
        assert_eq!(of(name.to_string()), Some(name.into()));
        for format in Compression::ALL {
            assert_eq!(of(format!("{name}{}", ending(format))), Some(name.into()));
            assert_eq!(of(format!("{name}.partial{}", ending(format))), Some(WalName::Partial(name)));
        }
        assert_eq!(of("00000002.history.gz".to_owned()), "00000002.history".parse().ok());
        for other in
            [format!("{name}.gz.gz"), format!("{name}.rar"), format!("{name}.bak"), "notes.txt".to_owned()]
        {
            assert_eq!(of(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn the_error_of_the_store_comes_through_every_decoder() {
        let manners: [fn(io::Error) -> io::Result<usize>; 4] = [
            Err,
            |error| Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            |error| Err(io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string())),
            |_| Ok(0),
        ];
        for manner in manners {
            let input = Refusing(false);
            let mut content =
                Decoded::new(input, |source| Ok::<_, io::Error>(Decoder(source, manner))).unwrap();
            assert_eq!(content.read(&mut [0; 10]).unwrap(), 10);
            let error = content.read(&mut [0; 10]).unwrap_err().downcast::<CloudError>().unwrap();
            assert!(matches!(error, CloudError::Denied { .. }), "{error}");
        }
    }
}
