//! The files of a group into the archive: names, index lines, and only then the sources away.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use walfile::codec::Compression;

use super::link::{Link, SourceId};
use super::prepare::{Codec, How, Item, Prepared, copy, is_same};
use super::{IngestError, Invalid, Listed, Outcome, Refusal, Run, refuse};
use crate::durable::{self, Clobber, DurableError, Step};
use crate::wal_index::{SegmentContent, SegmentSummary};
use crate::xlogdb::entry_of;
use crate::{XlogDb, XlogEntry, wal_index};

/// What a file of the group became of, and what is to be done once all names are durable.
#[derive(Default)]
struct Placed<'p> {
    outcomes: Vec<Outcome>,
    entries: Vec<XlogEntry>,
    dirs: BTreeSet<&'p Path>,
    /// Sources to remove; one that is another file by now stays for the next run.
    sources: Vec<(&'p Path, SourceId)>,
    /// Files with two names, until the sources are gone.
    links: Vec<Link<'p>>,
    summaries: Vec<SegmentSummary>,
}

pub(super) fn publish<'p>(
    run: &Run<'_>,
    listed: &mut Listed,
    group: impl ExactSizeIterator<Item = (&'p Item, Prepared<'p>)>,
) -> Result<Vec<Outcome>, IngestError> {
    if group.len() == 0 {
        return Ok(Vec::new());
    }
    let mut index = XlogDb::lock(run.disk, run.layout, run.stop)?;
    let mut placed = Placed::default();
    for (item, prepared) in group {
        let outcome = match prepared {
            Prepared::Ready { how, entry, content, source } => {
                let outcome = place(run, (&index, listed), item, (how, entry, source), &mut placed)?;
                if let (Outcome::Archived { .. }, Some(content)) = (&outcome, content) {
                    placed.summaries.extend(summary(item, *content));
                }
                outcome
            }
            Prepared::Stored { entry, is_new, source } => {
                stored(run, (&index, listed), item, (entry, is_new, source), &mut placed)?
            }
            Prepared::Same(source) => already_archived(run, (&index, listed), item, source, &mut placed)?,
            Prepared::Different(source) => duplicate(run, item, source),
            Prepared::Invalid(reason, source) => move_away(run, item, Refusal::Unknown, source, |moved_to| {
                Outcome::Invalid { reason, moved_to }
            }),
            Prepared::Unsettled(reason) => Outcome::Unsettled { reason },
            Prepared::Unreadable(problem) => Outcome::Unreadable { problem },
            Prepared::Vanished => Outcome::Vanished,
        };
        placed.outcomes.push(outcome);
    }
    for dir in &placed.dirs {
        durable::sync_dir(run.disk, dir)?;
    }
    index.append(&placed.entries)?;
    // Only a cache: what is missing in it is read from the archive when it is needed.
    if let Err(error) = wal_index::append(run.disk, run.layout, &placed.summaries) {
        tracing::warn!(%error, "the index of the WAL's content cannot be written");
    }
    drop(index);
    let mut source_dirs = BTreeSet::new();
    for (source, checked) in placed.sources {
        if !checked.is_at(source) {
            continue;
        }
        if durable::remove_file_unsynced(run.disk, source)? {
            source_dirs.insert(durable::parent(source));
        }
    }
    for dir in source_dirs {
        durable::sync_dir(run.disk, dir)?;
    }
    placed.links.into_iter().for_each(Link::unseal);
    Ok(placed.outcomes)
}

/// The file as it lies in the archive now, and what is in it.
fn summary(item: &Item, content: SegmentContent) -> Option<SegmentSummary> {
    let stored = item.target.metadata().ok()?;
    Some(SegmentSummary { name: item.name.segment()?, stored: (&stored).into(), content })
}

