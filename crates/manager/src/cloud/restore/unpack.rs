//! Several archives of a backup at the same time.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
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
    let all = All { ranges, stored, done: AtomicU64::new(0), end: End::default(), context };
    let (whole, parts) = std::thread::scope(|scope| {
        let begun: Vec<_> = parts.into_values().map(|part| scope.spawn(|| all.take(part))).collect();
        let whole = all.take((together, extractor));
        // What a thread has panicked for says more than that the others were stopped by it.
        let parts = begun.into_iter().map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
        (whole, parts.collect::<Vec<_>>())
    });
    if let Some(error) = all.end.into_first() {
        return Err(error);
    }
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
    end: End<CloudRestoreError>,
    context: &'a Context<'c>,
}

/// Whether one has failed, for all to see, and the first reason: that of the others is that they saw it.
struct End<E> {
    failed: AtomicBool,
    first: Mutex<Option<E>>,
}

impl<E> Default for End<E> {
    fn default() -> Self {
        Self { failed: AtomicBool::new(false), first: Mutex::new(None) }
    }
}

impl<E> End<E> {
    fn is_near(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn note(&self, error: E) {
        // Whoever sees the one waits for the other.
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        self.failed.store(true, Ordering::Relaxed);
        first.get_or_insert(error);
    }

    fn into_first(self) -> Option<E> {
        self.first.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody may go on for hours beside a thread that is gone.
struct EndOnPanic<'e, E>(&'e End<E>);

impl<E> Drop for EndOnPanic<'_, E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
    }
}

impl All<'_, '_> {
    /// `None` when it has failed.
    fn take(&self, part: Part<'_>) -> Option<TarExtractor> {
        let _guard = EndOnPanic(&self.end);
        self.unpack(part).map_err(|error| self.end.note(error)).ok()
    }

    fn unpack(&self, (archives, extractor): Part<'_>) -> Result<TarExtractor, CloudRestoreError> {
        let mut unpacker = Unpacker::start(extractor);
        let is_over = || self.context.stopped() || self.end.is_near();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_told_and_not_that_the_others_were_stopped() {
        for _ in 0..2000 {
            let end = End::default();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !end.is_near() {
                        std::hint::spin_loop();
                    }
                    end.note("stopped");
                });
                end.note("denied");
            });
            assert_eq!(end.into_first(), Some("denied"));
        }
    }

    #[test]
    fn a_panic_ends_the_others() {
        let end = End::<()>::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = EndOnPanic(&end);
            panic!("on purpose");
        }));
        assert!(panicked.is_err() && end.is_near());
        assert_eq!(end.into_first(), None);
        let end = End::<()>::default();
        drop(EndOnPanic(&end));
        assert!(!end.is_near());
    }
}
