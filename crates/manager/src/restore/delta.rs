//! A restore over what is in the destination already.
//!
//! It is decided here what goes and what may be kept; that it is the right destination comes first. Only a directory that is a cluster, or
//! what a restore left that broke off, is gone over; never one in which a server runs, never a tablespace that may belong to
//! another cluster.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use tapster_catalog::BackupRecord;
use tapster_catalog::locks::Lock;
use tapster_copy::delta::{Inventory, Kind, Prune, PruneError, PruneOptions, disarm};
use tapster_copy::tree::{Plan, RESTORE_EXCLUDES, TreeError, TreeOptions};
use tapster_copy::{manifest, publish, sync};
use walfile::{ControlFile, SystemId, WalName};

use super::archived_wal::file_names;
use super::archives::is_archived;
use super::execute::CONTROL;
use super::here::NOT_RESTORED;
use super::occupied::{Found, MARKER, Unfinished, look, server_on, user_of};
use super::places::resolved;
use super::unarchived::SET_ASIDE;
use super::{RestoreError, RestorePlan, RestorePlanError, TablespacePlace};
use crate::event::Event;
use crate::{Context, Server};

/// What a restore finds in its destination and goes over.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeltaPlan {
    /// What is removed, by its whole path; a directory with all that is in it.
    pub removed: Vec<PathBuf>,
    /// Bytes that are there, removed or not.
    pub present_bytes: u64,
    /// The same by the number of the file system (`st_dev`); nothing for another host.
    pub present: BTreeMap<u64, u64>,
    /// Nothing is kept: the destination is emptied first, but for what no restore touches.
    pub emptied: bool,
    /// WAL files of the destination that the archive does not have. They are moved to `pg_wal/not-archived`; so is what
    /// has come until then.
    pub set_aside: Vec<WalName>,
    /// The restore that broke off here.
    pub unfinished: Option<Unfinished>,
}

impl RestorePlan {
    /// What of the destination was right already.
    pub(super) fn tell_kept(&self, files: u64, bytes: u64, context: &Context<'_>) {
        if self.delta.is_some() {
            context.tell(Event::KeptInPlace { files, bytes });
        }
    }
}

/// What goes over a directory: its names, and what stays besides.
struct Root {
    path: PathBuf,
    inventory: Inventory,
    keep: Vec<String>,
}

impl Root {
    fn options(&self, context: &Context<'_>) -> PruneOptions {
        let mut options = PruneOptions::default();
        options.keep.clone_from(&self.keep);
        options.mounts = vec![PathBuf::from("pg_wal")];
        options.stop = std::sync::Arc::clone(&context.stop);
        options
    }
}

impl Server {
    /// Whether the destination may be restored to, and what is done with what it holds; `None` when it holds nothing.
    pub(super) fn plan_delta(
        &self,
        chain: &[BackupRecord],
        destination: &Path,
        tablespaces: &[TablespacePlace],
        asked_for: bool,
        warnings: &mut Vec<String>,
        context: &Context<'_>,
    ) -> Result<Option<DeltaPlan>, RestorePlanError> {
        let path = || destination.to_owned();
        let found = look(destination)?;
        if found != Found::Nothing
            && let Ok(Some(pid)) = Lock::holder(&destination.join(MARKER))
        {
            return Err(RestorePlanError::Running { path: path(), pid });
        }
        let unfinished = match found {
            Found::Nothing => {
                is_free(tablespaces)?;
                return Ok(None);
            }
            Found::Unfinished(unfinished) if !asked_for => {
                return Err(RestorePlanError::Unfinished { path: path(), unfinished });
            }
            _ if !asked_for => return Err(RestorePlanError::DestinationNotEmpty { path: path() }),
            Found::Other(name) => return Err(RestorePlanError::NotACluster { path: path(), name }),
            Found::Cluster => None,
            Found::Unfinished(unfinished) => Some(unfinished),
        };
        let Some(record) = chain.last() else { return Ok(None) };
        check_cluster(destination, record)?;
        if let Some(pid) = server_on(destination) {
            return Err(RestorePlanError::ServerRunning { path: path(), pid });
        }
        for place in tablespaces {
            check_owner(destination, place)?;
        }
        let mut delta = DeltaPlan { unfinished, ..DeltaPlan::default() };
        for root in self.roots(chain, destination, tablespaces)? {
            let prune = Prune::plan(&root.path, &root.inventory, &root.options(context)).map_err(refusal)?;
            for (device, bytes) in prune.bytes {
                let present = delta.present.entry(device).or_default();
                *present = present.saturating_add(bytes);
                delta.present_bytes = delta.present_bytes.saturating_add(bytes);
            }
            delta.removed.extend(prune.removed);
        }
        delta.set_aside = self.not_archived(record, destination, &context.stop)?;
        warnings.extend(not_archived_text(&delta.set_aside, destination));
        links_left(destination, tablespaces, warnings)?;
        Ok(Some(delta))
    }