fn place<'p>(
    run: &Run<'_>,
    (index, listed): (&XlogDb<'_>, &mut Listed),
    item: &'p Item,
    (how, entry, source): (How<'p>, XlogEntry, SourceId),
    placed: &mut Placed<'p>,
) -> Result<Outcome, IngestError> {
    if !source.is_at(&item.path) {
        return Ok(changed(item));
    }
    let named = match how {
        How::Publish(publish) => publish.publish_unsynced(Clobber::Refuse).map(|_| ()),
        How::Link(mut sealed) => {
            sealed.linked();
            placed.links.push(sealed);
            match link(run, item, source)? {
                Some(named) => named,
                None => return Ok(changed(item)),
            }
        }
    };
    match named {
        Ok(()) => {
            let size = entry.size;
            placed.entries.push(entry);
            placed.dirs.insert(durable::parent(&item.target));
            placed.sources.push((&item.path, source));
            Ok(Outcome::Archived { size })
        }
        // Somebody else archived it in the meantime.
        Err(DurableError::Exists { .. }) => {
            let same = is_same(item, run.options)
                .map_err(|source| IngestError::Read { path: item.target.clone(), source })?;
            if same {
                already_archived(run, (index, listed), item, source, placed)
            } else {
                Ok(duplicate(run, item, source))
            }
        }
        Err(e) => Err(e.into()),
    }
}

/// A second name for the source; a copy where the file system has no hard links. `None` when the source changed.
fn link(
    run: &Run<'_>,
    item: &Item,
    source: SourceId,
) -> Result<Option<Result<(), DurableError>>, IngestError> {
    match run.disk.link(&item.path, &item.target) {
        Ok(()) if source.is_at(&item.target) => Ok(Some(Ok(()))),
        Ok(()) => {
            durable::remove_file_unsynced(run.disk, &item.target)?;
            Ok(None)
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            Ok(Some(Err(DurableError::Exists { path: item.target.clone() })))
        }
        Err(_) => {
            let metadata = item
                .path
                .metadata()
                .map_err(|source| IngestError::Read { path: item.path.clone(), source })?;
            let publish =
                copy(run.disk, item, &metadata, (Codec::Known(Compression::None), None), run.options, None)?
                    .map_err(|source| IngestError::Read { path: item.path.clone(), source })?;
            let unchanged = source.is_at(&item.path);
            Ok(unchanged.then(|| publish.publish_unsynced(Clobber::Refuse).map(|_| ())))
        }
    }
}

/// What was found out is about another file than the one that is there now: for the next run.
fn changed(item: &Item) -> Outcome {
    match item.path.symlink_metadata() {
        Err(e) if e.kind() == ErrorKind::NotFound => Outcome::Vanished,
        _ => Outcome::Unsettled { reason: Invalid::Changed },
    }
}

/// The archive has the same content. Whoever put it there may not have come to the sync or to the index line, so both
/// are seen to before the source goes.
fn already_archived<'p>(
    run: &Run<'_>,
    (index, listed): (&XlogDb<'_>, &mut Listed),
    item: &'p Item,
    source: SourceId,
    placed: &mut Placed<'p>,
) -> Result<Outcome, IngestError> {
    run.disk.sync_file(&item.target).map_err(|e| DurableError::io(Step::Sync, &item.target, e))?;
    placed.dirs.insert(durable::parent(&item.target));
    if !listed.contains(index, item.name, run.files)? {
        let entry = entry_of(&item.target, item.name, run.options.custom.as_ref())
            .map_err(|source| IngestError::Read { path: item.target.clone(), source })?;
        placed.entries.extend(entry);
    }
    placed.sources.push((&item.path, source));
    Ok(Outcome::AlreadyArchived)
}

/// It is in the object store. Whoever put it there may not have come to the index line.
fn stored<'p>(
    run: &Run<'_>,
    (index, listed): (&XlogDb<'_>, &mut Listed),
    item: &'p Item,
    (entry, is_new, source): (XlogEntry, bool, SourceId),
    placed: &mut Placed<'p>,
) -> Result<Outcome, IngestError> {
    if !source.is_at(&item.path) {
        return Ok(changed(item));
    }
    let size = entry.size;
    if is_new || !listed.contains(index, item.name, run.files)? {
        placed.entries.push(entry);
    }
    placed.sources.push((&item.path, source));
    Ok(if is_new { Outcome::Archived { size } } else { Outcome::AlreadyArchived })
}

fn duplicate(run: &Run<'_>, item: &Item, source: SourceId) -> Outcome {
    move_away(run, item, Refusal::Duplicate, source, |moved_to| Outcome::Duplicate { moved_to })
}

/// What cannot be moved away stays, and does not hold up the files behind it.
fn move_away(
    run: &Run<'_>,
    item: &Item,
    why: Refusal,
    source: SourceId,
    moved: impl FnOnce(Option<PathBuf>) -> Outcome,
) -> Outcome {
    if !source.is_at(&item.path) {
        return changed(item);
    }
    match refuse(run.disk, run.layout, &item.path, why, run.options.now) {
        Ok(moved_to) => moved(moved_to),
        Err(error) => Outcome::Unreadable { problem: error.to_string() },
    }
}
