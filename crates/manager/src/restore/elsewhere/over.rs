//! What a restore finds in its destination on the other host and goes over: the same decisions as for one of this host, by what the
//! other one lists.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tapster_catalog::BackupRecord;
use tapster_copy::delta::{Inventory, Kind, Listed};
use tapster_copy::remote::{RemoteError, Script};

use super::aside::not_archived;
use super::ground::{LOOKING, PATIENCE, There};
use super::shell;
use crate::restore::archives::is_archived;
use crate::restore::delta::{KEPT, check_control, kept_in_tablespace, not_archived_text};
use crate::restore::occupied::Unfinished;
use crate::restore::{DeltaPlan, RestorePlanError, TablespacePlace};
use crate::{Context, Server};

/// Directories of every cluster that may be empty: a manifest does not name them, but what is put together has them (`subdirs` in
/// `initdb.c`).
const MAYBE_EMPTY: [&str; 17] = [
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_logical/mappings",
    "pg_logical/snapshots",
    "pg_multixact/members",
    "pg_multixact/offsets",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_tblspc",
    "pg_twophase",
    "pg_wal",
    "pg_xact",
];
/// Of one name in the list.
const MOST_NAME: usize = 64 * 1024;

impl Server {
    /// What is done with what the destination holds, which may be gone over; `None` when it holds nothing.
    pub(in crate::restore) fn plan_delta_there(
        &self,
        there: &There,
        chain: &[BackupRecord],
        destination: &Path,
        tablespaces: &[TablespacePlace],
        warnings: &mut Vec<String>,
        context: &Context<'_>,
    ) -> Result<Option<DeltaPlan>, RestorePlanError> {
        let Some(record) = chain.last() else { return Ok(None) };
        if there.is_empty(destination, tablespaces)? {
            return Ok(None);
        }
        // By which WAL that is nowhere else is told.
        ["od", "cksum"].into_iter().try_for_each(|program| there.needs(program))?;
        check_control(&there.ask(shell::CONTROL, &[destination.as_os_str()])?, destination, record)?;
        let mut delta = DeltaPlan { unfinished: there.begun(destination)?, ..DeltaPlan::default() };
        // An archive is sent as a whole.
        delta.emptied = is_archived(record) && chain.len() == 1;
        let (mut data, mut others) = match delta.emptied {
            true => Default::default(),
            false => self.inventories(chain, tablespaces)?,
        };
        let mut keep: Vec<String> = KEPT.iter().map(|name| (*name).to_owned()).collect();
        data.add(Path::new("pg_wal"), Kind::Directory);
        if chain.len() > 1 {
            MAYBE_EMPTY.iter().for_each(|name| data.add(Path::new(name), Kind::Directory));
        }
        let real = there.resolved(destination)?;
        for place in tablespaces {
            if let Ok(inside) = there.resolved(&place.location)?.strip_prefix(&real) {
                data.add(inside, Kind::Directory);
                keep.push(format!("/{}", inside.display()));
            }
        }
        data.sort();
        delta.removed = there.not_in(destination, &data, &keep, context)?;
        for place in tablespaces {
            let names = there.names(&place.location)?;
            let keep = kept_in_tablespace(record, names.iter().map(String::as_str));
            let inventory = others.remove(&place.oid).unwrap_or_default();
            delta.removed.extend(there.not_in(&place.location, &inventory, &keep, context)?);
        }
        delta.present_bytes = there.present(destination, tablespaces)?;
        delta.set_aside = not_archived(self, there.host(), record, destination, &context.stop)?;
        warnings.extend(not_archived_text(&delta.set_aside, destination));
        there.links_left(destination, tablespaces, warnings)?;
        Ok(Some(delta))
    }
}

impl There {
    /// The restore that broke off there, if it did; the error says that one goes on.
    pub(super) fn begun(&self, destination: &Path) -> Result<Option<Unfinished>, RestorePlanError> {
        let said = self.ask(shell::BEGUN, &[destination.as_os_str()])?;
        let text = String::from_utf8_lossy(&said);
        if let Some(pid) = text.strip_prefix("busy ") {
            return Err(self.busy(destination, pid));
        }
        Ok(text.strip_prefix("unfinished\n").map(Unfinished::parse))
    }

    /// What a restore has to say to which a script has answered `busy` and the number of a process.
    pub(super) fn busy(&self, destination: &Path, pid: &str) -> RestorePlanError {
        let (path, command) = (destination.to_owned(), self.host().command().to_owned());
        RestorePlanError::RunningThere { path, pid: pid.trim().parse().unwrap_or_default(), command }
    }

    /// The first names in a directory of few.
    fn names(&self, dir: &Path) -> Result<Vec<String>, RestorePlanError> {
        let list = "cd \"$1\" 2>/dev/null || exit 0; for f in PG_*; do printf %s \"$f\" | tr -d '[:cntrl:]'; echo; done";
        let said = self.ask(list, &[dir.as_os_str()])?;
        Ok(String::from_utf8_lossy(&said).lines().map(str::to_owned).collect())
    }

