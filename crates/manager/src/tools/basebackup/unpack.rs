//! A plain backup of a stream that the server compressed: decompressed and extracted on a thread of its own.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tapster_copy::TarExtractor;
use walfile::codec::{Compression, decoder};

use super::error::BaseBackupToolError;

const PIECE: usize = 256 * 1024;
const QUEUE: usize = 4;

enum Message {
    Archive(Option<u32>, Compression),
    Manifest,
    Data(Vec<u8>),
}

/// The near end of the thread. At most [`QUEUE`] pieces are under way, and their buffers come back.
#[derive(Debug)]
pub(super) struct Unpacker {
    piece: Vec<u8>,
    queue: SyncSender<Message>,
    returned: Receiver<Vec<u8>>,
    thread: JoinHandle<Result<TarExtractor, BaseBackupToolError>>,
}

impl Unpacker {
    pub(super) fn start(extractor: TarExtractor) -> Self {
        let (queue, work) = sync_channel(QUEUE);
        let (give_back, returned) = sync_channel(QUEUE + 1);
        let source = Source { work, next: None, piece: Vec::new(), used: 0, give_back };
        let thread = std::thread::spawn(move || unpack(source, extractor));
        Self { piece: Vec::with_capacity(PIECE), queue, returned, thread }
    }

    /// `name` is the archive's, whose ending tells the compression.
    pub(super) fn archive(&mut self, oid: Option<u32>, name: &str) -> bool {
        let compression = match name.rsplit('.').next() {
            Some("gz") => Compression::Gzip,
            Some("lz4") => Compression::Lz4,
            Some("zst") => Compression::Zstd,
            _ => Compression::None,
        };
        self.flush() && self.queue.send(Message::Archive(oid, compression)).is_ok()
    }

    pub(super) fn manifest(&mut self) -> bool {
        self.flush() && self.queue.send(Message::Manifest).is_ok()
    }

    /// False when the thread has ended; [`Unpacker::join`] says why.
    pub(super) fn data(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let room = PIECE.saturating_sub(self.piece.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() >= PIECE && !self.flush() {
                return false;
            }
        }
        true
    }

    fn flush(&mut self) -> bool {
        if self.piece.is_empty() {
            return true;
        }
        let mut empty = self.returned.try_recv().unwrap_or_default();
        empty.clear();
        let full = std::mem::replace(&mut self.piece, empty);
        self.queue.send(Message::Data(full)).is_ok()
    }

    /// Everything handed over is extracted.
    pub(super) fn join(mut self) -> Result<TarExtractor, BaseBackupToolError> {
        self.flush();
        drop(self.queue);
        let panicked =
            |_| BaseBackupToolError::Decompress(io::Error::other("the decompressing thread panicked"));
        self.thread.join().map_err(panicked)?
    }
}

struct Source {
    work: Receiver<Message>,
    next: Option<Message>,
    piece: Vec<u8>,
    used: usize,
    give_back: SyncSender<Vec<u8>>,
}

impl Source {
    fn message(&mut self) -> Option<Message> {
        self.next.take().or_else(|| self.work.recv().ok())
    }
}

impl Read for Source {
    /// The data up to the next archive or the manifest.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.used >= self.piece.len() {
            match self.message() {
                Some(Message::Data(piece)) => {
                    let _ = self.give_back.try_send(std::mem::replace(&mut self.piece, piece));
                    self.used = 0;
                }
                other => {
                    self.next = other;
                    return Ok(0);
                }
            }
        }
        let read = self.piece.get(self.used..).unwrap_or_default().read(buf)?;
        self.used += read;
        Ok(read)
    }
}

fn unpack(mut source: Source, mut extractor: TarExtractor) -> Result<TarExtractor, BaseBackupToolError> {
    let mut buffer = vec![0; PIECE];
    while let Some(message) = source.message() {
        let compression = match message {
            Message::Archive(oid, compression) => {
                extractor.start_archive(oid)?;
                compression
            }
            Message::Manifest => {
                extractor.start_manifest()?;
                Compression::None
            }
            Message::Data(_) => {
                let text = "data after the end of the compressed stream";
                return Err(BaseBackupToolError::Decompress(io::Error::other(text)));
            }
        };
        let mut content = decoder(&mut source, compression)
            .map_err(|error| BaseBackupToolError::Decompress(error.into()))?;
        loop {
            let read = content.read(&mut buffer).map_err(BaseBackupToolError::Decompress)?;
            if read == 0 {
                break;
            }
            extractor.feed(buffer.get(..read).unwrap_or_default())?;
        }
    }
    Ok(extractor)
}
