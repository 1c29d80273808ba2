//! An archive's file, told to the disk as it grows.

use std::fs::File;
use std::io::{self, Write};

use crate::sync::WriteBehind;

#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// Without it nobody waits for the disk.
    behind: Option<WriteBehind>,
}

impl Output {
    pub(super) fn new(file: File, write_back: bool) -> Self {
        Self { file, behind: write_back.then(WriteBehind::default) }
    }

    pub(super) fn into_file(self) -> File {
        self.file
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        if let Some(behind) = &mut self.behind {
            behind.wrote(&self.file, count as u64);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
