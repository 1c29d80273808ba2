//! WAL to the other host: decompressed here on all cores, each worker sending a tar stream of its own.

use std::ffi::OsStr;
use std::path::Path;

use tapster_copy::remote::{RemoteArchive, Transfer};
use tapster_copy::tar::{MemberKind, NewMember};
use walfile::WalName;

use super::{Elsewhere, shell};
use crate::event::Event;
use crate::restore::destination::{Job, WalFiles};
use crate::restore::{RestoreError, wals};

/// An sshd lets ten sessions share a connection.
pub(in crate::restore) const MOST_STREAMS: usize = 4;
/// Of a history file or label.
const MOST_SMALL: usize = 16 * 1024 * 1024;
const PIECE: usize = 256 * 1024;

impl Elsewhere {
    pub(super) fn wals(&self, job: Job<'_>, wals: &WalFiles<'_>) -> Result<(), RestoreError> {
        self.hold(job)?;
        let status = wals.dir.join("archive_status");
        let arguments: [&OsStr; 2] = [wals.dir.as_os_str(), status.as_os_str()];
        self.ask(job, "making the directory for WAL", shell::MAKE_PLAIN, &arguments, &[])?;
        let transfer = self.transfer(job);
        wals::side_by_side(wals.names, MOST_STREAMS, |names| {
            let Some(first) = names.next() else { return Ok(()) };
            let mut archive = RemoteArchive::open(&self.host, wals.dir, &transfer)?;
            for name in std::iter::once(first).chain(names) {
                send(job, name, &mut archive)?;
            }
            Ok(archive.finish()?)
        })?;
        if let Some(partial) = wals.partial {
            job.context.tell(Event::CopyingPartialWals);
            let mut archive = RemoteArchive::open(&self.host, wals.dir, &transfer)?;
            send(job, partial, &mut archive)?;
            archive.finish()?;
        }
        if wals.marked {
            job.context.tell(Event::GeneratingArchiveStatus);
            self.mark(job, wals, &status, &transfer)?;
        }
        Ok(())
    }

    fn mark(
        &self,
        job: Job<'_>,
        wals: &WalFiles<'_>,
        status: &Path,
        transfer: &Transfer,
    ) -> Result<(), RestoreError> {
        let mut archive = RemoteArchive::open(&self.host, status, transfer)?;
        for name in wals.names {
            let name = format!("{name}.done");
            archive.start(&member(job, Path::new(&name), 0))?;
        }
        Ok(archive.finish()?)
    }
}

fn member<'n>(job: Job<'_>, name: &'n Path, size: u64) -> NewMember<'n> {
    let mut member = NewMember::file(name, size);
    member.kind = MemberKind::File;
    member.mode = 0o600;
    member.mtime = (u64::try_from(job.context.now().unix_timestamp()).unwrap_or(0), 0);
    member
}

/// One file, whose size must be said before its content: that of a segment is known, and the others are small.
fn send(job: Job<'_>, name: WalName, archive: &mut RemoteArchive) -> Result<(), RestoreError> {
    let mut wal = wals::Wal::open(job, name)?;
    let text = name.to_string();
    let mut buffer = vec![0; PIECE];
    let WalName::Segment(segment) = name else {
        let mut content = Vec::new();
        loop {
            let count = wal.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            content.extend_from_slice(buffer.get(..count).unwrap_or_default());
            if content.len() > MOST_SMALL {
                return Err(RestoreError::Archives {
                    problem: format!("{name} in the archive is too large"),
                });
            }
        }
        archive.start(&member(job, Path::new(&text), content.len() as u64))?;
        return Ok(archive.data(&content)?);
    };
    let size = job.plan.record.segment_size().bytes();
    archive.start(&member(job, Path::new(&text), size))?;
    let mut sent = 0;
    loop {
        let count = wal.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        sent += count as u64;
        if sent > size {
            return Err(RestoreError::WalSize { segment, expected: size, found: sent });
        }
        archive.data(buffer.get(..count).unwrap_or_default())?;
    }
    // The beginning of a segment is filled up with zeros, where replay ends.
    if wal.whole()?.is_some() {
        buffer.fill(0);
        while sent < size {
            let count = usize::try_from(size - sent).unwrap_or(PIECE).min(PIECE);
            archive.data(buffer.get(..count).unwrap_or_default())?;
            sent += count as u64;
        }
    }
    Ok(())
}
