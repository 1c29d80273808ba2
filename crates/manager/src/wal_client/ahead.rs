//! Segments fetched into the spool while PostgreSQL replays: by a process of its own, for a `restore_command` has to end before the
//! replay goes on. All of it, and the `restore_command`s meanwhile, share one connection.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tapster_catalog::durable::{Clobber, DurableError};
use walfile::{ControlFile, SegmentName, SystemId};

use super::download::download;
use super::restore::{FetchOptions, FetchWalError, peek, words};
use super::spool::{Spool, claim};
use super::ssh::RemoteBarman;

/// The names on their way; locked while somebody fetches them.
const PLAN: &str = ".tapster-ahead";
/// sshd admits ten sessions to a connection (`MaxSessions`); some are left for those who do not fetch ahead.
const MAX_SESSIONS: usize = 8;
/// How long a segment that is on its way is waited for before it is fetched a second time.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a command over the shared connection may stand still: the ssh that holds the connection may hang as well as the host.
const SHARED_PATIENCE: Duration = Duration::from_secs(60);
/// A socket's path has 107 bytes, and ssh adds 17 to it while it makes one.
const MAX_SOCKET: usize = 90;

/// Who reads from a spool: one cluster, from one archive.
pub(crate) struct Reader {
    /// For the spool's marker.
    pub(crate) owner: String,
    /// Of the cluster that waits for the file.
    pub(crate) system_id: Option<SystemId>,
}

impl Reader {
    pub(super) fn new(remote: &RemoteBarman, destination: &Path) -> Self {
        let RemoteBarman { user, host, server, .. } = remote;
        Self::of(&format!("{user}@{host}\n{server}"), destination)
    }

    /// Who reads from `archive` to `destination`.
    pub(crate) fn of(archive: &str, destination: &Path) -> Self {
        let absolute = std::path::absolute(destination).unwrap_or_else(|_| destination.to_owned());
        let system_id = absolute.parent().and_then(cluster_of);
        let system = system_id.map_or(0, SystemId::get);
        let owner = format!("{archive}\n{}\n{system}\n", absolute.display());
        Self { owner, system_id }
    }
}

/// The cluster with this `pg_wal`, as the `pg_control` of its data directory says.
pub(crate) fn cluster_of(wal_dir: &Path) -> Option<SystemId> {
    let mut bytes = Vec::with_capacity(ControlFile::FILE_LEN);
    let file = File::open(wal_dir.parent()?.join("global/pg_control")).ok()?;
    file.take(ControlFile::FILE_LEN as u64).read_to_end(&mut bytes).ok()?;
    Some(ControlFile::parse(&bytes).ok()?.system_id)
}

/// The same `barman` over a connection that is kept, where the spool's path allows a socket in it. The spool must be one's own
/// ([`claim`]): whoever has the socket has the connection.
pub(super) fn shared(remote: &RemoteBarman, spool_dir: &Path) -> RemoteBarman {
    let mut hash = DefaultHasher::new();
    (&remote.user, &remote.host, &remote.port).hash(&mut hash);
    let path = std::path::absolute(spool_dir.join(format!(".ssh-{:016x}", hash.finish()))).ok();
    // ssh replaces `%`, and takes its options apart at blanks and quotes.
    let plain = |path: &PathBuf| {
        path.to_str().is_some_and(|text| {
            text.len() <= MAX_SOCKET && !text.contains([' ', '\t', '%', '"', '\'', '\\', '$'])
        })
    };
    let control = path.filter(plain);
    let patience = remote.patience.or(control.as_ref().map(|_| SHARED_PATIENCE));
    RemoteBarman { control, patience, ..remote.clone() }
}

