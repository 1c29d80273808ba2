//! One file from the blocks of several backups.

use std::path::{Path, PathBuf};

use super::CombineError;
use super::header::{IncrementalHeader, PREFIX};
use super::index::Index;
use super::options::CombineSource;
use super::reading::Reading;

/// Bytes that are put together before they are written.
const BUFFER: usize = 1024 * 1024;
/// A block that no backup has: the server would find zeros.
const NOWHERE: u16 = u16::MAX;

/// The backups and what is known about them.
pub(super) struct Chain<'a> {
    /// The oldest first.
    pub(super) sources: &'a [CombineSource],
    /// Of each, when its files are compared.
    pub(super) indexes: &'a [Option<Index>],
    pub(super) block_size: u32,
    pub(super) segment_blocks: u32,
}

/// A file of one backup that blocks are taken from.
struct Part<'a> {
    reading: Reading<'a>,
    /// `None` for a whole file.
    header: Option<IncrementalHeader>,
}

impl Part<'_> {
    /// Where a block lies.
    fn offset(&self, block: u32, block_size: u32) -> u64 {
        match &self.header {
            None => u64::from(block).saturating_mul(u64::from(block_size)),
            Some(header) => {
                let index = header.blocks.binary_search(&block).unwrap_or(usize::MAX);
                header.offset(index, block_size)
            }
        }
    }
}

/// How a file is put together.
pub(super) struct Rebuild<'a> {
    parts: Vec<Part<'a>>,
    /// The part of each block.
    map: Vec<u16>,
    block_size: u32,
    /// The server wrote a truncation length beyond the segment.
    pub(super) oversized: bool,
}

impl<'a> Chain<'a> {
    fn reading(&self, source: usize, relative: &Path) -> Result<Option<Reading<'a>>, CombineError> {
        let Some(directory) = self.sources.get(source) else { return Ok(None) };
        let index = self.indexes.get(source).and_then(Option::as_ref);
        Reading::open(directory.path(relative), relative, index)
    }

    fn header(&self, reading: &mut Reading<'a>) -> Result<IncrementalHeader, CombineError> {
        let header = IncrementalHeader::read(reading, self.block_size, self.segment_blocks)
            .map_err(|source| CombineError::Header { path: reading.path.clone(), source })?;
        let (expected, found) = (header.file_length(self.block_size), reading.length());
        if found < expected {
            return Err(CombineError::Short { path: reading.path.clone(), expected, found });
        }
        Ok(header)
    }

    /// Looks for every block of `name` in `directory`, the newest backup first.
    pub(super) fn plan(&self, directory: &Path, name: &str) -> Result<Rebuild<'a>, CombineError> {
        let (whole, incremental) = (directory.join(name), directory.join(format!("{PREFIX}{name}")));
        let newest = self.sources.len().saturating_sub(1);
        let nowhere = || CombineError::NoSource { path: incremental.clone() };
        let mut reading = self.reading(newest, &incremental)?.ok_or_else(nowhere)?;
        let header = self.header(&mut reading)?;
        let mut map = vec![NOWHERE; header.length() as usize];
        let mut missing = map.len();
        let mut take = |blocks: &mut dyn Iterator<Item = u32>, limit: u32, part: usize| {
            let mut taken = 0_usize;
            for block in blocks.take_while(|block| *block < limit) {
                if let Some(place) = map.get_mut(block as usize).filter(|place| **place == NOWHERE) {
                    *place = u16::try_from(part).unwrap_or(NOWHERE);
                    taken = taken.saturating_add(1);
                }
            }
            missing = missing.saturating_sub(taken);
            missing
        };
        let mut oversized = header.oversized;
        // Beyond this the file had nothing when the backup in hand was taken: what an older one has there is gone.
        let mut limit = header.truncation_block_length;
        let mut left = take(&mut header.blocks.iter().copied(), u32::MAX, 0);
        let mut parts = vec![Part { reading, header: Some(header) }];
        let mut source = newest;
        while left > 0 && limit > 0 {
            source = source.checked_sub(1).ok_or_else(nowhere)?;
            if let Some(reading) = self.reading(source, &whole)? {
                let blocks = reading.length() / u64::from(self.block_size.max(1));
                let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
                take(&mut (0..blocks), limit, parts.len());
                parts.push(Part { reading, header: None });
                break;
            }
            let mut reading = self.reading(source, &incremental)?.ok_or_else(nowhere)?;
            let header = self.header(&mut reading)?;
            left = take(&mut header.blocks.iter().copied(), limit, parts.len());
            limit = limit.min(header.truncation_block_length);
            oversized |= header.oversized;
            parts.push(Part { reading, header: Some(header) });
        }
        Ok(Rebuild { parts, map, block_size: self.block_size, oversized })
    }
}

