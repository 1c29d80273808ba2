//! Compression in blocks, on all processors.
//!
//! A block is compressed by whichever thread is free, and written in its turn. gzip's blocks make one member, as pigz's do:
//! each ends on a byte boundary (a sync flush), and the checksums are combined. Programs that read only one member of a file
//! (`pg_verifybackup` among them) need it so. lz4's are the independent blocks of one frame.
//!
//! Memory: a fixed number of blocks goes round, whatever the size of the archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use flate2::{Compress, Crc, FlushCompress, Status};
use twox_hash::XxHash32;

use super::compress::ended;
use super::output::Output;

/// Content of one block. Smaller ones cost ratio, larger ones memory.
const BLOCK: usize = 512 * 1024;
/// More threads than this the rest of a backup cannot feed.
const MAX_THREADS: usize = 16;
/// Deflate, no name, no time, unknown operating system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// A frame of independent blocks of at most 1 MiB, each with a checksum of what is stored, by the LZ4 frame format 1.6; the sum
/// of the last two bytes follows. A checksum of the whole content would have to be taken by one thread; the manifest has one.
const LZ4_HEADER: [u8; 6] = [0x04, 0x22, 0x4d, 0x18, 0x70, 0x60];
/// The highest bit of a block's length: it is stored as it is.
const LZ4_STORED: u32 = 1 << 31;

/// What a block becomes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    /// Of this level.
    Gzip(u32),
    Lz4,
}

#[derive(Debug, Default)]
struct Block {
    index: u64,
    input: Vec<u8>,
    output: Vec<u8>,
    /// How much of `output` it is.
    length: usize,
    sum: Crc,
    is_last: bool,
}

type Done = SyncSender<io::Result<Block>>;

/// The near end.
#[derive(Debug)]
pub(super) struct Blocks {
    current: Block,
    work: SyncSender<Block>,
    free: Receiver<Block>,
    writer: Option<JoinHandle<io::Result<File>>>,
}

impl Blocks {
    pub(super) fn start(output: Output, format: Format) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let count = 2 * threads + 2;
        let (work, todo) = sync_channel(count);
        let (done, ready) = sync_channel(count);
        let (give_back, free) = sync_channel(count);
        let todo = Arc::new(Mutex::new(todo));
        for _ in 0..threads {
            let (todo, done) = (Arc::clone(&todo), done.clone());
            std::thread::spawn(move || compress(&todo, &done, format));
        }
        for _ in 0..count {
            // There is room for all of them.
            let _ = give_back.try_send(Block::default());
        }
        let writer = std::thread::spawn(move || write(output, format, &ready, &give_back));
        Self { current: Block::default(), work, free, writer: Some(writer) }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.current.input.capacity() == 0 {
                self.current.input.reserve_exact(BLOCK);
            }
            let room = BLOCK.saturating_sub(self.current.input.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.current.input.extend_from_slice(now);
            bytes = later;
            if self.current.input.len() >= BLOCK {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let next = self.current.index.saturating_add(1);
        let free = self.free.recv().ok().map(|free| std::mem::replace(&mut self.current, free));
        let sent = free.and_then(|full| self.work.send(full).ok());
        self.current.index = next;
        self.current.input.clear();
        match sent {
            Some(()) => Ok(()),
            // The threads have ended early: the writer knows why.
            None => Err(ended(&mut self.writer).err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())),
        }
    }

    pub(super) fn finish(mut self) -> io::Result<File> {
        self.current.is_last = true;
        let handed = self.hand_over();
        drop(self.work);
        match self.writer {
            Some(_) => ended(&mut self.writer),
            None => Err(handed.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())),
        }
    }
}

fn compress(todo: &Mutex<Receiver<Block>>, done: &Done, format: Format) {
    let mut deflate = match format {
        Format::Gzip(level) => Some(Compress::new(flate2::Compression::new(level), false)),
        Format::Lz4 => None,
    };
    loop {
        let next = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut block) = next else { return };
        let result = match &mut deflate {
            Some(deflate) => gzip(deflate, &mut block),
            None => lz4(&mut block),
        };
        if done.send(result.map(|()| block)).is_err() {
            return;
        }
    }
}

fn gzip(deflate: &mut Compress, block: &mut Block) -> io::Result<()> {
    deflate.reset();
    block.output.clear();
    block.output.reserve(BLOCK / 2);
    block.sum.reset();
    block.sum.update(&block.input);
    let flush = if block.is_last { FlushCompress::Finish } else { FlushCompress::Sync };
    loop {
        let used = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
        let rest = block.input.get(used..).unwrap_or_default();
        let status = deflate.compress_vec(rest, &mut block.output, flush)?;
        // Output that was not filled up means that everything is out.
        let is_out = block.output.len() < block.output.capacity();
        if status == Status::StreamEnd
            || (!block.is_last && is_out && deflate.total_in() >= block.input.len() as u64)
        {
            block.length = block.output.len();
            return Ok(());
        }
        block.output.reserve(BLOCK / 4);
    }
}

