//! Archives that were compressed elsewhere, decompressed on a thread of their own on the way to whoever takes them.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use walfile::codec::{Compression, decoder};

use crate::{ExtractError, TarExtractor};

const PIECE: usize = 256 * 1024;
const QUEUE: usize = 4;

/// Takes the archives of one base backup as they are without compression.
pub(crate) trait Clear: Send + 'static {
    fn start_archive(&mut self, tablespace: Option<u32>) -> Result<(), ExtractError>;
    fn start_manifest(&mut self) -> Result<(), ExtractError>;
    fn feed(&mut self, bytes: &[u8]) -> Result<(), ExtractError>;
    /// The archive begun last is complete, as far as its compression says.
    fn end_archive(&mut self) -> Result<(), ExtractError>;
}

impl Clear for TarExtractor {
    fn start_archive(&mut self, tablespace: Option<u32>) -> Result<(), ExtractError> {
        Self::start_archive(self, tablespace)
    }
    fn start_manifest(&mut self) -> Result<(), ExtractError> {
        Self::start_manifest(self)
    }
    fn feed(&mut self, bytes: &[u8]) -> Result<(), ExtractError> {
        Self::feed(self, bytes)
    }
    fn end_archive(&mut self) -> Result<(), ExtractError> {
        // It looks by itself when the next one begins.
        Ok(())
    }
}

enum Message {
    Archive(Option<u32>, Compression),
    Manifest,
    Data(Vec<u8>),
}

/// Feeds a [`TarExtractor`] from archives that are compressed, in the same order of calls.
///
/// At most four pieces of 256 KiB are under way. A failure of the thread behind it comes out of whichever call is next.
#[derive(Debug)]
pub struct Unpacker(Pipe<TarExtractor>);

impl Unpacker {
    /// Starts the thread.
    pub fn start(extractor: TarExtractor) -> Self {
        Self(Pipe::start(extractor))
    }

    /// Begins the archive of a tablespace, or of the data directory (`None`).
    ///
    /// # Errors
    /// Whatever went wrong with what was handed over before.
    pub fn start_archive(
        &mut self,
        tablespace: Option<u32>,
        compression: Compression,
    ) -> Result<(), ExtractError> {
        self.0.start_archive(tablespace, compression)
    }

    /// Begins the manifest, which is not compressed.
    ///
    /// # Errors
    /// As [`Unpacker::start_archive`].
    pub fn start_manifest(&mut self) -> Result<(), ExtractError> {
        self.0.send(Message::Manifest)
    }

    /// Takes the next bytes of the archive or manifest begun last, in pieces of any size.
    ///
    /// # Errors
    /// As [`Unpacker::start_archive`].
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ExtractError> {
        self.0.feed(bytes)
    }

    /// Everything handed over is extracted; what is left to do is [`TarExtractor::finish`].
    ///
    /// # Errors
    /// As [`Unpacker::start_archive`].
    pub fn into_extractor(self) -> Result<TarExtractor, ExtractError> {
        self.0.join()
    }
}

/// The near end of the thread. The buffers of its pieces come back.
#[derive(Debug)]
pub(crate) struct Pipe<C: Clear> {
    piece: Vec<u8>,
    queue: Option<SyncSender<Message>>,
    returned: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<Result<C, ExtractError>>>,
}

impl<C: Clear> Pipe<C> {
    pub(crate) fn start(target: C) -> Self {
        let (queue, work) = sync_channel(QUEUE);
        let (give_back, returned) = sync_channel(QUEUE + 1);
        let source = Source { work, next: None, piece: Vec::new(), used: 0, give_back };
        let thread = std::thread::spawn(move || unpack(source, target));
        Self { piece: Vec::with_capacity(PIECE), queue: Some(queue), returned, thread: Some(thread) }
    }

    pub(crate) fn start_archive(
        &mut self,
        tablespace: Option<u32>,
        compression: Compression,
    ) -> Result<(), ExtractError> {
        self.send(Message::Archive(tablespace, compression))
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ExtractError> {
        while !bytes.is_empty() {
            let room = PIECE.saturating_sub(self.piece.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() >= PIECE {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// A message after the data before it.
    fn send(&mut self, message: Message) -> Result<(), ExtractError> {
        self.flush()?;
        self.put(message)
    }

    fn flush(&mut self) -> Result<(), ExtractError> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let mut empty = self.returned.try_recv().unwrap_or_default();
        empty.clear();
        let full = std::mem::replace(&mut self.piece, empty);
        self.put(Message::Data(full))
    }

    fn put(&mut self, message: Message) -> Result<(), ExtractError> {
        if self.queue.as_ref().is_some_and(|queue| queue.send(message).is_ok()) {
            return Ok(());
        }
        // The thread has ended early: it knows why.
        let failed = Err(ExtractError::Sequence { what: "the backup has failed before" });
        self.thread
            .take()
            .map_or(failed, ended)
            .and(Err(ExtractError::Sequence { what: "data after the end of the backup" }))
    }

    /// Everything handed over has been taken.
    pub(crate) fn join(mut self) -> Result<C, ExtractError> {
        self.flush()?;
        self.queue = None;
        let failed = Err(ExtractError::Sequence { what: "the backup has failed before" });
        self.thread.take().map_or(failed, ended)
    }
}

/// Nobody writes any more when this is gone: what was begun can be removed.
impl<C: Clear> Drop for Pipe<C> {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ended<C>(thread: JoinHandle<Result<C, ExtractError>>) -> Result<C, ExtractError> {
    let panicked = |_| ExtractError::Decompress(io::Error::other("the decompressing thread panicked"));
    thread.join().map_err(panicked)?
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

fn unpack<C: Clear>(mut source: Source, mut target: C) -> Result<C, ExtractError> {
    let mut buffer = vec![0; PIECE];
    while let Some(message) = source.message() {
        let is_archive = matches!(message, Message::Archive(..));
        let compression = match message {
            Message::Archive(tablespace, compression) => {
                target.start_archive(tablespace)?;
                compression
            }
            Message::Manifest => {
                target.start_manifest()?;
                Compression::None
            }
            Message::Data(_) => {
                let text = "data after the end of the compressed stream";
                return Err(ExtractError::Decompress(io::Error::other(text)));
            }
        };
        let mut content =
            decoder(&mut source, compression).map_err(|error| ExtractError::Decompress(error.into()))?;
        loop {
            let read = content.read(&mut buffer).map_err(ExtractError::Decompress)?;
            if read == 0 {
                break;
            }
            target.feed(buffer.get(..read).unwrap_or_default())?;
        }
        if is_archive {
            target.end_archive()?;
        }
    }
    Ok(target)
}
