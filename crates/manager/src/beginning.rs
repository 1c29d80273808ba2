//! The beginning of a file that may not be there.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// At most so many bytes of a file; `None` when there is none.
pub(crate) fn read_beginning(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(most).read_to_end(&mut bytes).map(|_| Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
