//! What undoes the encryption of an archive: somebody else's business, handed in as a function.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

type Open = dyn Fn(&File) -> io::Result<Box<dyn Read + Send>> + Send + Sync;

/// Opens an encrypted file: from the file, at its start, to a reader of what is in it.
#[derive(Clone)]
pub struct Decrypt(Arc<Open>);

impl Decrypt {
    /// By this function.
    pub fn by(open: impl Fn(&File) -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    /// A reader of the content.
    ///
    /// # Errors
    /// What the function says.
    pub fn open(&self, file: &File) -> io::Result<Box<dyn Read + Send>> {
        (self.0)(file)
    }
}

impl fmt::Debug for Decrypt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decrypt").finish_non_exhaustive()
    }
}
