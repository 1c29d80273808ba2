//! `barman-cloud-wal-restore`: one WAL file from the bucket, as `restore_command` wants it, and those that follow ahead of it.
//!
//! The destination is complete or untouched. "There is no such file" is an answer of the store, never a failure to get one.

mod ahead;
mod download;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_catalog::durable::{self, Clobber, DurableError, RealDisk};
use tapster_cloud::{CloudError, StoreIdentity};
use walfile::{SegmentName, SegmentSize, WalName};

use super::wal_objects::StoredWal;
use super::{CloudServer, CloudWalError};
use crate::wal_client::{Reader, Spool, claim, wait_for};

/// How WAL is restored.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CloudRestoreOptions {
    /// The beginning of a segment will not do when that is all there is.
    pub no_partial: bool,
    /// With how many segments, counting the one asked for, to be ahead; 0 and 1 for none.
    pub parallel: u64,
    /// Where those wait.
    pub spool_dir: PathBuf,
}

/// How the file came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloudRestored {
    /// It waited in the spool.
    pub spooled: bool,
    /// It is the beginning of a segment, the rest of it zeros.
    pub partial: bool,
    /// Few of those that follow wait in the spool: call [`CloudServer::fetch_wal_ahead`] now, beside the replay of this one.
    pub fetch_ahead: bool,
    /// Why the spool was not used, or what else is archived under the name and useless; no harm.
    pub warnings: Vec<String>,
}

/// Who reads from the spool.
fn reader(store: &StoreIdentity, server: &str, destination: &Path) -> Reader {
    Reader::of(&format!("{}\n{server}", store.place()), destination)
}

/// Takes `name` from the spool if it is there or on its way, without asking the store. `None` when it is not, or the spool is in use.
///
/// # Errors
/// When the spool cannot be used, or the destination not be written.
pub fn take_from_spool(
    store: &StoreIdentity,
    server: &str,
    name: &str,
    destination: &Path,
    options: &CloudRestoreOptions,
    stop: &AtomicBool,
) -> Result<Option<CloudRestored>, CloudWalError> {
    let spool_error = |source| CloudWalError::Spool { path: options.spool_dir.clone(), source };
    let Ok(WalName::Segment(wanted)) = name.parse() else { return Ok(None) };
    if options.parallel < 2 || destination.is_dir() || !claim(&options.spool_dir).map_err(spool_error)? {
        return Ok(None);
    }
    let reader = reader(store, server, destination);
    for last in [false, true] {
        let Some(spool) = Spool::open(&options.spool_dir, &reader.owner).map_err(spool_error)? else {
            return Ok(None);
        };
        spool.set_position(wanted).map_err(spool_error)?;
        let taken = spool.take(wanted, destination, reader.system_id).map_err(|e| write(destination, e))?;
        if let Some(length) = taken {
            let fetch_ahead = trim(&spool, wanted, length, options).map_err(spool_error)?;
            return Ok(Some(CloudRestored { spooled: true, fetch_ahead, ..CloudRestored::default() }));
        }
        drop(spool);
        if last || stop.load(Ordering::Relaxed) {
            break;
        }
        wait_for(wanted, &options.spool_dir, stop);
    }
    Ok(None)
}

/// Throws away what does not follow `wanted`; whether it is time to fetch more.
fn trim(
    spool: &Spool,
    wanted: SegmentName,
    length: u64,
    options: &CloudRestoreOptions,
) -> std::io::Result<bool> {
    let size = SegmentSize::new(length).ok();
    let ahead = options.parallel.saturating_sub(1);
    spool.keep_after(wanted, size, ahead)?;
    Ok(size.is_some_and(|size| spool.waiting(wanted, size, ahead) < ahead.div_ceil(2)))
}

fn write(path: &Path, error: DurableError) -> CloudWalError {
    CloudWalError::Write { path: path.to_owned(), source: error.into() }
}

impl CloudServer {
    /// Puts the WAL file `name` where PostgreSQL waits for it (`%p`). When this returns, the file is complete there and its content
    /// durable.
    ///
    /// # Errors
    /// [`CloudWalError::Missing`] when the store has no such file; every other error says nothing about that. A segment that is
    /// archived whole, but broken in every form, is [`CloudWalError::Content`], also when its beginning is archived too. The
    /// destination is then as it was.
    pub fn wal_restore(
        &self,
        name: &str,
        destination: &Path,
        options: &CloudRestoreOptions,
        stop: &AtomicBool,
    ) -> Result<CloudRestored, CloudWalError> {
        let wanted: WalName = name.parse().map_err(|_| CloudWalError::Name { name: name.to_owned() })?;
        if destination.is_dir() {
            return Err(CloudWalError::IsDirectory { path: destination.to_owned() });
        }
        // A run that was killed may have left its temporary file beside the destination.
        drop(durable::remove_stale(&RealDisk, durable::parent(destination)));
        let place = self.store().identity();
        if let Some(taken) = take_from_spool(place, self.layout().server(), name, destination, options, stop)?
        {
            return Ok(taken);
        }
        let (length, mut restored) = self.restore_one(wanted, destination, options)?;
        if let WalName::Segment(wanted) = wanted
            && options.parallel > 1
            && !restored.partial
        {
            let reader = reader(place, self.layout().server(), destination);
            let spool_error = |source| CloudWalError::Spool { path: options.spool_dir.clone(), source };
            let ours = claim(&options.spool_dir).map_err(spool_error)?;
            match ours
                .then(|| Spool::open(&options.spool_dir, &reader.owner))
                .transpose()
                .map_err(spool_error)?
            {
                Some(Some(spool)) => {
                    restored.fetch_ahead = trim(&spool, wanted, length, options).map_err(spool_error)?;
                }
                Some(None) => restored
                    .warnings
                    .push(format!("{} is in use by another process", options.spool_dir.display())),
                None => restored.warnings.push(format!(
                    "{} is not used because it belongs to another user",
                    options.spool_dir.display()
                )),
            }
        }
        Ok(restored)
    }

    /// Past the spool.
    fn restore_one(
        &self,
        wanted: WalName,
        destination: &Path,
        options: &CloudRestoreOptions,
    ) -> Result<(u64, CloudRestored), CloudWalError> {
        let missing =
            || CloudWalError::Missing { name: wanted.to_string(), server: self.layout().server().to_owned() };
        let mut forms: Vec<StoredWal> = self.forms(wanted)?;
        // Behind the beginning of a segment come zeros, where a recovery ends or a standby is promoted. When the segment is archived
        // whole, that would give up what it holds, however broken it is.
        let is_whole = forms.iter().any(|form| form.name == wanted);
        forms.retain(|form| form.name == wanted || !(is_whole || options.no_partial));
        let mut restored = CloudRestored::default();
        let mut problem = None;
        for form in forms {
            match self.download(&form, wanted, destination) {
                Ok(done) => {
                    done.file.publish(Clobber::Replace).map_err(|e| write(destination, e))?;
                    restored.partial = form.name != wanted;
                    return Ok((done.length, restored));
                }
                // What is broken in one form may be whole in another. One that was deleted meanwhile is not there.
                Err(error @ CloudWalError::Content { .. }) => {
                    restored.warnings.push(error.to_string());
                    problem.get_or_insert(error);
                }
                Err(CloudWalError::Store(CloudError::NotFound { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Err(problem.unwrap_or_else(missing))
    }
}