    /// Takes away what must not be in the restored cluster; first of all the control file, so that from here on to the end of the
    /// restore no server starts on what is there. Then no WAL comes any more, and what the archive does not have is saved: a
    /// server that started without it would take the hole for the end.
    pub(super) fn clear(&self, plan: &RestorePlan, context: &Context<'_>) -> Result<(), RestoreError> {
        let destination = &plan.destination;
        if let Some(pid) = server_on(destination) {
            return Err(RestoreError::ServerRunning { path: destination.clone(), pid });
        }
        // Before anything is touched: what cannot be looked at had better be found out now.
        self.not_archived(&plan.record, destination, &context.stop).map_err(RestoreError::Destination)?;
        disarm(destination).map_err(TreeError::from)?;
        let (wal, aside) = (destination.join("pg_wal"), destination.join(SET_ASIDE));
        let saved = self.not_archived(&plan.record, destination, &context.stop);
        let saved = saved.map_err(RestoreError::Destination)?;
        if !saved.is_empty() {
            sync::create_dir_all(&aside, 0o700).map_err(TreeError::from)?;
        }
        for name in saved {
            let (from, to) = (wal.join(name.to_string()), aside.join(name.to_string()));
            let to = if to.symlink_metadata().is_ok() { free_name(&to) } else { to };
            publish::publish(&from, &to).map_err(TreeError::from)?;
        }
        for root in
            self.roots(&plan.chain, destination, &plan.tablespaces).map_err(RestoreError::Destination)?
        {
            let prune = Prune::plan(&root.path, &root.inventory, &root.options(context))
                .map_err(|error| RestoreError::Destination(refusal(error)))?;
            prune.execute(&context.stop).map_err(|error| RestoreError::Destination(refusal(error)))?;
        }
        Ok(())
    }

    /// What the destination and the tablespaces are to hold.
    fn roots(
        &self,
        chain: &[BackupRecord],
        destination: &Path,
        tablespaces: &[TablespacePlace],
    ) -> Result<Vec<Root>, RestorePlanError> {
        let Some(record) = chain.last() else { return Ok(Vec::new()) };
        let (mut data, mut others) = self.inventories(chain, tablespaces)?;
        let mut keep: Vec<String> = KEPT.iter().map(|name| (*name).to_owned()).collect();
        data.add(Path::new("pg_wal"), Kind::Directory);
        let real = resolved(destination);
        for place in tablespaces {
            if let Ok(inside) = resolved(&place.location).strip_prefix(&real) {
                data.add(inside, Kind::Directory);
                keep.push(format!("/{}", inside.display()));
            }
        }
        data.sort();
        let mut roots = vec![Root { path: destination.to_owned(), inventory: data, keep }];
        for place in tablespaces {
            let inventory = others.remove(&place.oid).unwrap_or_default();
            let names = file_names(&place.location)?;
            let keep = kept_in_tablespace(record, names.iter().map(String::as_str));
            roots.push(Root { path: place.location.clone(), inventory, keep });
        }
        Ok(roots)
    }

