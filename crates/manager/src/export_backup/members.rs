//! What goes into the archive, in Barman's order.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, ReadDir};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tapster_catalog::{BackupRecord, Identity, WalStore, XlogEntry};
use tapster_copy::tar::{MemberKind, NewMember, Writer};
use walfile::{SegmentName, Timeline, TimelineHistory, WalName};

use super::ExportError;
use crate::event::Progress;
use crate::{Context, Server};

const BUFFER: usize = 256 * 1024;
/// A record is a few KiB.
const MAX_RECORD: u64 = 4 * 1024 * 1024;
/// A history file is a few hundred bytes.
const MAX_HISTORY: u64 = 4 * 1024 * 1024;

/// Writes the members.
pub(super) struct Members<'a, 'c, W> {
    pub(super) server: &'a Server,
    pub(super) context: &'a Context<'c>,
    pub(super) archive: Writer<W>,
    /// For messages.
    pub(super) path: &'a Path,
    pub(super) total: Option<u64>,
    pub(super) done: u64,
    pub(super) buffer: Vec<u8>,
}

impl<W: Write> Members<'_, '_, W> {
    /// Everything; returns how many WAL files and history files there are.
    pub(super) fn write(
        &mut self,
        record: &BackupRecord,
        identity: &Identity,
        wals: &BTreeMap<SegmentName, XlogEntry>,
    ) -> Result<(usize, usize), ExportError> {
        self.buffer.resize(BUFFER, 0);
        // Serialising strings cannot fail. The order of the keys is Barman's, which sorts them.
        let text = |value: &str| serde_json::to_string(value).unwrap_or_default();
        let identity = format!(
            "{{\n    \"systemid\": {},\n    \"version\": {}\n}}",
            text(&identity.system_id),
            text(&identity.version)
        );
        self.bytes("identity.json", identity.as_bytes())?;
        let layout = self.server.layout();
        let info = [layout.record(&record.id), layout.old_record(&record.id)];
        let [new, old] = &info;
        let info = if new.exists() { new } else { old };
        let mut content = Vec::new();
        File::open(info)
            .and_then(|file| file.take(MAX_RECORD).read_to_end(&mut content))
            .map_err(|source| ExportError::Read { path: info.clone(), source })?;
        self.bytes("backup.info", &content)?;
        let about = format!(
            "{{\n    \"tapster_ver\": {},\n    \"timestamp\": {}\n}}",
            text(env!("CARGO_PKG_VERSION")),
            text(&self.context.now().to_string())
        );
        self.bytes("barman.json", about.as_bytes())?;
        self.tree(record)?;
        let mut index = Vec::new();
        for (segment, entry) in wals {
            let name = WalName::from(*segment);
            let path = layout.wal(name);
            if !path.is_file() {
                return Err(ExportError::Missing { id: record.id, name: *segment });
            }
            self.wal(name, &path)?;
            writeln!(index, "{entry}").map_err(|source| self.unwritable(source))?;
        }
        let histories = self.histories(record)?;
        for path in &histories {
            let Some(name) = path.file_name() else { continue };
            self.file(&Path::new("wals").join(name), path)?;
        }
        self.bytes("xlog.db", &index)?;
        Ok((wals.len(), histories.len()))
    }

    pub(super) fn finish(self) -> Result<W, ExportError> {
        let path = self.path;
        self.archive.finish().map_err(|source| ExportError::Write { path: path.to_owned(), source })
    }

    /// The history files of the backup's timeline and its ancestors, as far as the archive has them. They stand beside the
    /// segments and not in `xlog.db`: Barman's import then leaves them out, where it would refuse the whole backup
    /// if the other archive has got the same file from elsewhere.
    fn histories(&self, record: &BackupRecord) -> Result<Vec<PathBuf>, ExportError> {
        let Some(timeline) = record.timeline else { return Ok(Vec::new()) };
        let layout = self.server.layout();
        let mut timelines: Vec<Timeline> = vec![timeline];
        let own = WalName::History(timeline);
        if let Ok(reader) = WalStore::new(layout).open(own, false) {
            let mut text = Vec::new();
            let read = reader.take(MAX_HISTORY).read_to_end(&mut text);
            read.map_err(|source| ExportError::Read { path: layout.wal(own), source })?;
            match TimelineHistory::parse(timeline, &text) {
                Ok(history) => timelines.extend(history.entries().iter().map(|entry| entry.timeline)),
                Err(error) => tracing::warn!("{own} is not exported with its ancestors: {error}"),
            }
        }
        let paths = timelines.into_iter().map(|timeline| layout.wal(WalName::History(timeline)));
        Ok(paths.filter(|path| path.is_file()).collect())
    }

