//! A WAL file on its way into an object.

use std::io::{self, Write};

use tapster_cloud::{CloudError, PutMode, Store, Upload, WriteOptions};

/// Up to here an object is one request, which the store takes whole or not at all, and refuses when there is such an object.
/// A segment of the usual size is not more.
const ONE_REQUEST: usize = 16 << 20;

/// What is written becomes the object when [`finish`](Self::finish) is called, and nothing otherwise.
pub(super) struct Outgoing<'s> {
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
    pub(super) fn new(store: &'s Store, key: &str, mut options: WriteOptions, expected: u64) -> Self {
        options.mode = PutMode::Create;
        options.expected_size = Some(expected);
        let room = usize::try_from(expected).unwrap_or(usize::MAX).min(ONE_REQUEST);
        Self { store, key: key.to_owned(), options, body: Body::Memory(Vec::with_capacity(room)) }
    }

    /// The object is durable when this returns.
    pub(super) fn finish(self) -> Result<(), CloudError> {
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