    /// The names below a directory that are not to be there.
    fn not_in(
        &self,
        dir: &Path,
        inventory: &Inventory,
        keep: &[String],
        context: &Context<'_>,
    ) -> Result<Vec<PathBuf>, RestorePlanError> {
        let arguments = [dir.as_os_str()];
        let script = Script::new(LOOKING, shell::NAMES, &arguments);
        let mut names = Names { listed: Listed::new(inventory, keep), begun: Vec::new(), is_whole: false };
        self.host().read(&script, &context.stop, |piece| names.take(piece))?;
        if !names.is_whole {
            return Err(RemoteError::answer(LOOKING, &names.begun).into());
        }
        Ok(names.listed.removed().into_iter().map(|path| dir.join(path)).collect())
    }

    /// Bytes on disk there, but for what stays.
    fn present(&self, destination: &Path, tablespaces: &[TablespacePlace]) -> Result<u64, RestorePlanError> {
        let mut arguments = vec![destination.as_os_str()];
        for place in tablespaces.iter().filter(|place| !place.location.starts_with(destination)) {
            arguments.push(place.location.as_os_str());
        }
        let mut script = Script::new(LOOKING, shell::SIZES, &arguments);
        // All of it is counted.
        script.patience = None;
        let said = self.host().run(&script, self.stop())?;
        let text = String::from_utf8_lossy(&said);
        let numbers: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        match numbers[..] {
            [all, kept] => Ok(all.saturating_sub(kept).saturating_mul(1024)),
            _ => Err(RemoteError::answer(LOOKING, &said).into()),
        }
    }

    /// Links of the destination that the restored cluster will not have: where they lead nothing is touched.
    fn links_left(
        &self,
        destination: &Path,
        tablespaces: &[TablespacePlace],
        warnings: &mut Vec<String>,
    ) -> Result<(), RestorePlanError> {
        let said = self.ask(shell::LINKS, &[destination.as_os_str()])?;
        let text = String::from_utf8_lossy(&said);
        let mut lines = text.lines();
        while let (Some(link), Some(to)) = (lines.next(), lines.next()) {
            if !tablespaces.iter().any(|place| place.location == Path::new(to)) {
                let link = destination.join(link);
                warnings.push(format!(
                    "the link '{}' goes; '{to}', where it leads, is left as it is",
                    link.display()
                ));
            }
        }
        Ok(())
    }

    /// A script that says little.
    fn ask(&self, text: &str, arguments: &[&OsStr]) -> Result<Vec<u8>, RestorePlanError> {
        let mut script = Script::new(LOOKING, text, arguments);
        script.patience = Some(PATIENCE);
        Ok(self.host().run(&script, self.stop())?)
    }
}

/// What [`NAMES`](shell::NAMES) says, as it comes.
struct Names<'a> {
    listed: Listed<'a>,
    begun: Vec<u8>,
    is_whole: bool,
}

impl Names<'_> {
    fn take(&mut self, mut piece: &[u8]) -> Result<(), RemoteError> {
        while let Some(end) = piece.iter().position(|byte| *byte == 0) {
            let (part, rest) = piece.split_at_checked(end).unwrap_or((piece, &[]));
            piece = rest.get(1..).unwrap_or_default();
            let mut record = std::mem::take(&mut self.begun);
            record.extend_from_slice(part);
            self.name(&record)?;
            record.clear();
            self.begun = record;
        }
        self.begun.extend_from_slice(piece);
        if self.begun.len() > MOST_NAME {
            Err(RemoteError::answer(LOOKING, b"a name without end"))
        } else {
            Ok(())
        }
    }

    fn name(&mut self, record: &[u8]) -> Result<(), RemoteError> {
        let refused = || RemoteError::answer(LOOKING, record);
        if self.is_whole {
            return Err(refused());
        }
        let (kind, path) = match record.split_first() {
            _ if record == b"end" => {
                self.is_whole = true;
                return Ok(());
            }
            Some((b'd', path)) => (Some(Kind::Directory), path),
            Some((b'f', path)) => (Some(Kind::File), path),
            Some((b'o', path)) => (None, path),
            _ => return Err(refused()),
        };
        if path == b"." {
            return Ok(());
        }
        let path = path.strip_prefix(b"./").ok_or_else(refused)?;
        self.listed.take(Path::new(OsStr::from_bytes(path)), kind);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_pieces_and_end() {
        let mut inventory = Inventory::default();
        inventory.add(Path::new("base/1/1259"), Kind::File);
        inventory.sort();
        let said = b"d.\0d./base\0d./base/1\0d./ne\nw\0f./base/1/1259\0f./ne\nw/x\0o./li nk\0end\0";
        for size in [1, 2, 7, 1000] {
            let mut names =
                Names { listed: Listed::new(&inventory, &[]), begun: Vec::new(), is_whole: false };
            said.chunks(size).for_each(|piece| names.take(piece).unwrap());
            assert!(names.is_whole);
            assert_eq!(names.listed.removed(), ["li nk", "ne\nw"].map(PathBuf::from));
        }
        for bad in [&b"x./a\0"[..], b"\0", b"fa\0", b"end\0end\0", &[b'f'; MOST_NAME + 1]] {
            let mut names =
                Names { listed: Listed::new(&inventory, &[]), begun: Vec::new(), is_whole: false };
            assert!(names.take(bad).is_err());
        }
    }
}