    /// `base/<id>` as `backup/`, one directory's entries at a time.
    fn tree(&mut self, record: &BackupRecord) -> Result<(), ExportError> {
        let root = self.server.layout().backup_dir(&record.id);
        let name = PathBuf::from("backup");
        self.directory(&name, &root)?;
        let entries = list(&root)?;
        let mut open = vec![(root, name, entries)];
        while let Some((dir, dir_name, entries)) = open.last_mut() {
            let Some(entry) = entries.next() else {
                open.pop();
                continue;
            };
            let entry = entry.map_err(|source| ExportError::Read { path: dir.clone(), source })?;
            let (path, name) = (entry.path(), dir_name.join(entry.file_name()));
            let kind =
                entry.file_type().map_err(|source| ExportError::Read { path: path.clone(), source })?;
            if kind.is_dir() {
                self.directory(&name, &path)?;
                let entries = list(&path)?;
                open.push((path, name, entries));
            } else if kind.is_file() {
                self.file(&name, &path)?;
            } else if kind.is_symlink() && name.parent() == Some(Path::new("backup/data/pg_tblspc")) {
                self.link(&name, &path)?;
            } else {
                return Err(ExportError::Kind { path });
            }
        }
        Ok(())
    }

    fn wal(&mut self, name: WalName, path: &Path) -> Result<(), ExportError> {
        let dir = Path::new("wals").join(name.hash_dir().unwrap_or_default());
        self.file(&dir.join(name.to_string()), path)
    }

    fn directory(&mut self, name: &Path, path: &Path) -> Result<(), ExportError> {
        let metadata = metadata(path)?;
        let mut member = member(name, &metadata);
        (member.kind, member.size) = (MemberKind::Directory, 0);
        self.start(&member)
    }

    fn link(&mut self, name: &Path, path: &Path) -> Result<(), ExportError> {
        let read = |source| ExportError::Read { path: path.to_owned(), source };
        let metadata = path.symlink_metadata().map_err(read)?;
        let target = std::fs::read_link(path).map_err(read)?;
        let mut member = member(name, &metadata);
        (member.kind, member.size) = (MemberKind::Symlink(target.into_os_string()), 0);
        self.start(&member)
    }

    fn file(&mut self, name: &Path, path: &Path) -> Result<(), ExportError> {
        let read = |source| ExportError::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        let member = member(name, &metadata);
        self.start(&member)?;
        let mut left = metadata.len();
        while left > 0 {
            if self.context.stopped() {
                return Err(ExportError::Stopped);
            }
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let got = match file.read(self.buffer.get_mut(..room).unwrap_or_default()) {
                Ok(0) => return Err(read(io::ErrorKind::UnexpectedEof.into())),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(read(error)),
            };
            let written = self.archive.write_all(self.buffer.get(..got).unwrap_or_default());
            written.map_err(|source| self.unwritable(source))?;
            left -= got as u64;
            self.done += got as u64;
            self.context.observer.progress(Progress { done: self.done, total: self.total });
        }
        Ok(())
    }

    fn bytes(&mut self, name: &str, content: &[u8]) -> Result<(), ExportError> {
        let mut member = NewMember::file(name.as_ref(), content.len() as u64);
        member.mtime = (u64::try_from(self.context.now().unix_timestamp()).unwrap_or(0), 0);
        self.start(&member)?;
        self.archive.write_all(content).map_err(|source| self.unwritable(source))
    }

    fn start(&mut self, member: &NewMember<'_>) -> Result<(), ExportError> {
        self.archive.start(member).map_err(|source| self.unwritable(source))
    }

    fn unwritable(&self, source: io::Error) -> ExportError {
        ExportError::Write { path: self.path.to_owned(), source }
    }
}

fn member<'a>(name: &'a Path, metadata: &Metadata) -> NewMember<'a> {
    let mut member = NewMember::file(name, metadata.len());
    member.mode = metadata.mode() & 0o7777;
    member.owner = (metadata.uid(), metadata.gid());
    // Times before 1970 and such beyond a second are nobody's.
    member.mtime = (
        u64::try_from(metadata.mtime()).unwrap_or(0),
        u32::try_from(metadata.mtime_nsec()).unwrap_or(0).min(999_999_999),
    );
    member
}

fn metadata(path: &Path) -> Result<Metadata, ExportError> {
    path.metadata().map_err(|source| ExportError::Read { path: path.to_owned(), source })
}

fn list(path: &Path) -> Result<ReadDir, ExportError> {
    std::fs::read_dir(path).map_err(|source| ExportError::Read { path: path.to_owned(), source })
}
