//! Members of the archive into the staging directory.

use std::io::{Read as _, Write as _};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tapster_catalog::ServerLayout;
use tapster_catalog::import::{Import, ImportFile};
use tapster_copy::tar::{Event, Member, MemberKind, Parser};
use walfile::WalName;

use super::ImportBackupError;
use super::input::Input;
use crate::Context;
use crate::event::Progress;

/// Largest `identity.json`.
const MAX_IDENTITY: u64 = 64 * 1024;
/// Largest `backup.info`; real ones have a few KiB.
const MAX_RECORD: u64 = 4 * 1024 * 1024;
/// Largest `xlog.db`: the lines of more than 400,000 segments.
const MAX_INDEX: u64 = 32 * 1024 * 1024;
/// What a file or directory costs besides its content, at least.
const OVERHEAD: u64 = 4096;
/// What stays free at least, for the WAL that comes meanwhile: 64 segments of the usual size.
const RESERVE: u64 = 64 * (16 << 20);
/// After so many bytes it is asked again what is free, as others write as well.
const ASK_AFTER: u64 = 1 << 30;

/// Texts of the archive that are read rather than stored.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) identity: Option<Vec<u8>>,
    pub(super) record: Option<Vec<u8>>,
    pub(super) index: Option<Vec<u8>>,
    /// History files that came.
    pub(super) histories: Vec<WalName>,
    pub(super) has_backup: bool,
}

/// Where the data of the member under way goes.
enum Current<'i> {
    /// Nowhere: a directory, a link, or a member this version does not know.
    Nothing,
    Text(What, Vec<u8>),
    File(ImportFile<'i>, Member),
}

#[derive(Clone, Copy)]
enum What {
    Identity,
    Record,
    Index,
}

/// How much the archive may still bring.
struct Room {
    dir: PathBuf,
    /// Free bytes when the import began.
    available: u64,
    /// What it may not touch: a file system without a free byte takes no WAL, and the server's own fills up then.
    reserve: u64,
    /// What has not been promised to a member yet.
    left: u64,
    /// Bytes written since it was asked what is free.
    unasked: u64,
}

/// Reads the whole archive; `identity` is asked as soon as that member has been read.
pub(super) fn unpack(
    input: &mut Input,
    tarball: &Path,
    import: &mut Import<'_>,
    identity: &mut dyn FnMut(&[u8]) -> Result<(), ImportBackupError>,
    context: &Context<'_>,
) -> Result<Texts, ImportBackupError> {
    let mut room = Room::new(import.staging())?;
    let mut parser = Parser::new();
    let mut texts = Texts::default();
    let mut buffer = vec![0; 256 * 1024];
    let mut done = 0;
    let mut reader =
        MemberReader { parser: &mut parser, input, tarball, buffer: &mut buffer, start: 0, end: 0 };
    while let Some(member) = reader.next_member()? {
        if context.stopped() {
            return Err(ImportBackupError::Stopped);
        }
        room.take(&member)?;
        let mut rest = member.size;
        let mut current = begin(&member, import, &mut texts)?;
        reader.data(|bytes| {
            done += bytes.len() as u64;
            context.observer.progress(Progress { done, total: None });
            if context.stopped() {
                return Err(ImportBackupError::Stopped);
            }
            match &mut current {
                Current::Nothing => {}
                Current::Text(_, text) => text.extend_from_slice(bytes),
                Current::File(file, _) => file.write_all(bytes).map_err(ImportBackupError::Write)?,
            }
            rest = rest.saturating_sub(bytes.len() as u64);
            room.wrote(bytes.len() as u64, rest)
        })?;
        match current {
            Current::Nothing => {}
            Current::File(file, member) => file.finish(member.mode, modified(&member))?,
            Current::Text(what, text) => {
                let place = match what {
                    What::Identity => {
                        identity(&text)?;
                        &mut texts.identity
                    }
                    What::Record => &mut texts.record,
                    What::Index => &mut texts.index,
                };
                if place.replace(text).is_some() {
                    return Err(refuse(&member, "it is there twice"));
                }
            }
        }
    }
    Ok(texts)
}