    /// The names a backup has, in the data directory and in tablespaces elsewhere.
    pub(super) fn inventories(
        &self,
        chain: &[BackupRecord],
        tablespaces: &[TablespacePlace],
    ) -> Result<(Inventory, BTreeMap<u32, Inventory>), RestorePlanError> {
        let Some(record) = chain.last() else { return Ok(Default::default()) };
        let source = self.layout().data_dir(&record.id);
        if chain.len() > 1 || is_archived(record) {
            let oids: Vec<u32> = tablespaces.iter().map(|place| place.oid).collect();
            listed(&source.join(manifest::FILE_NAME), &oids)
        } else {
            let walk = |source: &Path, excludes: &[&str]| {
                let mut options = TreeOptions::default();
                options.excludes = excludes.iter().map(|pattern| (*pattern).to_owned()).collect();
                options.last = None;
                let plan = Plan::new(source, options).map_err(|error| RestorePlanError::Io {
                    path: source.to_owned(),
                    source: std::io::Error::other(error),
                })?;
                Ok::<_, RestorePlanError>(plan.inventory())
            };
            let mut others = BTreeMap::new();
            for place in tablespaces {
                others.insert(place.oid, walk(&self.layout().tablespace_dir(&record.id, place.oid), &[])?);
            }
            Ok((walk(&source, &[&RESTORE_EXCLUDES[..], &NOT_RESTORED].concat())?, others))
        }
    }
}

/// What of a tablespace stays besides what the backup has: that of clusters of other releases, as pg_upgrade leaves them.
pub(super) fn kept_in_tablespace<'n>(
    record: &BackupRecord,
    names: impl Iterator<Item = &'n str>,
) -> Vec<String> {
    let own = record.version.map(version_prefix);
    let is_other = |name: &&str| {
        own.as_ref().is_some_and(|own| !name.starts_with(own.as_str())) && name.starts_with("PG_")
    };
    let own = [format!("/{MARKER}"), "/lost+found".to_owned()];
    own.into_iter().chain(names.filter(is_other).map(|name| format!("/{name}"))).collect()
}

/// What becomes of WAL that only the destination has.
pub(super) fn not_archived_text(names: &[WalName], destination: &Path) -> Option<String> {
    let (first, last) = (names.first()?, names.last()?);
    Some(format!(
        "'{}' holds {} WAL files that are not in the archive, {first} to {last}: they are moved to '{}'",
        destination.join("pg_wal").display(),
        names.len(),
        destination.join(SET_ASIDE).display()
    ))
}

/// Besides what the backup has: the server's own logs, as Barman leaves them, what we need until the end, and WAL that was set
/// aside.
pub(super) const KEPT: [&str; 7] = [
    "/log",
    "/pg_log",
    "/.tapster-restore",
    "/.barman-recover.info",
    "/lost+found",
    "/pg_wal/lost+found",
    "/pg_wal/not-archived",
];

fn refusal(error: PruneError) -> RestorePlanError {
    match error {
        PruneError::Sync(error) => RestorePlanError::Io { path: error.path, source: error.source },
        PruneError::Mounted { path } => RestorePlanError::MountedBelow { path },
        PruneError::Stopped => RestorePlanError::Stopped,
        error => RestorePlanError::Io { path: PathBuf::new(), source: std::io::Error::other(error) },
    }
}

/// `PG_15_`
pub(super) fn version_prefix(version: u32) -> String {
    if version >= 100_000 {
        format!("PG_{}_", version / 10_000)
    } else {
        format!("PG_{}.{}_", version / 10_000, version / 100 % 100)
    }
}

/// By the manifest. Without one nothing that is there can be kept.
fn listed(path: &Path, oids: &[u32]) -> Result<(Inventory, BTreeMap<u32, Inventory>), RestorePlanError> {
    let fail = |source| RestorePlanError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Default::default()),
        file => file.map_err(fail)?,
    };
    let excludes: Vec<String> =
        RESTORE_EXCLUDES.iter().chain(&NOT_RESTORED).map(|name| (*name).to_owned()).collect();
    Inventory::of_manifest(file, oids, &excludes).map_err(|error| fail(std::io::Error::other(error)))
}

