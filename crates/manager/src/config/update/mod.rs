//! Changing the configuration from outside: `config-update`, its queue, and the files it writes.
//!
//! A request is checked as a whole, then queued, and only then worked off, set by set: an option goes into the file that sets
//! it last now, a new one into `.barman.auto.conf`, which is read after all others. A crash or a file that cannot be
//! written leaves the rest in the queue, for the next run of `config-update` or `cron`. What can never be made is not queued, and
//! what somebody else queued is checked before it is made: with one bad section no command would work any more. What cannot be made
//! while a part of the configuration cannot be read stays in the queue, and with it what is asked of the same section later.

mod edit;
mod queue;
mod request;
mod write;

use std::io;
use std::path::{Path, PathBuf};

use tapster_catalog::DurableError;
use tapster_catalog::durable::{self, Disk};
use tapster_catalog::locks::{Lock, LockError};
use thiserror::Error;

use super::Config;
use super::ini::IniError;

pub use queue::{ChangeSet, ConfigChange};

/// Below `barman_home`: read last, and written by `config-update` alone.
pub(super) const AUTO_FILE: &str = ".barman.auto.conf";
const LOCK_FILE: &str = ".config-update.lock";

/// An object of the request that is not carried out, and with it the whole request.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
#[error("{reason}")]
pub struct RefusedSection {
    /// The object, as Python writes it.
    pub section: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A configuration that was not changed, or not all of it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The request is no JSON list of objects.
    #[error("the changes are no JSON list of objects: {reason}")]
    NotJson {
        /// Where and why.
        reason: String,
    },
    /// An object of it cannot be carried out; nothing was changed.
    #[error(transparent)]
    Refused(RefusedSection),
    /// The queue cannot be used.
    #[error("malformed configuration change queue {}: {reason}", path.display())]
    Queue {
        /// The queue.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that is to be changed is no configuration.
    #[error(transparent)]
    Ini(#[from] IniError),
    /// The value would not be read again as it is.
    #[error("option '{key}' cannot be set to {value:?} in a configuration file")]
    Unwritable {
        /// The option.
        key: String,
        /// The value.
        value: String,
    },
    /// With the changes, the configuration could not be read any more.
    #[error("the options of '{section}' cannot be set so: {source}")]
    Unusable {
        /// The section.
        section: String,
        /// What would be wrong.
        source: IniError,
    },
    /// Somebody else changes the configuration, or the lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file was not written durably.
    #[error(transparent)]
    Durable(#[from] DurableError),
}

/// One option that was set.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct AppliedChange {
    /// The section.
    pub section: String,
    /// The option.
    pub key: String,
    /// What it was before, as the file had it.
    pub from: Option<String>,
    /// What it is now.
    pub to: String,
}

/// Changes of the queue that were not made. If they can never be, they are not in it any more.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct DroppedChanges {
    /// The section.
    pub section: String,
    /// The options.
    pub keys: Vec<String>,
    /// What is wrong with them.
    pub reason: String,
}

/// What becomes of the queue.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UpdateStep {
    /// A change is in its file.
    Applied(AppliedChange),
    /// Nothing of a set was changed.
    Dropped(DroppedChanges),
    /// Nothing of a set was changed yet: the file that it goes to, or another part of the configuration, is not there or cannot be
    /// read.
    Waiting(DroppedChanges),
}

impl Config {
    /// Checks a request of `config-update`, queues it, and works off the queue; `told` is told of each change when it is in its
    /// file. Returns the sections that changed.
    ///
    /// # Errors
    /// [`UpdateError::Refused`], [`UpdateError::Unwritable`] or [`UpdateError::Unusable`], when nothing was changed; otherwise what is
    /// not done yet is in the queue.
    pub fn update(
        &self,
        json: &str,
        disk: &dyn Disk,
        told: &mut dyn FnMut(&UpdateStep),
    ) -> Result<Vec<String>, UpdateError> {
        let changes = request::read(self, json)?;
        durable::create_dir_all(disk, &self.global.barman_lock_directory, None)?;
        let _lock = self.lock_changes()?;
        let path = &self.global.config_changes_queue;
        let mut queue = queue::read(path)?;
        if changes.is_empty() && queue.is_empty() {
            return Ok(Vec::new());
        }
        // Behind what can never be made, nothing would be made either.
        let mut edits = write::Edits::default();
        changes.iter().try_for_each(|set| edits.add(set, self))?;
        queue.extend(changes);
        queue::write(disk, path, &queue)?;
        self.work_off(queue, disk, told)
    }

