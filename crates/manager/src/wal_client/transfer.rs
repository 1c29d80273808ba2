//! What passes through on the way: counted, hashed, and exactly as long as announced.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::Digest as _;
use walfile::codec::{self, Compression, Level};

/// One of the two checksums of `put-wal`.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(sha2::Sha256),
    Md5(md5::Md5),
}

impl Hasher {
    pub(crate) fn sha256() -> Self {
        Self::Sha256(sha2::Sha256::new())
    }

    pub(crate) fn md5() -> Self {
        Self::Md5(md5::Md5::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Md5(hash) => hash.update(bytes),
        }
    }

    /// Lower-case hexadecimal.
    pub(crate) fn finish(self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sha256(hash) => hex(&hash.finalize()),
            Self::Md5(hash) => hex(&hash.finalize()),
        }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sha256(_) => "Sha256",
            Self::Md5(_) => "Md5",
        })
    }
}

/// Exactly `left` more bytes of `inner`: fewer are an error, more are not asked for. Hashes what passes.
pub(super) struct Exactly<'a, R> {
    pub(super) inner: R,
    pub(super) left: u64,
    pub(super) hash: &'a mut Hasher,
}

impl<R: Read> Read for Exactly<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let Some(buf) = buf.get_mut(..room).filter(|buf| !buf.is_empty()) else { return Ok(0) };
        let got = self.inner.read(buf)?;
        if got == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        self.hash.update(buf.get(..got).unwrap_or_default());
        self.left -= got as u64;
        Ok(got)
    }
}

/// Tells the watch that bytes move.
pub(super) struct Counted<'a, T> {
    pub(super) inner: T,
    pub(super) moved: &'a AtomicU64,
}

impl<T: Read> Read for Counted<'_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        self.moved.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

impl<T: Write> Write for Counted<'_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let done = self.inner.write(buf)?;
        self.moved.fetch_add(done as u64, Ordering::Relaxed);
        Ok(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Compresses a whole file into another, and returns that one's length.
pub(super) fn compress(
    mut from: impl Read,
    to: &mut File,
    compression: Compression,
    level: Level,
    mut stopped: impl FnMut() -> bool,
) -> io::Result<u64> {
    let mut encoder = codec::encoder(io::BufWriter::with_capacity(64 * 1024, &*to), compression, level)?;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if stopped() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        encoder.write_all(buffer.get(..got).unwrap_or_default())?;
    }
    encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    let length = to.metadata()?.len();
    io::Seek::rewind(to)?;
    Ok(length)
}