/// What is to become of a member, by its place.
fn begin<'i>(
    member: &Member,
    import: &'i mut Import<'_>,
    texts: &mut Texts,
) -> Result<Current<'i>, ImportBackupError> {
    let parts: Vec<&str> = member
        .path
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str().unwrap_or("\u{FFFD}"),
            _ => "\u{FFFD}",
        })
        .collect();
    let text = |what, limit| match member.kind {
        MemberKind::File if member.size <= limit => Ok(Current::Text(what, Vec::new())),
        MemberKind::File => Err(refuse(member, "it is too large")),
        _ => Err(refuse(member, "it is not a regular file")),
    };
    match (&parts[..], &member.kind) {
        (["identity.json"], _) => text(What::Identity, MAX_IDENTITY),
        (["backup.info"], _) => text(What::Record, MAX_RECORD),
        (["xlog.db"], _) => text(What::Index, MAX_INDEX),
        (["backup"], MemberKind::Directory) => {
            texts.has_backup = true;
            Ok(Current::Nothing)
        }
        (["backup", "data", "pg_tblspc", oid], MemberKind::Symlink(_)) => {
            let oid = oid.parse().map_err(|_| refuse(member, "it is a link of no tablespace"))?;
            import.tablespace_link(oid);
            Ok(Current::Nothing)
        }
        (_, MemberKind::Symlink(_)) => Err(refuse(member, "it is a symbolic link")),
        (["backup", ..], kind) => {
            texts.has_backup = true;
            let path = member.path.strip_prefix("backup").unwrap_or(&member.path);
            if *kind == MemberKind::Directory {
                import.directory(path, member.mode)?;
                return Ok(Current::Nothing);
            }
            Ok(Current::File(import.file(path)?, member.clone()))
        }
        (["wals"], MemberKind::Directory) => Ok(Current::Nothing),
        (["wals", dir], MemberKind::Directory) if ServerLayout::is_hash_dir(dir) => Ok(Current::Nothing),
        (["wals", dir @ .., name], MemberKind::File) => {
            let wal: WalName = name.parse().map_err(|_| refuse(member, "it has no name of a WAL file"))?;
            let expected = wal.hash_dir();
            let in_place = match (&expected, dir) {
                (None, []) => true,
                (Some(expected), [dir]) => expected == dir,
                _ => false,
            };
            if !in_place {
                return Err(refuse(member, "it lies in the wrong directory"));
            }
            if matches!(wal, WalName::History(_)) {
                texts.histories.push(wal);
            }
            Ok(Current::File(import.wal(wal)?, member.clone()))
        }
        (["wals", ..], _) => Err(refuse(member, "it does not belong among WAL")),
        // barman.json, and what later versions may add.
        _ => Ok(Current::Nothing),
    }
}

impl Room {
    fn new(dir: &Path) -> Result<Self, ImportBackupError> {
        let (available, total) = free(dir)?;
        let reserve = reserve(available, total);
        Ok(Self { dir: dir.to_owned(), available, reserve, left: available - reserve, unasked: 0 })
    }

    /// An archive of a few KiB can say that it holds petabytes.
    fn take(&mut self, member: &Member) -> Result<(), ImportBackupError> {
        let needs = member.size.div_ceil(OVERHEAD).saturating_add(1).saturating_mul(OVERHEAD);
        self.promise(needs)
    }

    /// So much of a member has been written; so much is still to come.
    fn wrote(&mut self, bytes: u64, rest: u64) -> Result<(), ImportBackupError> {
        self.unasked = self.unasked.saturating_add(bytes);
        if self.unasked < ASK_AFTER {
            return Ok(());
        }
        self.unasked = 0;
        self.left = free(&self.dir)?.0.saturating_sub(self.reserve);
        self.promise(rest)
    }

    fn promise(&mut self, needs: u64) -> Result<(), ImportBackupError> {
        let space =
            || ImportBackupError::Space { path: self.dir.clone(), available: self.available - self.reserve };
        self.left = self.left.checked_sub(needs).ok_or_else(space)?;
        Ok(())
    }
}

