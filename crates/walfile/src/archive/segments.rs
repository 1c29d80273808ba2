//! From one segment to the next: which file holds it, and where it begins to be read.

use crate::archive::file::{Content, OpenSegment, open_decoded};
use crate::archive::path::holders;
use crate::archive::reader::ArchiveReader;
use crate::archive::{ArchiveStop, WalArchive};
use crate::page::LongPageHeader;
use crate::{EndReason, SegmentName, SegmentNo, SegmentSize, WalName};

impl<A: WalArchive> ArchiveReader<A> {
    pub(super) fn newest_holder(&self) -> SegmentName {
        let size = self.size.unwrap_or_default();
        let newest = holders(&self.history, self.number, size).next();
        newest.map_or_else(|| self.number.name(self.history.timeline(), size), |holder| holder.name)
    }

    pub(super) fn open_next(&mut self) -> Result<(), ArchiveStop> {
        let size = self.size.unwrap_or_default();
        let Some(next) = self.number.next() else {
            return Err(ArchiveStop::Log(EndReason::Input { unfinished: 0 }));
        };
        match self.find(next, size)? {
            Some(file) => {
                self.number = next;
                self.file = Some(file);
                Ok(())
            }
            None => {
                self.number = next;
                Err(ArchiveStop::Missing { name: self.newest_holder(), unfinished: 0 })
            }
        }
    }

    fn find(&mut self, number: SegmentNo, size: SegmentSize) -> Result<Option<OpenSegment>, ArchiveStop> {
        for partial in [false, true] {
            for holder in holders(&self.history, number, size) {
                let name =
                    if partial { WalName::Partial(holder.name) } else { WalName::Segment(holder.name) };
                if let Some(content) = open_file(&self.archive, name, &mut self.failed)? {
                    return Ok(Some(OpenSegment::new(name, content, number, size, holder.left)));
                }
            }
        }
        Ok(None)
    }

    /// The beginning of this segment on a newer timeline than that of the file that is open, at the place where that was left.
    pub(super) fn find_newer_partial(&mut self) -> Result<Option<OpenSegment>, ArchiveStop> {
        let Some(file) = &self.file else { return Ok(None) };
        let (size, number, at) = (self.size.unwrap_or_default(), self.number, file.position());
        let timeline = file.name.timeline();
        for holder in holders(&self.history, number, size).take_while(|h| h.name.timeline() > timeline) {
            let name = WalName::Partial(holder.name);
            if let Some(content) = open_file(&self.archive, name, &mut self.failed)? {
                let mut file = OpenSegment::new(name, content, number, size, holder.left);
                file.skip_to(at)?;
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Opens the segment that holds the start, and goes to the page that holds it.
    pub(super) fn open_first(&mut self) -> Result<(), ArchiveStop> {
        let (mut file, mut size) = self.find_first()?;
        let mut header = self.read_header(&mut file)?;
        if header.segment_size != size && self.size.is_none() {
            // The name of another segment, of a cluster with another size.
            size = header.segment_size;
            self.number = self.start.segment(size);
            let found = self.find(self.number, size)?;
            self.size = Some(size);
            file = found.ok_or_else(|| ArchiveStop::Missing { name: self.newest_holder(), unfinished: 0 })?;
            header = self.read_header(&mut file)?;
        }
        self.size = Some(size);
        let name = file.name.segment();
        let mismatch = name.and_then(|name| header.validate_for(name, size.bytes(), self.system).err());
        self.file = Some(file);
        if let Some(mismatch) = mismatch {
            self.filled = 0;
            return Err(ArchiveStop::Mismatch(mismatch));
        }
        let page = self.start.get() - self.start.get() % u64::from(header.block_size);
        self.skip = page - self.number.start(size).get();
        if self.skip > 0 {
            self.state.start_at(header, page);
        }
        self.pass_over();
        Ok(())
    }

    /// Reads the long header into the empty buffer.
    fn read_header(&mut self, file: &mut OpenSegment) -> Result<LongPageHeader, ArchiveStop> {
        self.filled = 0;
        while self.filled < LongPageHeader::LEN {
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match file.read(room)? {
                0 => break,
                got => self.filled += got,
            }
        }
        LongPageHeader::parse(self.buffer.get(..self.filled).unwrap_or(&[])).map_err(ArchiveStop::Header)
    }

    fn find_first(&mut self) -> Result<(OpenSegment, SegmentSize), ArchiveStop> {
        let known = self.size;
        let others = (20..=30).map(|bits| 1 << bits).filter_map(|bytes| SegmentSize::new(bytes).ok());
        let sizes = known.into_iter().chain(
            std::iter::once(SegmentSize::DEFAULT)
                .chain(others.filter(|size| *size != SegmentSize::DEFAULT))
                .filter(|_| known.is_none()),
        );
        for size in sizes {
            let number = self.start.segment(size);
            if let Some(file) = self.find(number, size)? {
                self.number = number;
                return Ok((file, size));
            }
        }
        self.number = self.start.segment(known.unwrap_or_default());
        Err(ArchiveStop::Missing { name: self.newest_holder(), unfinished: 0 })
    }
}

/// Opens a file, or says in `failed` that it cannot be opened.
fn open_file(
    archive: &impl WalArchive,
    name: WalName,
    failed: &mut Option<WalName>,
) -> Result<Option<Content>, ArchiveStop> {
    open_decoded(archive, name).map_err(|error| {
        *failed = Some(name);
        ArchiveStop::Read(error)
    })
}
