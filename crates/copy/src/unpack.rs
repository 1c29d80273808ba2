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
    Data(Piece),
}

/// Some bytes, in whatever they came in.
type Piece = Box<dyn AsRef<[u8]> + Send>;

/// A buffer with bytes at its beginning. It goes back to be filled again when they were read.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
    home: SyncSender<Vec<u8>>,
}

impl Buffer {
    fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    /// Reads once, as much as there is room for.
    fn fill(&mut self, input: &mut impl Read) -> io::Result<usize> {
        let read = input.read(self.room())?;
        self.filled += read;
        Ok(read)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // There are enough of them if there is no room.
        let _ = self.home.try_send(std::mem::take(&mut self.bytes));
    }
}

/// Makes buffers, and takes them back.
#[derive(Debug)]
struct Buffers {
    home: SyncSender<Vec<u8>>,
    free: Receiver<Vec<u8>>,
}

impl Buffers {
    fn new() -> Self {
        let (home, free) = sync_channel(QUEUE + 2);
        Self { home, free }
    }

    /// An empty one.
    fn next(&self) -> Buffer {
        let bytes = self.free.try_recv().unwrap_or_else(|_| vec![0; PIECE]);
        Buffer { bytes, filled: 0, home: self.home.clone() }
    }
}

/// Feeds a [`TarExtractor`] from archives that are compressed, in the same order of calls.
///
/// One thread decompresses, another one writes. Before each of them at most four pieces of 256 KiB wait, or of what was
/// [given](Self::give). A failure of either comes out of whichever call is next.
#[derive(Debug)]
pub struct Unpacker(Pipe<TarExtractor>);

impl Unpacker {
    /// Starts the threads.
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

    /// The same of bytes that need not be copied: they are dropped when they were read.
    ///
    /// # Errors
    /// As [`Unpacker::start_archive`].
    pub fn give(&mut self, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<(), ExtractError> {
        self.0.send(Message::Data(Box::new(bytes)))
    }

    /// Everything handed over is extracted; what is left to do is [`TarExtractor::finish`].
    ///
    /// # Errors
    /// As [`Unpacker::start_archive`].
    pub fn into_extractor(self) -> Result<TarExtractor, ExtractError> {
        self.0.join()
    }
}

/// The near end of the threads. The buffers of its pieces come back.
#[derive(Debug)]
pub(crate) struct Pipe<C: Clear> {
    buffers: Buffers,
    piece: Buffer,
    queue: Option<SyncSender<Message>>,
    threads: Option<Threads<C>>,
}

#[derive(Debug)]
struct Threads<C> {
    decoding: JoinHandle<Result<(), ExtractError>>,
    taking: JoinHandle<Result<C, ExtractError>>,
}

impl<C: Clear> Pipe<C> {
    pub(crate) fn start(target: C) -> Self {
        let (queue, work) = sync_channel(QUEUE);
        let (steps, clear) = sync_channel(QUEUE);
        let source = Source { work, next: None, piece: None, used: 0 };
        let threads = Threads {
            decoding: std::thread::spawn(move || decode(source, &steps)),
            taking: std::thread::spawn(move || take(&clear, target)),
        };
        let buffers = Buffers::new();
        Self { piece: buffers.next(), buffers, queue: Some(queue), threads: Some(threads) }
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
            if self.piece.fill(&mut bytes).is_ok_and(|read| read == 0) {
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
        if self.piece.filled == 0 {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.piece, self.buffers.next());
        self.put(Message::Data(Box::new(full)))
    }

    fn put(&mut self, message: Message) -> Result<(), ExtractError> {
        if self.queue.as_ref().is_some_and(|queue| queue.send(message).is_ok()) {
            return Ok(());
        }
        // A thread has ended early: it knows why.
        self.end().and(Err(ExtractError::Sequence { what: "data after the end of the backup" }))
    }

    /// Everything handed over has been taken.
    pub(crate) fn join(mut self) -> Result<C, ExtractError> {
        self.flush()?;
        self.end()
    }

    fn end(&mut self) -> Result<C, ExtractError> {
        self.queue = None;
        let failed = ExtractError::Sequence { what: "the backup has failed before" };
        self.threads.take().ok_or(failed)?.join()
    }
}

/// Nobody writes any more when this is gone: what was begun can be removed.
impl<C: Clear> Drop for Pipe<C> {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl<C> Threads<C> {
    fn join(self) -> Result<C, ExtractError> {
        let panicked = |_| ExtractError::Decompress(io::Error::other("an unpacking thread panicked"));
        let decoded = self.decoding.join().map_err(panicked).flatten();
        // When this one has failed, the other could not go on.
        let target = self.taking.join().map_err(panicked).flatten()?;
        decoded.map(|()| target)
    }
}

struct Source {
    work: Receiver<Message>,
    next: Option<Message>,
    piece: Option<Piece>,
    used: usize,
}

impl Source {
    fn message(&mut self) -> Option<Message> {
        self.next.take().or_else(|| self.work.recv().ok())
    }

