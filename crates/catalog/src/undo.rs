//! From a file as it is stored to its content: first what encrypted it is undone, then what compressed it.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _};

use thiserror::Error;
use walfile::codec::{Compression, decoder, detect};

use crate::custom_filter::CustomFilter;
use crate::gpg::Gpg;
use crate::{encryption, same_content};

/// The key or its passphrase is not here, or `gpg` is not; that says nothing about the data, and does not pass by itself.
#[derive(Debug, Error)]
#[error("{0}")]
struct CannotDecrypt(io::Error);

/// Whether this is an error of a file that cannot be decrypted here, as nowhere on a host that only has the public key.
pub(crate) fn cannot_decrypt(error: &io::Error) -> bool {
    let mut cause = error.get_ref().map(|inner| inner as &(dyn std::error::Error + 'static));
    while let Some(inner) = cause {
        if inner.is::<CannotDecrypt>() {
            return true;
        }
        cause = match inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // A codec's error may hide the one of reading.
            Some(hidden) => Some(hidden),
            None => inner.source(),
        };
    }
    false
}

/// Names the errors of `gpg` itself. Not that somebody stopped it, nor those of reading its input.
fn cannot(gpg: &Gpg, error: io::Error) -> io::Error {
    use io::ErrorKind::{NotFound, PermissionDenied, TimedOut};
    match error.kind() {
        kind @ (NotFound | PermissionDenied | TimedOut) if !gpg.is_stopped() => {
            io::Error::new(kind, CannotDecrypt(error))
        }
        _ => error,
    }
}

struct Decrypting<R> {
    inner: R,
    gpg: Gpg,
}

impl<R: Read> Read for Decrypting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| cannot(&self.gpg, error))
    }
}

/// The programs that undo what the codecs built in do not know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Undo<'a> {
    pub(crate) custom: Option<&'a CustomFilter>,
    pub(crate) gpg: Option<&'a Gpg>,
}

impl<'a> From<Option<&'a CustomFilter>> for Undo<'a> {
    fn from(custom: Option<&'a CustomFilter>) -> Self {
        Self { custom, gpg: None }
    }
}

impl Undo<'_> {
    /// The content of the file, read from its start.
    pub(crate) fn open(self, mut file: File) -> io::Result<Box<dyn Read + Send>> {
        file.rewind()?;
        let mut first = [0; 16];
        let got = same_content::read_up_to(&mut file, &mut first)?;
        file.rewind()?;
        let first = first.get(..got).unwrap_or_default();
        if encryption::detect(first).is_some() {
            return self.decrypted(&file);
        }
        if let Some(custom) = self.custom.filter(|custom| custom.wrote(first)) {
            return Ok(Box::new(custom.decompressor(&file)?));
        }
        match detect(first) {
            Compression::None => Ok(Box::new(file)),
            codec => Ok(Box::new(decoder(io::BufReader::with_capacity(64 * 1024, file), codec)?)),
        }
    }

    fn decrypted(self, file: &File) -> io::Result<Box<dyn Read + Send>> {
        let gpg = self.gpg.ok_or_else(|| {
            // As damage: whoever has no way to decrypt can tell nothing about the content.
            io::Error::new(io::ErrorKind::InvalidData, "it is encrypted")
        })?;
        let mut content =
            Decrypting { inner: gpg.decrypt(file).map_err(|e| cannot(gpg, e))?, gpg: gpg.clone() };
        let mut first = [0; 16];
        let got = same_content::read_up_to(&mut content, &mut first)?;
        let start = first.get(..got).unwrap_or_default().to_vec();
        let custom = self.custom.filter(|custom| custom.wrote(&start));
        let codec = detect(&start);
        let content = Cursor::new(start).chain(content);
        match (custom, codec) {
            (Some(custom), _) => custom.decompress_from(Box::new(content)),
            (None, Compression::None) => Ok(Box::new(content)),
            (None, codec) => Ok(Box::new(decoder(content, codec)?)),
        }
    }
}