/// The places of tablespaces are empty, as the destination is; but for what the file system itself has put there, which is not in
/// the way of a tablespace.
fn is_free(tablespaces: &[TablespacePlace]) -> Result<(), RestorePlanError> {
    for place in tablespaces {
        if file_names(&place.location)?.iter().any(|name| name != "lost+found") {
            let path = place.location.clone();
            return Err(RestorePlanError::TablespaceNotEmpty { name: place.name.clone(), path });
        }
    }
    Ok(())
}

/// That the cluster that is gone over is the one of the backup, as far as its control file tells.
fn check_cluster(destination: &Path, record: &BackupRecord) -> Result<(), RestorePlanError> {
    let mut bytes = Vec::new();
    let file = File::open(destination.join(CONTROL));
    if file.and_then(|file| file.take(ControlFile::FILE_LEN as u64).read_to_end(&mut bytes)).is_err() {
        return Ok(());
    }
    check_control(&bytes, destination, record)
}

/// The same by the content of the control file.
pub(super) fn check_control(
    bytes: &[u8],
    destination: &Path,
    record: &BackupRecord,
) -> Result<(), RestorePlanError> {
    let expected: Option<SystemId> = record.systemid.as_ref().and_then(|text| text.parse().ok());
    match (ControlFile::parse(bytes), expected) {
        (Ok(ControlFile { system_id: found, .. }), Some(expected)) if found != expected => {
            Err(RestorePlanError::OtherCluster { path: destination.to_owned(), expected, found })
        }
        _ => Ok(()),
    }
}

/// That what is in the place of a tablespace is of the cluster that is gone over: its link leads there, or a restore to it
/// left a mark there. A copy of a data directory has the original's links, so its server must not run either.
fn check_owner(destination: &Path, place: &TablespacePlace) -> Result<(), RestorePlanError> {
    let path = || place.location.clone();
    let names = file_names(&place.location)?;
    if names.is_empty() {
        return Ok(());
    }
    let link = destination.join("pg_tblspc").join(place.oid.to_string());
    let is_linked = std::fs::read_link(&link)
        .is_ok_and(|to| resolved(&destination.join("pg_tblspc").join(to)) == resolved(&place.location));
    let is_marked = Unfinished::read(&place.location)
        .is_some_and(|mark| mark.destination.as_deref() == Some(&resolved(destination)));
    if !is_linked && !is_marked {
        return Err(RestorePlanError::ForeignTablespace { name: place.name.clone(), path: path() });
    }
    let is_known = |name: &String| name.starts_with("PG_") || name == MARKER || name == "lost+found";
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        return Err(RestorePlanError::NotACluster { path: path(), name: name.clone() });
    }
    if let Some(pid) = user_of(&place.location) {
        return Err(RestorePlanError::ServerRunning { path: path(), pid });
    }
    Ok(())
}

/// Links of the destination that the restored cluster will not have: where they lead nothing is touched.
fn links_left(
    destination: &Path,
    tablespaces: &[TablespacePlace],
    warnings: &mut Vec<String>,
) -> Result<(), RestorePlanError> {
    let links = destination.join("pg_tblspc");
    let inner = file_names(&links)?.into_iter().map(|name| links.join(name));
    for link in inner.chain(["pg_wal", "log", "pg_log"].map(|name| destination.join(name))) {
        let Ok(to) = std::fs::read_link(&link) else { continue };
        let real = resolved(&links.join(&to));
        if !tablespaces.iter().any(|place| resolved(&place.location) == real) {
            warnings.push(format!(
                "the link '{}' goes; '{}', where it leads, is left as it is",
                link.display(),
                to.display()
            ));
        }
    }
    Ok(())
}

fn free_name(path: &Path) -> PathBuf {
    let mut number = 1_u32;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        let free = PathBuf::from(name);
        if !free.exists() {
            return free;
        }
        number = number.saturating_add(1);
    }
}