    /// The next data before the next archive or the manifest.
    fn data(&mut self) -> Option<Piece> {
        match self.message() {
            Some(Message::Data(piece)) => Some(piece),
            other => {
                self.next = other;
                None
            }
        }
    }
}

impl Read for Source {
    /// The data up to the next archive or the manifest.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.piece.as_deref().and_then(|piece| piece.as_ref().get(self.used..));
            if let Some(mut left) = left.filter(|left| !left.is_empty()) {
                let read = left.read(buf)?;
                self.used += read;
                return Ok(read);
            }
            // What was read is free before the next is waited for.
            (self.piece, self.used) = (None, 0);
            self.piece = self.data();
            if self.piece.is_none() {
                return Ok(0);
            }
        }
    }
}

/// What comes out of decompression.
enum Step {
    Archive(Option<u32>),
    Manifest,
    Data(Piece),
    EndOfArchive,
}

/// Nobody takes any more steps, and whoever did knows why.
struct Untaken;

fn decode(mut source: Source, steps: &SyncSender<Step>) -> Result<(), ExtractError> {
    let buffers = Buffers::new();
    let step = |step| steps.send(step).map_err(|_| Untaken);
    while let Some(message) = source.message() {
        let result = match message {
            Message::Archive(tablespace, compression) => step(Step::Archive(tablespace))
                .and_then(|()| clear(&mut source, compression, &buffers, &step))
                .and_then(|decoded| match decoded {
                    Ok(()) => step(Step::EndOfArchive).map(Ok),
                    failed => Ok(failed),
                }),
            Message::Manifest => {
                step(Step::Manifest).and_then(|()| clear(&mut source, Compression::None, &buffers, &step))
            }
            Message::Data(_) => Ok(Err(io::Error::other("data after the end of the compressed stream"))),
        };
        match result {
            Ok(decoded) => decoded.map_err(ExtractError::Decompress)?,
            Err(Untaken) => return Ok(()),
        }
    }
    Ok(())
}

/// What follows, up to the next archive or the manifest.
fn clear(
    source: &mut Source,
    compression: Compression,
    buffers: &Buffers,
    step: &impl Fn(Step) -> Result<(), Untaken>,
) -> Result<io::Result<()>, Untaken> {
    if compression == Compression::None {
        while let Some(piece) = source.data() {
            step(Step::Data(piece))?;
        }
        return Ok(Ok(()));
    }
    let mut content = match decoder(source, compression) {
        Ok(content) => content,
        Err(error) => return Ok(Err(error.into())),
    };
    loop {
        let mut buffer = buffers.next();
        // Codecs give what they have, which may be little.
        let end = loop {
            match buffer.fill(&mut content) {
                Ok(0) => break Some(Ok(())),
                Ok(_) if buffer.room().is_empty() => break None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(Err(error)),
            }
        };
        if buffer.filled > 0 {
            step(Step::Data(Box::new(buffer)))?;
        }
        if let Some(end) = end {
            return Ok(end);
        }
    }
}

fn take<C: Clear>(steps: &Receiver<Step>, mut target: C) -> Result<C, ExtractError> {
    while let Ok(step) = steps.recv() {
        match step {
            Step::Archive(tablespace) => target.start_archive(tablespace)?,
            Step::Manifest => target.start_manifest()?,
            Step::EndOfArchive => target.end_archive()?,
            // What is summed up is still in the processor's cache when it is written.
            Step::Data(piece) => (*piece).as_ref().chunks(PIECE).try_for_each(|part| target.feed(part))?,
        }
    }
    Ok(target)
}
