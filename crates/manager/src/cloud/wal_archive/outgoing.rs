//! A WAL file on its way into an object.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use tapster_cloud::{CloudError, Store, Upload, WriteOptions};
use walfile::WalName;
use walfile::codec::{self, Compression, Level};

use super::super::CloudWalError;

/// Up to here an object is one request, which the store takes whole or not at all, and refuses when there is such an object.
/// A segment of the usual size is not more.
const ONE_REQUEST: usize = 16 << 20;

/// What is written becomes the object when [`finish`](Self::finish) is called, and nothing otherwise.
pub(in super::super) struct Outgoing<'s> {
    store: &'s Store,
    key: String,
    options: WriteOptions,
    body: Body,
}

enum Body {
    Memory(Vec<u8>),
    Parts(Box<Upload>),
}

impl<'s> Outgoing<'s> {
    /// `expected` is about how many bytes there will be.
    pub(in super::super) fn new(
        store: &'s Store,
        key: &str,
        mut options: WriteOptions,
        expected: u64,
    ) -> Self {
        options.expected_size = Some(expected);
        let room = usize::try_from(expected).unwrap_or(usize::MAX).min(ONE_REQUEST);
        Self { store, key: key.to_owned(), options, body: Body::Memory(Vec::with_capacity(room)) }
    }

    /// Takes all of `source`, which is `name`, compressed.
    pub(in super::super) fn fill(
        self,
        name: WalName,
        source: &mut impl Read,
        compression: Compression,
        level: Level,
    ) -> Result<Self, CloudWalError> {
        let path = || PathBuf::from(name.to_string());
        let compress = |source| CloudWalError::Compress { path: path(), compression, source };
        let written =
            |error: io::Error| error.downcast::<CloudError>().map_or_else(compress, CloudWalError::Store);
        let mut encoder = codec::encoder(self, compression, level).map_err(|e| compress(e.into()))?;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => encoder.write_all(buffer.get(..got).unwrap_or_default()).map_err(written)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(CloudWalError::Read { path: path(), source }),
            }
        }
        encoder.finish().map_err(written)
    }

    /// The object is durable when this returns.
    pub(in super::super) fn finish(self) -> Result<(), CloudError> {
        let bytes = match self.body {
            Body::Parts(upload) => return upload.finish().map(drop),
            Body::Memory(bytes) => tapster_cloud::Bytes::from(bytes),
        };
        self.store.put(&self.key, bytes, &self.options)
    }
}

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Body::Memory(held) = &mut self.body {
            if held.len() + bytes.len() <= ONE_REQUEST {
                held.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            let mut upload = self.store.upload(&self.key, self.options.clone()).map_err(io::Error::other)?;
            upload.write_all(held)?;
            self.body = Body::Parts(Box::new(upload));
        }
        match &mut self.body {
            Body::Parts(upload) => upload.write(bytes),
            Body::Memory(_) => Ok(0),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
