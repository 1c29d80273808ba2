//! An archive's file, told to the disk as it grows.

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::os::fd::AsFd;

use rustix::fs::{Advice, fadvise};

/// After so many bytes the kernel is told to start storing them, so that the last fsync has little left to do.
const WRITE_BACK: u64 = 8 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Output {
    file: File,
    write_back: bool,
    written: u64,
    /// Bytes the kernel was told to store.
    started: u64,
}

impl Output {
    pub(super) const fn new(file: File, write_back: bool) -> Self {
        Self { file, write_back, written: 0, started: 0 }
    }

    pub(super) fn into_file(self) -> File {
        self.file
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written = self.written.saturating_add(count as u64);
        let waiting = self.written.saturating_sub(self.started);
        if self.write_back && waiting >= WRITE_BACK {
            // `POSIX_FADV_DONTNEED` makes Linux begin storing the range and go on at once. Only advice.
            let _ = fadvise(self.file.as_fd(), self.started, NonZeroU64::new(waiting), Advice::DontNeed);
            self.started = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
