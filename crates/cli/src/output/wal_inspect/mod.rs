//! The records of `wal inspect`: lines of `pg_waldump`, or a JSON object per line.

mod json;
mod statistics;

use std::fs::File;
use std::io::{self, BufWriter, Write};

use walfile::record::{BlockRef, Fork, ImageCompression, Parts};
use walfile::rmgr::Description;
use walfile::{Lsn, Record};

use super::Output;
use crate::format::zone::LocalZone;
pub(crate) use statistics::{statistics_json, statistics_text};

/// Writes to stdout.
pub(crate) struct Printer {
    out: BufWriter<File>,
    json: bool,
    details: bool,
    zone: LocalZone,
}

impl Printer {
    /// `details`: more about page images; `zone`: of the times in lines. JSON has universal time.
    ///
    /// # Errors
    /// stdout is closed.
    pub(crate) fn new(output: &Output, details: bool, zone: LocalZone) -> io::Result<Self> {
        let out = BufWriter::with_capacity(128 * 1024, Output::stdout_bytes()?);
        Ok(Self { out, json: output.is_json(), details, zone })
    }

    /// What is behind it, for what comes at the end.
    pub(crate) fn out(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// Writes what was held back.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The first record does not begin where it was looked for.
    pub(crate) fn skipped(&mut self, wanted: Lsn, found: Lsn) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let bytes = found.saturating_bytes_since(wanted);
        let unit = if bytes == 1 { "byte" } else { "bytes" };
        writeln!(self.out, "first record is after {wanted}, at {found}, skipping over {bytes} {unit}")
    }

    /// One record.
    pub(crate) fn record(&mut self, record: &Record<'_>, parts: &Parts<'_>) -> io::Result<()> {
        if self.json {
            return json::write(&mut self.out, record, parts);
        }
        let (header, out) = (&record.header, &mut self.out);
        write!(
            out,
            "rmgr: {:<11} len (rec/tot): {:6}/{:6}, tx: {:10}, lsn: {}, prev {}, desc: ",
            header.rmgr,
            header.total_len.saturating_sub(parts.image_bytes),
            header.total_len,
            header.xid.get(),
            Position(record.lsn),
            Position(header.prev),
        )?;
        match record.type_name() {
            Some(name) => write!(out, "{name} ")?,
            None => write!(out, "UNKNOWN ({:x}) ", header.kind())?,
        }
        write!(out, "{}", Description::new(record, parts).in_zone(&self.zone))?;
        if self.details {
            out.write_all(b"\n")?;
            return parts.blocks().try_for_each(|block| block_details(out, &block));
        }
        for block in parts.blocks() {
            write!(out, ", blkref #{}: rel {}", block.id, block.relation)?;
            if block.fork != Fork::Main {
                write!(out, " fork {}", block.fork)?;
            }
            write!(out, " blk {}", block.block)?;
            match block.image {
                Some(image) if image.apply => out.write_all(b" FPW")?,
                Some(_) => out.write_all(b" FPW for WAL verification")?,
                None => {}
            }
        }
        out.write_all(b"\n")
    }
}

/// A position with eight digits in its lower half, as only these lines have it.
struct Position(Lsn);

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:X}/{:08X}", self.0.get() >> 32, self.0.get() & 0xFFFF_FFFF)
    }
}

fn block_details(out: &mut impl Write, block: &BlockRef<'_>) -> io::Result<()> {
    write!(out, "\tblkref #{}: rel {} fork {} blk {}", block.id, block.relation, block.fork, block.block)?;
    if let Some(image) = &block.image {
        let verification = if image.apply { "" } else { " for WAL verification" };
        let (offset, length) = (image.hole_offset, image.hole_length);
        write!(out, " (FPW{verification}); hole: offset: {offset}, length: {length}")?;
        if image.compression != ImageCompression::None {
            let stored = u64::from(length) + image.bytes.len() as u64;
            let saved = u64::from(image.page_size).saturating_sub(stored);
            write!(out, ", compression saved: {saved}, method: {}", image.compression.name())?;
        }
    }
    out.write_all(b"\n")
}