/// Waits while somebody fetches `wanted`.
pub(crate) fn wait_for(wanted: SegmentName, spool_dir: &Path, stop: &AtomicBool) {
    let (name, path) = (wanted.to_string(), spool_dir.join(wanted.to_string()));
    let until = Instant::now() + PATIENCE;
    while !path.exists() && Instant::now() < until && !stop.load(Ordering::Relaxed) {
        let Ok(mut plan) = File::open(spool_dir.join(PLAN)) else { return };
        if plan.try_lock_shared().is_ok() {
            return;
        }
        let mut text = String::new();
        drop((&mut plan).take(64 * 1024).read_to_string(&mut text));
        if !text.lines().any(|line| line == name) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Fetches those of the `options.parallel - 1` segments after `after` that are not in the spool yet, for the reader whose file
/// `after` was at `destination`. Returns how many came; none when somebody else is about it.
///
/// # Errors
/// The first one ends it. What came until then is in the spool.
pub fn fetch_ahead(
    remote: &RemoteBarman,
    after: SegmentName,
    destination: &Path,
    options: &FetchOptions,
    stop: &Arc<AtomicBool>,
) -> Result<usize, FetchWalError> {
    let spool_error = |source| FetchWalError::Spool { path: options.spool_dir.clone(), source };
    if !claim(&options.spool_dir).map_err(spool_error)? {
        return Ok(0);
    }
    let remote = shared(remote, &options.spool_dir);
    let reader = Reader::new(&remote, destination);
    let names = || {
        let names = peek(&remote, &after.to_string(), options.parallel, options, stop)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    };
    fill(&options.spool_dir, after, names, MAX_SESSIONS, spool_error, |name| {
        into_spool(&remote, name, &reader, options, stop)
    })
}

/// Fetches into the spool, `at_once` at a time, those of `names` that follow `after` and are not there; none when somebody else is about
/// it. `fetch` says whether the reader still wanted the one it was given. Returns how many came.
pub(crate) fn fill<E: Send>(
    spool_dir: &Path,
    after: SegmentName,
    names: impl FnOnce() -> Result<Vec<SegmentName>, E>,
    at_once: usize,
    spool_error: impl Fn(io::Error) -> E,
    fetch: impl Fn(SegmentName) -> Result<bool, E> + Sync,
) -> Result<usize, E> {
    let path = spool_dir.join(PLAN);
    let mut plan =
        File::options().write(true).create(true).truncate(false).open(path).map_err(&spool_error)?;
    match plan.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(0),
        Err(fs::TryLockError::Error(error)) => return Err(spool_error(error)),
    }
    plan.set_len(0).map_err(&spool_error)?;
    let names: Vec<SegmentName> = names()?
        .into_iter()
        .filter(|name| name.timeline() == after.timeline() && *name > after)
        .filter(|name| !spool_dir.join(name.to_string()).exists())
        .collect();
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    plan.write_all(text.as_bytes()).map_err(&spool_error)?;

    let queue = Mutex::new(names.iter());
    let next = || queue.lock().ok()?.next();
    let end = || {
        if let Ok(mut names) = queue.lock() {
            *names = [].iter();
        }
    };
    let failed = Mutex::new(None);
    let fetched = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..names.len().min(at_once) {
            scope.spawn(|| {
                while let Some(name) = next() {
                    match fetch(*name) {
                        Ok(true) => {
                            fetched.fetch_add(1, Ordering::Relaxed);
                        }
                        // Perhaps those after it are still wanted.
                        Ok(false) => {}
                        Err(error) => {
                            end();
                            if let Ok(mut failed) = failed.lock() {
                                failed.get_or_insert(error);
                            }
                        }
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(fetched.into_inner()),
    }
}

/// `false` when the reader does not want it any more, or the spool is somebody else's by now.
fn into_spool(
    remote: &RemoteBarman,
    name: SegmentName,
    reader: &Reader,
    options: &FetchOptions,
    stop: &Arc<AtomicBool>,
) -> Result<bool, FetchWalError> {
    let target = options.spool_dir.join(name.to_string());
    let mut done = download(remote, &words(options), &name.to_string(), &target, stop)?;
    let write = |error: DurableError| FetchWalError::Write { path: target.clone(), source: error.into() };
    // Outside of the lock, which a `restore_command` may wait for.
    done.file.sync().map_err(write)?;
    let joined: io::Result<_> = Spool::join(&options.spool_dir, &reader.owner, name);
    let Some(_spool) =
        joined.map_err(|source| FetchWalError::Spool { path: options.spool_dir.clone(), source })?
    else {
        return Ok(false);
    };
    done.file.publish(Clobber::Replace).map_err(write)?;
    Ok(true)
}