/// The block's length, the block, its sum.
fn lz4(block: &mut Block) -> io::Result<()> {
    block.length = 0;
    if block.input.is_empty() {
        // A block of no length would be the end mark.
        return Ok(());
    }
    let bound = lz4_flex::block::get_maximum_output_size(BLOCK).saturating_add(8);
    if block.output.len() < bound {
        block.output.resize(bound, 0);
    }
    let (head, body) = block.output.split_at_mut_checked(4).ok_or(io::ErrorKind::InvalidInput)?;
    let packed = lz4_flex::block::compress_into(&block.input, body).map_err(io::Error::other)?;
    let (stored, length) = if packed < block.input.len() {
        (0, packed)
    } else {
        body.iter_mut().zip(&block.input).for_each(|(to, from)| *to = *from);
        (LZ4_STORED, block.input.len())
    };
    let field = u32::try_from(length).map_err(io::Error::other)? | stored;
    head.copy_from_slice(&field.to_le_bytes());
    let (data, rest) = body.split_at_mut_checked(length).ok_or(io::ErrorKind::InvalidInput)?;
    let sum = rest.first_chunk_mut().ok_or(io::ErrorKind::InvalidInput)?;
    *sum = XxHash32::oneshot(0, data).to_le_bytes();
    block.length = length.saturating_add(8);
    Ok(())
}

/// What goes around the blocks.
enum Frame {
    Gzip(Crc),
    Lz4,
}

impl Frame {
    fn begin(format: Format, output: &mut Output) -> io::Result<Self> {
        match format {
            Format::Gzip(_) => {
                output.write_all(&GZIP_HEADER)?;
                Ok(Self::Gzip(Crc::new()))
            }
            Format::Lz4 => {
                output.write_all(&LZ4_HEADER)?;
                let [.., flags, size] = LZ4_HEADER;
                let [_, sum, ..] = XxHash32::oneshot(0, &[flags, size]).to_le_bytes();
                output.write_all(&[sum])?;
                Ok(Self::Lz4)
            }
        }
    }

    fn add(&mut self, block: &Block) {
        match self {
            Self::Gzip(sum) => sum.combine(&block.sum),
            Self::Lz4 => {}
        }
    }

    fn end(self, total: u64, output: &mut Output) -> io::Result<()> {
        match self {
            Self::Gzip(sum) => {
                output.write_all(&sum.sum().to_le_bytes())?;
                // Modulo 2^32, as the format has it.
                let [a, b, c, d, ..] = total.to_le_bytes();
                output.write_all(&[a, b, c, d])
            }
            Self::Lz4 => output.write_all(&[0; 4]),
        }
    }
}

/// Writes blocks in their order.
fn write(
    mut output: Output,
    format: Format,
    ready: &Receiver<io::Result<Block>>,
    give_back: &SyncSender<Block>,
) -> io::Result<File> {
    let mut frame = Frame::begin(format, &mut output)?;
    let mut early = BTreeMap::new();
    let (mut next, mut total, mut is_whole) = (0_u64, 0_u64, false);
    while let Ok(block) = ready.recv() {
        let block = block?;
        early.insert(block.index, block);
        while let Some(block) = early.remove(&next) {
            output.write_all(block.output.get(..block.length).unwrap_or_default())?;
            frame.add(&block);
            total = total.wrapping_add(block.input.len() as u64);
            is_whole = block.is_last;
            next = next.saturating_add(1);
            let _ = give_back.try_send(block);
        }
    }
    if !is_whole {
        return Err(io::Error::other("the compressing threads have ended early"));
    }
    frame.end(total, &mut output)?;
    Ok(output.into_file())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    fn written(format: Format, content: &[u8]) -> Vec<u8> {
        let mut blocks = Blocks::start(Output::new(tempfile::tempfile().unwrap(), true), format);
        content.chunks(70_001).for_each(|piece| blocks.write(piece).unwrap());
        let mut file = blocks.finish().unwrap();
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_length_around_a_block_is_one_member_and_comes_back() {
        let noise = |n: usize| n.wrapping_mul(2_654_435_761).to_le_bytes()[2];
        for (length, fill) in [(0, 0), (1, 0), (BLOCK - 1, 3), (BLOCK, 1), (BLOCK + 1, 2), (9 * BLOCK + 5, 4)]
        {
            let content: Vec<u8> = (0..length)
                .map(|n| if n % 7 < fill { noise(n) } else { (n / 1000).to_le_bytes()[0] })
                .collect();
            for level in [0, 1, 6, 9] {
                let packed = written(Format::Gzip(level), &content);
                let mut back = Vec::new();
                let mut member = flate2::bufread::GzDecoder::new(&packed[..]);
                member.read_to_end(&mut back).unwrap();
                assert!(back == content, "{length} at level {level}");
                assert!(member.into_inner().is_empty(), "one member");
            }
            let packed = written(Format::Lz4, &content);
            let mut back = Vec::new();
            lz4_flex::frame::FrameDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
            assert!(back == content, "{length} in lz4");
            for at in (0..packed.len()).step_by(packed.len() / 7 + 1) {
                let mut damaged = packed.clone();
                damaged[at] ^= 0x10;
                let mut back = Vec::new();
                let read = lz4_flex::frame::FrameDecoder::new(&damaged[..]).read_to_end(&mut back);
                assert!(read.is_err(), "byte {at} of {} damaged", packed.len());
            }
        }
    }

    #[test]
    fn a_failed_write_is_told_soon() {
        let Ok(full) = File::options().write(true).open("/dev/full") else { return };
        let mut blocks = Blocks::start(Output::new(full, false), Format::Gzip(1));
        let told = (0..200).find_map(|_| blocks.write(&[7; BLOCK]).err()).or_else(|| blocks.finish().err());
        assert_eq!(told.unwrap().kind(), io::ErrorKind::StorageFull);
    }
}
