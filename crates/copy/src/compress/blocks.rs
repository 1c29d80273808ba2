//! Pieces of one stream, compressed side by side and joined in order.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Compresses a piece by itself.
pub(super) trait Codec: Send + Sync + 'static {
    /// What a piece becomes.
    type Packed: Send;
    /// Bytes of a piece.
    fn piece(&self) -> usize;
    fn pack(&self, content: &[u8]) -> io::Result<Self::Packed>;
}

/// Makes one stream of the pieces.
pub(super) trait Joiner<P>: Send + 'static {
    fn start(&mut self, output: &mut dyn Write) -> io::Result<()>;
    fn add(&mut self, packed: P, output: &mut dyn Write) -> io::Result<()>;
    fn end(&mut self, output: &mut dyn Write) -> io::Result<()>;
}

type Reply<P> = SyncSender<io::Result<P>>;

/// Whoever takes pieces, with the types of the codec out of sight.
trait Pool: Send {
    fn push(&mut self, piece: Vec<u8>) -> Result<(), ()>;
}

struct Threads<P> {
    work: SyncSender<(Vec<u8>, Reply<P>)>,
    order: SyncSender<Receiver<io::Result<P>>>,
}

impl<P: Send> Pool for Threads<P> {
    fn push(&mut self, piece: Vec<u8>) -> Result<(), ()> {
        let (reply, packed) = sync_channel(1);
        self.order.send(packed).map_err(|_| ())?;
        self.work.send((piece, reply)).map_err(|_| ())
    }
}

/// The stream being written: a few pieces in memory, one thread that writes, the others that compress.
pub(super) struct Blocks<W> {
    piece: Vec<u8>,
    full: usize,
    pool: Option<Box<dyn Pool>>,
    writer: Option<JoinHandle<io::Result<W>>>,
}

impl<W: Write + Send + 'static> Blocks<W> {
    pub(super) fn start<C: Codec>(
        mut output: W,
        codec: C,
        mut joiner: impl Joiner<C::Packed>,
        workers: usize,
    ) -> Self
    where
        C::Packed: 'static,
    {
        let workers = workers.max(1);
        let (work, pieces) = sync_channel::<(Vec<u8>, Reply<C::Packed>)>(workers);
        let (order, in_order) = sync_channel::<Receiver<io::Result<C::Packed>>>(2 * workers);
        let full = codec.piece();
        let (codec, pieces) = (Arc::new(codec), Arc::new(Mutex::new(pieces)));
        for _ in 0..workers {
            let (codec, pieces) = (Arc::clone(&codec), Arc::clone(&pieces));
            // They end when nobody sends any more.
            std::thread::spawn(move || {
                loop {
                    let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((piece, reply)) = next else { return };
                    // Nobody listens when the writer has failed.
                    let _ = reply.send(codec.pack(&piece));
                }
            });
        }
        let writer = std::thread::spawn(move || {
            joiner.start(&mut output)?;
            while let Ok(packed) = in_order.recv() {
                let packed = packed.recv().map_err(|_| io::Error::other("a compressing thread ended"))??;
                joiner.add(packed, &mut output)?;
            }
            joiner.end(&mut output)?;
            Ok(output)
        });
        Self {
            piece: Vec::with_capacity(full),
            full,
            pool: Some(Box::new(Threads { work, order })),
            writer: Some(writer),
        }
    }

    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.full.saturating_sub(self.piece.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() >= self.full {
                self.push()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.piece.is_empty() {
            self.push()?;
        }
        self.join()
    }

    fn push(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(self.full));
        let pushed = self.pool.as_mut().ok_or(()).and_then(|pool| pool.push(piece));
        // The writing thread has ended early: its own error says why.
        pushed.or_else(|()| self.join().and(Err(io::ErrorKind::BrokenPipe.into())))
    }

    fn join(&mut self) -> io::Result<W> {
        self.pool = None;
        let writer = self.writer.take().ok_or(io::ErrorKind::BrokenPipe)?;
        writer.join().map_err(|_| io::Error::other("the writing thread panicked"))?
    }
}

impl<W> Drop for Blocks<W> {
    fn drop(&mut self) {
        self.pool = None;
        if let Some(writer) = self.writer.take() {
            // Its file must not be written to after we are gone.
            let _ = writer.join();
        }
    }
}
