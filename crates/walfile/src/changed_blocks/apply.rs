//! What a record changes (`walsummarizer.c`).

use crate::changed_blocks::table::whole_database;
use crate::changed_blocks::{ChangedBlocks, ForkId};
use crate::record::{Fork, Parts, RelFile};
use crate::rmgr::{Payload, Rmgr, Transaction};
use crate::{Record, RecordError, WalLevel};

impl ChangedBlocks {
    /// Adds what the record changes. Records come in the order of the log, each once.
    ///
    /// That is every block it refers to; and a limit block for every file that it creates, cuts or removes. The free
    /// space map is left out, because not all its changes are logged.
    ///
    /// What a server does with `wal_level = minimal` is not all in its log: see [`announced_wal_level`]. Data pages
    /// have 8192 bytes.
    ///
    /// # Errors
    /// When the record's inside is not what a server writes.
    ///
    /// ```no_run
    /// # fn records() -> walfile::RecordDecoder { unimplemented!() }
    /// use walfile::changed_blocks::ChangedBlocks;
    ///
    /// let mut changed = ChangedBlocks::new();
    /// let mut decoder: walfile::RecordDecoder = records();
    /// while let Some(record) = decoder.poll() {
    ///     changed.apply(&record)?;
    /// }
    /// for (fork, changes) in changed.forks() {
    ///     println!("{fork}: limit {:?}, {} blocks", changes.limit(), changes.len());
    /// }
    /// # Ok::<(), walfile::RecordError>(())
    /// ```
    #[inline]
    pub fn apply(&mut self, record: &Record<'_>) -> Result<(), RecordError> {
        let parts = record.parts()?;
        let header = &record.header;
        let cuts = match header.rmgr {
            Rmgr::STORAGE | Rmgr::DATABASE => true,
            // Without this bit there is nothing but the time.
            Rmgr::TRANSACTION => header.info & 0x80 != 0,
            _ => false,
        };
        if cuts {
            self.apply_limits(&Payload::read(header, parts.main, record.major())?);
        }
        self.apply_blocks(&parts);
        Ok(())
    }

    #[inline]
    fn apply_blocks(&mut self, parts: &Parts<'_>) {
        for block in parts.blocks() {
            if block.fork != Fork::FreeSpace {
                self.mark(ForkId { relation: block.relation, fork: block.fork }, block.block);
            }
        }
    }

    fn apply_limits(&mut self, payload: &Payload<'_>) {
        match payload {
            Payload::FileCreate(created) => self.cut(created.relation, created.fork, 0),
            Payload::FileTruncate(cut) => {
                if cut.forks & 1 != 0 {
                    self.cut(cut.relation, Fork::Main, cut.blocks);
                }
                if cut.forks & 2 != 0 {
                    self.cut(cut.relation, Fork::Visibility, visibility_map_blocks(cut.blocks));
                }
            }
            Payload::DatabaseCreate(created) => {
                self.set_limit(whole_database(created.tablespace, created.database), 0);
            }
            Payload::DatabaseDrop(dropped) => {
                for tablespace in dropped.tablespaces.iter() {
                    self.set_limit(whole_database(tablespace, dropped.database), 0);
                }
            }
            Payload::Commit(end)
            | Payload::Abort(end)
            | Payload::CommitPrepared(end)
            | Payload::AbortPrepared(end) => self.drop_files(end),
            _ => {}
        }
    }

    fn drop_files(&mut self, end: &Transaction<'_>) {
        for file in end.dropped.iter() {
            for fork in [Fork::Main, Fork::Visibility, Fork::Init] {
                self.cut(file, fork, 0);
            }
        }
    }

    fn cut(&mut self, relation: RelFile, fork: Fork, blocks: u32) {
        if fork != Fork::FreeSpace {
            self.set_limit(ForkId { relation, fork }, blocks);
        }
    }
}

/// How many blocks the visibility map of a table with so many blocks has (`visibilitymap_truncation_length`).
const fn visibility_map_blocks(table: u32) -> u32 {
    // Two bits per block, in what a page's header of 24 bytes leaves.
    const PER_PAGE: u32 = (8192 - 24) * 8 / 2;
    table.div_ceil(PER_PAGE)
}

/// The `wal_level` that holds from this record on, if it is one of those that say so: the redo position of a
/// checkpoint, a shutdown checkpoint and the end of recovery since PostgreSQL 17, a change of parameters always.
///
/// With [`WalLevel::Minimal`] new tables can be filled without logging their pages, so what changed is not known
/// until another level is announced.
///
/// # Errors
/// When the record's inside is not what a server writes.
pub fn announced_wal_level(record: &Record<'_>) -> Result<Option<WalLevel>, RecordError> {
    if record.header.rmgr != Rmgr::XLOG || !matches!(record.header.kind(), 0x00 | 0x60 | 0x90 | 0xE0) {
        return Ok(None);
    }
    Ok(match record.payload()? {
        Payload::CheckpointShutdown(checkpoint) => checkpoint.wal_level,
        Payload::EndOfRecovery(end) => end.wal_level,
        Payload::ParameterChange(change) => Some(change.wal_level),
        Payload::CheckpointRedo(level) => Some(level),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visibility_maps() {
        let blocks = [0, 1, 32_672, 32_673, 65_344, u32::MAX].map(visibility_map_blocks);
        assert_eq!(blocks, [0, 1, 1, 2, 2, 131_458]);
    }
}
