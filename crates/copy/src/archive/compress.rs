//! Compression of an archive, beside the stream it comes from.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use thiserror::Error;

use super::blocks::{Blocks, Format};
use super::output::Output;

/// How archives are compressed on this side.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ArchiveCompression {
    /// Not.
    #[default]
    None,
    /// gzip, level 0 to 9, on all processors: one gzip member, as pigz makes it.
    Gzip(u32),
    /// lz4 on all processors, one frame; there is one level.
    Lz4,
    /// zstd, level -131072 to 22 (0: the usual one), with so many worker threads (0: none besides the archive's own).
    Zstd {
        /// The level.
        level: i32,
        /// Threads.
        workers: u32,
    },
}

/// A level that the method does not have.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{method} compression has no level {level}: expected {expected}")]
#[non_exhaustive]
pub struct CompressionError {
    /// The method.
    pub method: &'static str,
    /// The level asked for.
    pub level: i64,
    /// The levels there are.
    pub expected: &'static str,
}

impl ArchiveCompression {
    /// What is added to `base.tar`, with its dot.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip(_) => ".gz",
            Self::Lz4 => ".lz4",
            Self::Zstd { .. } => ".zst",
        }
    }

    pub(super) fn check(self) -> Result<(), CompressionError> {
        match self {
            Self::Gzip(level) if level > 9 => {
                Err(CompressionError { method: "gzip", level: level.into(), expected: "0 to 9" })
            }
            Self::Zstd { level, .. } if !(-131_072..=22).contains(&level) => {
                Err(CompressionError { method: "zstd", level: level.into(), expected: "-131072 to 22" })
            }
            _ => Ok(()),
        }
    }
}

const PIECE: usize = 256 * 1024;
const QUEUE: usize = 4;

/// Where an archive's bytes go.
#[derive(Debug)]
pub(super) enum Sink {
    Plain(Output),
    Blocks(Blocks),
    Zstd(Threaded),
}

impl Sink {
    pub(super) fn new(file: File, compression: ArchiveCompression, write_back: bool) -> io::Result<Self> {
        let output = Output::new(file, write_back);
        Ok(match compression {
            ArchiveCompression::None => Self::Plain(output),
            ArchiveCompression::Gzip(level) => Self::Blocks(Blocks::start(output, Format::Gzip(level))),
            ArchiveCompression::Lz4 => Self::Blocks(Blocks::start(output, Format::Lz4)),
            ArchiveCompression::Zstd { level, workers } => {
                let mut encoder = zstd::stream::write::Encoder::new(output, level)?;
                encoder.include_checksum(true)?;
                encoder.multithread(workers)?;
                Self::Zstd(Threaded::start(encoder))
            }
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(output) => output.write_all(bytes),
            Self::Blocks(blocks) => blocks.write(bytes),
            Self::Zstd(threaded) => threaded.write(bytes),
        }
    }

    /// Everything written and the compressed stream ended; the file is not synced.
    pub(super) fn finish(self) -> io::Result<File> {
        match self {
            Self::Plain(output) => Ok(output.into_file()),
            Self::Blocks(blocks) => blocks.finish(),
            Self::Zstd(threaded) => threaded.finish(),
        }
    }
}

type Encoder = zstd::stream::write::Encoder<'static, Output>;

/// A thread that feeds zstd, which has its own workers; at most [`QUEUE`] pieces are under way, and their buffers come back
/// to be filled again.
#[derive(Debug)]
pub(super) struct Threaded {
    piece: Vec<u8>,
    queue: SyncSender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<File>>>,
}

impl Threaded {
    fn start(mut encoder: Encoder) -> Self {
        let (queue, work) = sync_channel::<Vec<u8>>(QUEUE);
        let (give_back, returned) = sync_channel(QUEUE + 1);
        let thread = std::thread::spawn(move || {
            while let Ok(piece) = work.recv() {
                encoder.write_all(&piece)?;
                let _ = give_back.try_send(piece);
            }
            encoder.finish().map(Output::into_file)
        });
        Self { piece: Vec::with_capacity(PIECE), queue, returned, thread: Some(thread) }
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = PIECE.saturating_sub(self.piece.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() >= PIECE {
                let mut empty = self.returned.try_recv().unwrap_or_default();
                empty.clear();
                let full = std::mem::replace(&mut self.piece, empty);
                if self.queue.send(full).is_err() {
                    // The thread has ended early: its own error says why.
                    return Err(ended(&mut self.thread)
                        .err()
                        .unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()));
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> io::Result<File> {
        let Self { piece, queue, mut thread, .. } = self;
        let sent = queue.send(piece);
        drop(queue);
        let file = ended(&mut thread)?;
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(file)
    }
}

/// Waits for the thread that writes, which knows what went wrong.
pub(super) fn ended(thread: &mut Option<JoinHandle<io::Result<File>>>) -> io::Result<File> {
    let thread = thread.take().ok_or(io::ErrorKind::BrokenPipe)?;
    thread.join().map_err(|_| io::Error::other("the compressing thread panicked"))?
}
