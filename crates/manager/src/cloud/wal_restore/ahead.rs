//! Segments fetched into the spool while PostgreSQL replays: by a process of its own, for a `restore_command` has to end before the
//! replay goes on.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tapster_catalog::durable::Clobber;
use walfile::{SegmentName, WalName};

use super::super::wal_objects::StoredWal;
use super::super::{CloudServer, CloudWalError};
use super::{CloudRestoreOptions, reader, write};
use crate::wal_client::{Spool, claim, fill};

/// More at once are not faster, and the memory of each counts.
const MOST_AT_ONCE: usize = 16;
/// Of a directory of the archive, so many names are enough.
const MOST_AHEAD: u64 = 4096;

impl CloudServer {
    /// Fetches those of the `options.parallel - 1` segments after `after` that are not in the spool yet, for the reader whose file
    /// `after` was at `destination`. Returns how many came; none when somebody else is about it.
    ///
    /// # Errors
    /// The first one ends it. What came until then is in the spool.
    pub fn fetch_wal_ahead(
        &self,
        after: SegmentName,
        destination: &Path,
        options: &CloudRestoreOptions,
        stop: &AtomicBool,
    ) -> Result<usize, CloudWalError> {
        let spool_error = |source| CloudWalError::Spool { path: options.spool_dir.clone(), source };
        if options.parallel < 2 || !claim(&options.spool_dir).map_err(spool_error)? {
            return Ok(0);
        }
        let reader = reader(self.store().identity(), self.layout().server(), destination);
        let wanted = usize::try_from(options.parallel.min(MOST_AHEAD) - 1).unwrap_or(usize::MAX);
        let mut stored: Vec<(SegmentName, StoredWal)> = Vec::new();
        // After the last segment of a directory comes the next one's first: both are looked into.
        let mut from = Some(after);
        while let Some(start) = from.take() {
            self.wals_from(start, |found| {
                if let WalName::Segment(name) = found.name
                    && name > after
                    && stored.last().is_none_or(|(last, _)| *last != name)
                {
                    stored.push((name, found));
                }
                stored.len() < wanted
            })?;
            if stored.len() < wanted && start == after {
                from = next_directory(after);
            }
        }
        let names = || Ok(stored.iter().map(|(name, _)| *name).collect());
        fill(&options.spool_dir, after, names, MOST_AT_ONCE.min(wanted), spool_error, |name| {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let Some((_, form)) = stored.iter().find(|(found, _)| *found == name) else { return Ok(false) };
            let target = options.spool_dir.join(name.to_string());
            let mut done = self.download(form, name.into(), &target)?;
            // Outside of the lock, which a `restore_command` may wait for.
            done.file.sync().map_err(|e| write(&target, e))?;
            let Some(_spool) = Spool::join(&options.spool_dir, &reader.owner, name).map_err(spool_error)?
            else {
                return Ok(false);
            };
            done.file.publish(Clobber::Replace).map_err(|e| write(&target, e))?;
            Ok(true)
        })
    }
}

/// The name that the first segment of the next directory has.
fn next_directory(after: SegmentName) -> Option<SegmentName> {
    let name = after.to_string();
    let (timeline, log) = (name.get(..8)?, name.get(8..16)?);
    let next = u32::from_str_radix(log, 16).ok()?.checked_add(1)?;
    format!("{timeline}{next:08X}00000000").parse().ok()
}