impl<'a> Rebuild<'a> {
    /// The newest incremental file.
    pub(super) fn metadata(&self) -> Option<&std::fs::Metadata> {
        self.parts.first().map(|part| &part.reading.metadata)
    }

    /// Bytes of the result.
    pub(super) fn length(&self) -> u64 {
        (self.map.len() as u64).saturating_mul(u64::from(self.block_size))
    }

    /// The one whole file that the result equals, when it is one: its path. The others are compared with their manifests.
    pub(super) fn into_same(mut self) -> Result<Result<PathBuf, Self>, CombineError> {
        let Some(last) = self.parts.last() else { return Ok(Err(self)) };
        let index = u16::try_from(self.parts.len().saturating_sub(1)).unwrap_or(NOWHERE);
        let same = last.header.is_none()
            && last.reading.length() == self.length()
            && self.map.iter().all(|part| *part == index);
        if !same {
            return Ok(Err(self));
        }
        let path = last.reading.path.clone();
        self.parts.pop();
        for part in self.parts {
            part.reading.finish()?;
        }
        Ok(Ok(path))
    }

    /// Hands out the whole content in pieces, then compares the files that were read with their manifests.
    pub(super) fn read(
        mut self,
        write: &mut dyn FnMut(&[u8]) -> Result<(), CombineError>,
    ) -> Result<(), CombineError> {
        let size = self.block_size.max(1) as usize;
        let at_once = (BUFFER / size).max(1);
        let mut buffer = vec![0; at_once * size];
        for (chunk, places) in self.map.chunks(at_once).enumerate() {
            let first = u32::try_from(chunk.saturating_mul(at_once)).unwrap_or(u32::MAX);
            let filled = buffer.get_mut(..places.len() * size).unwrap_or_default();
            fill(&mut self.parts, places, first, self.block_size, filled)?;
            write(filled)?;
        }
        for part in self.parts {
            part.reading.finish()?;
        }
        Ok(())
    }
}

/// Reads neighbouring blocks of one file together.
fn fill(
    parts: &mut [Part<'_>],
    places: &[u16],
    first: u32,
    block_size: u32,
    target: &mut [u8],
) -> Result<(), CombineError> {
    let size = block_size as usize;
    let mut done = 0_usize;
    while let Some(place) = places.get(done) {
        let block = |index: usize| first.saturating_add(u32::try_from(index).unwrap_or(u32::MAX));
        let mut end = done.saturating_add(1);
        let part = parts.get_mut(usize::from(*place));
        match part {
            None => {
                target.get_mut(done * size..end * size).unwrap_or_default().fill(0);
            }
            Some(part) => {
                let start = part.offset(block(done), block_size);
                let follows = |index: usize, part: &Part<'_>| {
                    part.offset(block(index), block_size)
                        == start.saturating_add(((index - done) * size) as u64)
                };
                while places.get(end) == Some(place) && follows(end, part) {
                    end = end.saturating_add(1);
                }
                part.reading.read_at(start, target.get_mut(done * size..end * size).unwrap_or_default())?;
            }
        }
        done = end;
    }
    Ok(())
}
