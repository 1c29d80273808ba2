//! `pg_wal.tar`: received WAL as members of an archive (`TarMethod` of `walmethods.c`).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tapster_copy::tar::member_header;
use walfile::codec::{Compression, Encoder, Level, encoder};
use walfile::{Lsn, SegmentSize, Timeline, TimelineHistory, WalSink};

const BLOCK: usize = 512;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Writes segments one after the other. A segment's size is known before its content is, so nothing is staged.
#[derive(Debug)]
pub(super) struct WalTar {
    output: Encoder<BufWriter<File>>,
    /// The same file, to sync it.
    file: File,
    path: PathBuf,
    segment_size: SegmentSize,
    timeline: Timeline,
    time: u64,
    position: Option<Lsn>,
    flushed: Lsn,
    sync: bool,
}

/// How it is made.
#[derive(Debug)]
pub(super) struct WalTarOptions {
    pub(super) segment_size: SegmentSize,
    pub(super) timeline: Timeline,
    pub(super) gzip: Option<u32>,
    pub(super) time: u64,
    pub(super) sync: bool,
}

impl WalTar {
    pub(super) fn create(directory: &Path, options: &WalTarOptions) -> io::Result<Self> {
        let (name, compression, level) = match options.gzip {
            Some(level) => ("pg_wal.tar.gz", Compression::Gzip, i32::try_from(level).unwrap_or(6)),
            None => ("pg_wal.tar", Compression::None, 0),
        };
        let path = directory.join(name);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        let writer = BufWriter::with_capacity(256 * 1024, file.try_clone()?);
        Ok(Self {
            output: encoder(writer, compression, Level::Exact(level))?,
            file,
            path,
            segment_size: options.segment_size,
            timeline: options.timeline,
            time: options.time,
            position: None,
            flushed: Lsn::INVALID,
            sync: options.sync,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn header(&mut self, name: &str, size: u64) -> io::Result<()> {
        let header = member_header(name, size, 0o600, self.time).map_err(io::Error::other)?;
        self.output.write_all(&header)
    }

    fn done(&mut self, name: &str) -> io::Result<()> {
        self.header(&format!("archive_status/{name}.done"), 0)
    }

    /// A history file, before or between segments.
    pub(super) fn history(&mut self, timeline: Timeline, raw: &[u8]) -> io::Result<()> {
        let name = format!("{}.history", timeline.to_hex());
        self.header(&name, raw.len() as u64)?;
        self.output.write_all(raw)?;
        let padding = raw.len().next_multiple_of(BLOCK) - raw.len();
        self.output.write_all(ZEROS.get(..padding).unwrap_or_default())?;
        self.done(&name)
    }

    fn segment_name(&self, at: Lsn) -> String {
        at.segment(self.segment_size).name(self.timeline, self.segment_size).to_string()
    }

    fn put(&mut self, at: Lsn, bytes: &[u8]) -> io::Result<()> {
        let expected = self.position.unwrap_or(at);
        if at != expected || (self.position.is_none() && !at.is_segment_start(self.segment_size)) {
            return Err(io::Error::other(format!("WAL at {at} does not follow, expected {expected}")));
        }
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let offset = u64::from(at.offset_in_segment(self.segment_size));
            if offset == 0 {
                let name = self.segment_name(at);
                self.header(&name, self.segment_size.bytes())?;
            }
            let room = usize::try_from(self.segment_size.bytes() - offset).unwrap_or(usize::MAX);
            let (part, after) = rest.split_at(room.min(rest.len()));
            self.output.write_all(part)?;
            let start = at;
            at = at.saturating_add(part.len() as u64);
            self.position = Some(at);
            rest = after;
            if at.is_segment_start(self.segment_size) {
                let name = self.segment_name(start);
                self.done(&name)?;
            }
        }
        Ok(())
    }

    /// Fills the segment in progress with zeros.
    fn pad(&mut self) -> io::Result<()> {
        let Some(position) = self.position.take() else { return Ok(()) };
        if position.is_segment_start(self.segment_size) {
            return Ok(());
        }
        let offset = u64::from(position.offset_in_segment(self.segment_size));
        let mut left = usize::try_from(self.segment_size.bytes() - offset).unwrap_or(0);
        while left > 0 {
            let zeros = ZEROS.get(..left.min(ZEROS.len())).unwrap_or(&ZEROS);
            self.output.write_all(zeros)?;
            left -= zeros.len();
        }
        Ok(())
    }

    /// The end of the archive, on disk.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.pad()?;
        self.output.write_all(ZEROS.get(..2 * BLOCK).unwrap_or_default())?;
        let mut writer = self.output.finish()?;
        writer.flush()?;
        if self.sync { self.file.sync_all() } else { Ok(()) }
    }
}

impl WalSink for WalTar {
    fn write(&mut self, at: Lsn, bytes: &[u8]) -> io::Result<()> {
        self.put(at, bytes)
    }