/// Free bytes of the file system for who has no privilege, and all it has.
fn free(dir: &Path) -> Result<(u64, u64), ImportBackupError> {
    let space = rustix::fs::statvfs(dir)
        .map_err(|e| ImportBackupError::Read { path: dir.to_owned(), source: e.into() })?;
    Ok((space.f_bavail.saturating_mul(space.f_frsize), space.f_blocks.saturating_mul(space.f_frsize)))
}

/// The larger of a twentieth of the file system and 64 segments, but at most half of what is free: a small archive is to go into
/// a small file system.
fn reserve(available: u64, total: u64) -> u64 {
    (total / 20).max(RESERVE).min(available / 2)
}

/// Pulls the parser's events out of the input.
struct MemberReader<'a> {
    parser: &'a mut Parser,
    input: &'a mut Input,
    tarball: &'a Path,
    buffer: &'a mut [u8],
    start: usize,
    end: usize,
}

impl MemberReader<'_> {
    /// The next member; `None` at the end of the archive, when the whole input has been read.
    fn next_member(&mut self) -> Result<Option<Member>, ImportBackupError> {
        let mut found = None;
        self.events(|event| {
            if let Event::Member(member) = event {
                found = Some(member);
                return Ok(true);
            }
            Ok(false)
        })?;
        Ok(found)
    }

    fn data(
        &mut self,
        mut take: impl FnMut(&[u8]) -> Result<(), ImportBackupError>,
    ) -> Result<(), ImportBackupError> {
        self.events(|event| match event {
            Event::Data(bytes) => take(bytes).map(|()| false),
            Event::End => Ok(true),
            _ => Ok(false),
        })
    }

    /// Hands out events until `take` has had enough, or the input ends.
    fn events(
        &mut self,
        mut take: impl FnMut(Event<'_>) -> Result<bool, ImportBackupError>,
    ) -> Result<(), ImportBackupError> {
        let tar = |source| ImportBackupError::Tar { path: self.tarball.to_owned(), source };
        loop {
            let mut input = self.buffer.get(self.start..self.end).unwrap_or_default();
            let event = self.parser.next(&mut input).map_err(tar)?;
            self.start = self.end - input.len();
            match event {
                Some(event) => {
                    if take(event)? {
                        return Ok(());
                    }
                }
                None => {
                    let got = loop {
                        match self.input.read(self.buffer) {
                            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                            done => break done,
                        }
                    };
                    let path = || self.tarball.to_owned();
                    let got = got.map_err(|source| ImportBackupError::Read { path: path(), source })?;
                    (self.start, self.end) = (0, got);
                    if got == 0 {
                        return self.parser.finish().map_err(tar);
                    }
                }
            }
        }
    }
}

fn modified(member: &Member) -> SystemTime {
    let since = Duration::new(member.mtime.min(u64::from(u32::MAX) * 2), member.mtime_nanoseconds);
    SystemTime::UNIX_EPOCH + since
}

fn refuse(member: &Member, problem: &'static str) -> ImportBackupError {
    let name = member.path.to_string_lossy().chars().take(200).flat_map(char::escape_default).collect();
    ImportBackupError::Member { name, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_left_for_the_wal_that_comes_meanwhile() {
        const GB: u64 = 1 << 30;
        assert_eq!(reserve(900 * GB, 1000 * GB), 50 * GB);
        assert_eq!(reserve(9 * GB, 10 * GB), GB);
        assert_eq!(reserve(GB, 10 * GB), GB / 2);
        assert_eq!(reserve(0, 10 * GB), 0);
        let dir = tempfile::tempdir().unwrap();
        let mut room = Room::new(dir.path()).unwrap();
        assert!(room.reserve > 0 && room.left + room.reserve == room.available);
        let all_but_the_last = room.left - 1;
        room.promise(all_but_the_last).unwrap();
        assert!(matches!(room.promise(2), Err(ImportBackupError::Space { .. })));
        // What is written is what is free no more, so that nothing is counted twice; but others may write as well.
        room.wrote(ASK_AFTER, 0).unwrap();
        assert!(room.left > 1 && room.unasked == 0);
        assert!(matches!(room.wrote(ASK_AFTER, u64::MAX), Err(ImportBackupError::Space { .. })));
    }
}
