//! Several archives of a backup at the same time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tapster_cloud::CloudError;
use tapster_copy::{TarExtractor, Unpacker};

use super::{ArchiveObject, CloudRestoreError, Ranges};
use crate::Context;
use crate::event::Progress;

/// Archives that go one after the other, and what takes them.
type Part<'a> = (Vec<&'a ArchiveObject>, TarExtractor);

/// Takes all archives: those of a tablespace beside those of the data directory, as many at a time as there are connections. `stored`
/// are the bytes of all.
///
/// # Errors
/// The first, when the others have ended too.
pub(super) fn side_by_side(
    ranges: &Ranges<'_>,
    archives: &[ArchiveObject],
    mut extractor: TarExtractor,
    stored: u64,
    context: &Context<'_>,
) -> Result<TarExtractor, CloudRestoreError> {
    let most = ranges.connections();
    let (mut together, mut parts) = (Vec::new(), BTreeMap::<u32, Part<'_>>::new());
    for archive in archives {
        let tablespace = archive.tablespace;
        if let Some((own, _)) = tablespace.and_then(|oid| parts.get_mut(&oid)) {
            own.push(archive);
            continue;
        }
        // Each has threads of its own, so that there are not as many as there are tablespaces.
        let is_first = !together.iter().any(|other: &&ArchiveObject| other.tablespace == tablespace);
        let alone = tablespace.filter(|_| is_first && parts.len() + 1 < most);
        let part = match alone {
            Some(oid) => extractor.beside(oid)?.map(|part| (oid, part)),
            None => None,
        };
        match part {
            Some((oid, part)) => drop(parts.insert(oid, (vec![archive], part))),
            None => together.push(archive),
        }
    }
    let (done, failed, first) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(None));
    let all = All { ranges, stored, done, failed, first, context };
    let (whole, parts) = std::thread::scope(|scope| {
        let begun: Vec<_> = parts.into_values().map(|part| scope.spawn(|| all.take(part))).collect();
        let whole = all.take((together, extractor));
        (whole, begun.into_iter().map(|part| part.join().ok().flatten()).collect::<Vec<_>>())
    });
    if let Some(error) = all.first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    // A thread that has panicked leaves no error.
    let lost = || CloudRestoreError::from(CloudError::Stopped);
    let mut whole = whole.ok_or_else(lost)?;
    for part in parts {
        whole.join(part.ok_or_else(lost)?)?;
    }
    Ok(whole)
}

/// What they share.
struct All<'a, 'c> {
    ranges: &'a Ranges<'a>,
    stored: u64,
    done: AtomicU64,
    failed: AtomicBool,
    /// The reason of the others.
    first: Mutex<Option<CloudRestoreError>>,
    context: &'a Context<'c>,
}

impl All<'_, '_> {
    /// `None` when it has failed.
    fn take(&self, part: Part<'_>) -> Option<TarExtractor> {
        let note = |error| {
            self.failed.store(true, Ordering::Relaxed);
            self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        };
        self.unpack(part).map_err(note).ok()
    }

    fn unpack(&self, (archives, extractor): Part<'_>) -> Result<TarExtractor, CloudRestoreError> {
        let mut unpacker = Unpacker::start(extractor);
        let is_over = || self.context.stopped() || self.failed.load(Ordering::Relaxed);
        for archive in archives {
            tracing::info!("Extracting {}", archive.key);
            self.ranges.feed(&mut unpacker, archive, &is_over, &mut |bytes| {
                let done = self.done.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
                self.context.observer.progress(Progress { done, total: Some(self.stored) });
            })?;
        }
        Ok(unpacker.into_extractor()?)
    }
}