    fn flush(&mut self) -> io::Result<Lsn> {
        self.output.flush()?;
        if self.sync {
            self.file.sync_data()?;
        }
        self.flushed = self.position.unwrap_or(self.flushed).max(self.flushed);
        Ok(self.flushed)
    }

    fn flushed(&self) -> Lsn {
        self.flushed
    }

    fn switch_timeline(&mut self, history: &TimelineHistory, raw: &[u8]) -> io::Result<()> {
        self.pad()?;
        self.history(history.timeline(), raw)?;
        self.flush()?;
        self.timeline = history.timeline();
        self.flushed = history.begin().segment_start(self.segment_size);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_durable_of_one_timeline_is_not_of_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let size = SegmentSize::new(1 << 20).unwrap();
        let options =
            WalTarOptions { segment_size: size, timeline: Timeline::FIRST, gzip: None, time: 0, sync: true };
        let mut tar = WalTar::create(dir.path(), &options).unwrap();
        let start = Lsn::new(0x30_0000);
        tar.write(start, &[7; 5000]).unwrap();
        assert_eq!(tar.flush().unwrap(), start.saturating_add(5000));
        let raw = b"1\t0/300100\tno recovery target specified\n";
        let history = TimelineHistory::parse(Timeline::new(2).unwrap(), raw).unwrap();
        tar.switch_timeline(&history, raw).unwrap();
        assert_eq!(tar.flushed(), start);
        tar.write(start, &[7; 100]).unwrap();
        assert_eq!(tar.flushed(), start, "not the 5000 of the old timeline");
        assert_eq!(tar.flush().unwrap(), start.saturating_add(100));
    }

    #[test]
    fn an_unfinished_segment_is_padded() {
        let dir = tempfile::tempdir().unwrap();
        let size = SegmentSize::new(1 << 20).unwrap();
        let options =
            WalTarOptions { segment_size: size, timeline: Timeline::FIRST, gzip: None, time: 0, sync: true };
        let mut tar = WalTar::create(dir.path(), &options).unwrap();
        let start = Lsn::new(0x30_0000);
        assert!(tar.write(Lsn::new(5), b"x").is_err());
        let wal = vec![7; (1 << 20) + 100];
        tar.write(start, &wal).unwrap();
        assert!(tar.write(start, b"again").is_err());
        assert_eq!(tar.flush().unwrap(), start.saturating_add(wal.len() as u64));
        tar.finish().unwrap();
        let archive = std::fs::read(dir.path().join("pg_wal.tar")).unwrap();
        assert_eq!(archive.len(), 512 + (1 << 20) + 512 + 512 + (1 << 20) + 1024);
        assert_eq!(&archive[..24], b"000000010000000000000003");
        assert_eq!(&archive[512 + (1 << 20)..][..15], b"archive_status/");
        let last = &archive[512 + (1 << 20) + 1024..][..1 << 20];
        assert!(last[..100].iter().all(|b| *b == 7) && last[100..].iter().all(|b| *b == 0));
    }
}
