//! Compression of an archive, on a thread of its own.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use thiserror::Error;

/// How archives are compressed on this side.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum ArchiveCompression {
    /// Not.
    #[default]
    None,
    /// gzip, level 0 to 9.
    Gzip(u32),
    /// lz4 frames; there is one level.
    Lz4,
    /// zstd, level 1 to 22, with so many worker threads (0: none besides the archive's own).
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
            Self::Zstd { level, .. } if !(1..=22).contains(&level) => {
                Err(CompressionError { method: "zstd", level: level.into(), expected: "1 to 22" })
            }
            _ => Ok(()),
        }
    }
}

enum Encoder {
    Gzip(flate2::write::GzEncoder<File>),
    Lz4(Box<lz4_flex::frame::FrameEncoder<File>>),
    Zstd(zstd::stream::write::Encoder<'static, File>),
}

impl Encoder {
    fn new(file: File, compression: ArchiveCompression) -> io::Result<Self> {
        Ok(match compression {
            ArchiveCompression::Zstd { level, workers } => {
                let mut encoder = zstd::stream::write::Encoder::new(file, level)?;
                encoder.include_checksum(true)?;
                encoder.multithread(workers)?;
                Self::Zstd(encoder)
            }
            ArchiveCompression::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
                Self::Lz4(Box::new(lz4_flex::frame::FrameEncoder::with_frame_info(info, file)))
            }
            ArchiveCompression::Gzip(level) => {
                Self::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::new(level)))
            }
            ArchiveCompression::None => return Err(io::ErrorKind::InvalidInput.into()),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Lz4(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<File> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

const PIECE: usize = 256 * 1024;
const QUEUE: usize = 4;

/// Where an archive's bytes go.
#[derive(Debug)]
pub(super) enum Sink {
    Plain(File),
    Threaded(Threaded),
}

/// A compressing thread, with at most [`QUEUE`] pieces under way, whose buffers come back to be filled again.
#[derive(Debug)]
pub(super) struct Threaded {
    piece: Vec<u8>,
    queue: SyncSender<Vec<u8>>,
    returned: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<File>>>,
}

impl Sink {
    pub(super) fn new(file: File, compression: ArchiveCompression) -> io::Result<Self> {
        if compression == ArchiveCompression::None {
            return Ok(Self::Plain(file));
        }
        let mut encoder = Encoder::new(file, compression)?;
        let (queue, work) = sync_channel::<Vec<u8>>(QUEUE);
        let (give_back, returned) = sync_channel(QUEUE + 1);
        let thread = std::thread::spawn(move || {
            while let Ok(piece) = work.recv() {
                encoder.write(&piece)?;
                let _ = give_back.try_send(piece);
            }
            encoder.finish()
        });
        Ok(Self::Threaded(Threaded {
            piece: Vec::with_capacity(PIECE),
            queue,
            returned,
            thread: Some(thread),
        }))
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Threaded(threaded) => {
                while !bytes.is_empty() {
                    let room = PIECE.saturating_sub(threaded.piece.len());
                    let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
                    threaded.piece.extend_from_slice(now);
                    bytes = later;
                    if threaded.piece.len() >= PIECE {
                        let mut empty = threaded.returned.try_recv().unwrap_or_default();
                        empty.clear();
                        let full = std::mem::replace(&mut threaded.piece, empty);
                        if threaded.queue.send(full).is_err() {
                            // The thread has ended early: its own error says why.
                            let ended = ended(&mut threaded.thread);
                            return Err(ended.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()));
                        }
                    }
                }
                Ok(())
            }
        }
    }

    /// Everything written and the compressed stream ended; the file is not synced.
    pub(super) fn finish(self) -> io::Result<File> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Threaded(Threaded { piece, queue, mut thread, .. }) => {
                let sent = queue.send(piece);
                drop(queue);
                let file = ended(&mut thread)?;
                sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
                Ok(file)
            }
        }
    }
}

fn ended(thread: &mut Option<JoinHandle<io::Result<File>>>) -> io::Result<File> {
    let thread = thread.take().ok_or(io::ErrorKind::BrokenPipe)?;
    thread.join().map_err(|_| io::Error::other("the compressing thread panicked"))?
}
