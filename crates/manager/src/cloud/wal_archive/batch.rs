//! Files that go out together with the one PostgreSQL asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use walfile::WalName;

use super::super::wal_objects::StoredWal;
use super::super::wal_owner::system_of;
use super::super::{CloudServer, CloudWalError};
use super::CloudArchiveOptions;
use super::record::Record;
use super::source::Source;

/// What is left to do, and what was done, of all threads that call [`work`](Self::work).
pub(in super::super) struct Batch<'b> {
    server: &'b CloudServer,
    wal_dir: &'b Path,
    record: Option<&'b Record>,
    options: &'b CloudArchiveOptions,
    there: &'b BTreeMap<WalName, Vec<StoredWal>>,
    stop: &'b AtomicBool,
    queue: Mutex<std::vec::IntoIter<WalName>>,
    ended: AtomicBool,
    done: Mutex<(Vec<WalName>, Vec<String>)>,
}

impl<'b> Batch<'b> {
    /// `there` is what is archived of `names` already.
    pub(in super::super) fn new(
        server: &'b CloudServer,
        wal_dir: &'b Path,
        record: Option<&'b Record>,
        options: &'b CloudArchiveOptions,
        names: Vec<WalName>,
        there: &'b BTreeMap<WalName, Vec<StoredWal>>,
        stop: &'b AtomicBool,
    ) -> Self {
        let (queue, ended, done) = (Mutex::new(names.into_iter()), AtomicBool::default(), Mutex::default());
        Self { server, wal_dir, record, options, there, stop, queue, ended, done }
    }

    /// No more are begun.
    pub(in super::super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn next(&self) -> Option<WalName> {
        let is_over = self.ended.load(Ordering::Relaxed) || self.stop.load(Ordering::Relaxed);
        if is_over { None } else { self.queue.lock().ok()?.next() }
    }

    /// Uploads one after the other until there are no more. What is noted as archived is.
    pub(in super::super) fn work(&self) {
        while let Some(name) = self.next() {
            let archived = self.one(name);
            if matches!(archived, Err(CloudWalError::Store(_))) {
                // The store's failure is everybody's.
                self.end();
            }
            let Ok(mut done) = self.done.lock() else { return };
            match archived {
                Ok(false) => {}
                Ok(true) => done.0.push(name),
                Err(error) => done.1.push(format!("{name} is not archived yet: {error}")),
            }
        }
    }

    fn one(&self, name: WalName) -> Result<bool, CloudWalError> {
        let mut source = Source::open(&self.wal_dir.join(name.to_string()), name)?;
        // What is of another cluster will be refused when it is asked for.
        let system_id = source.system_id.or_else(|| system_of(self.wal_dir));
        if system_id.is_some_and(|id| self.record.and_then(Record::system_id) != Some(id)) {
            return Ok(false);
        }
        let (_, state) = self.server.upload(&mut source, name, self.there.get(&name), self.options)?;
        if let Some(record) = self.record {
            // Not noted, it is compared when it is asked for.
            drop(record.add(name, state));
        }
        Ok(true)
    }

    /// What was archived, and why others were not.
    pub(in super::super) fn finish(self) -> (Vec<WalName>, Vec<String>) {
        let (mut names, warnings) = self.done.into_inner().unwrap_or_default();
        names.sort_unstable();
        (names, warnings)
    }
}