    /// Works off what `config-update` left in the queue. Returns the sections that changed.
    ///
    /// # Errors
    /// When somebody else is at it, the queue cannot be read, or a file cannot be changed; what is not done stays in the queue.
    pub fn apply_queue(
        &self,
        disk: &dyn Disk,
        told: &mut dyn FnMut(&UpdateStep),
    ) -> Result<Vec<String>, UpdateError> {
        // Without a lock nobody but us can be disturbed by looking.
        if queue::read(&self.global.config_changes_queue)?.is_empty() {
            return Ok(Vec::new());
        }
        let _lock = self.lock_changes()?;
        let queue = queue::read(&self.global.config_changes_queue)?;
        self.work_off(queue, disk, told)
    }

    /// The file that is read last.
    fn auto_file(&self) -> PathBuf {
        self.global.barman_home.join(AUTO_FILE)
    }

    /// Whether this is one of the files of the configuration, or may become one.
    fn is_read_from(&self, path: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let path = real(path);
        path == real(&self.auto_file()) || self.merged.files.iter().any(|file| real(file) == path)
    }

    /// Whether a file that is not there would be one of the configuration if it was: it lies where they are looked for.
    fn may_be_read_from(&self, path: &Path) -> bool {
        let directory = self.directory.as_deref().and_then(|directory| std::path::absolute(directory).ok());
        let is_conf = path.extension().is_some_and(|extension| extension == "conf");
        is_conf && directory.is_some() && path.parent() == directory.as_deref() && !path.exists()
    }

    fn lock_changes(&self) -> Result<Lock, LockError> {
        Lock::try_acquire(&self.global.barman_lock_directory.join(LOCK_FILE))
    }

    fn work_off(
        &self,
        mut queue: Vec<ChangeSet>,
        disk: &dyn Disk,
        told: &mut dyn FnMut(&UpdateStep),
    ) -> Result<Vec<String>, UpdateError> {
        let mut sections = Vec::new();
        let mut waiting: Vec<ChangeSet> = Vec::new();
        while !queue.is_empty() {
            let set = queue.remove(0);
            // Made now, it would be undone by what was asked for before.
            if waiting.iter().any(|earlier| earlier.section == set.section) {
                waiting.push(set);
                continue;
            }
            let made = request::check(self, &set).map_err(UpdateError::Refused);
            match made.and_then(|()| write::apply(&set, self, disk)) {
                Ok(()) => {}
                Err(error @ (UpdateError::Refused(_) | UpdateError::Unusable { .. }))
                    if request::may_be_made_later(self, &set) =>
                {
                    told(&UpdateStep::Waiting(not_made(&set, &error)));
                    waiting.push(set);
                    continue;
                }
                Err(
                    error @ (UpdateError::Refused(_)
                    | UpdateError::Unwritable { .. }
                    | UpdateError::Unusable { .. }),
                ) => {
                    self.write_queue(&waiting, &queue, disk)?;
                    told(&UpdateStep::Dropped(not_made(&set, &error)));
                    continue;
                }
                Err(error) => return Err(error),
            }
            for change in &set.changes_set {
                told(&UpdateStep::Applied(AppliedChange {
                    section: set.section.clone(),
                    key: change.key.clone(),
                    from: self.text_in(&set.section, &change.key),
                    to: change.value.clone(),
                }));
            }
            self.write_queue(&waiting, &queue, disk)?;
            sections.push(set.section);
        }
        sections.sort_unstable();
        sections.dedup();
        Ok(sections)
    }

    fn write_queue(
        &self,
        waiting: &[ChangeSet],
        queue: &[ChangeSet],
        disk: &dyn Disk,
    ) -> Result<(), UpdateError> {
        queue::write(disk, &self.global.config_changes_queue, &[waiting, queue].concat())
    }
}

fn not_made(set: &ChangeSet, error: &UpdateError) -> DroppedChanges {
    DroppedChanges {
        section: set.section.clone(),
        keys: set.changes_set.iter().map(|change| change.key.clone()).collect(),
        reason: error.to_string(),
    }
}
